//! `sluice render`: prints what a file or a set of Kubernetes objects asks for, by the same path as `sluice run`, so
//! that any report is `kubectl get … -o yaml | sluice render -`. Binds nothing, asks no API server.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::control::file;
use crate::control::file::schema::usual_cluster;
use crate::control::kube::spec::{Access, ClusterSpec};
use crate::control::once::once;
use crate::model::intent::Intent;

mod json;

/// Print what a configuration file or a set of Kubernetes objects compiles to.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  sluice render --config sluice.yaml\n  \
                        kubectl get svc,endpointslices,nodes,ingress,ingressclass -A -o yaml | sluice render -")]
#[command(override_usage = "sluice render [--output FORMAT] --config FILE\n       \
                            sluice render [--output FORMAT] --manifests DIR\n       \
                            sluice render [--output FORMAT] -")]
#[command(group(clap::ArgGroup::new("input").required(true).args(["config", "manifests", "stdin"])))]
pub struct RenderArgs {
    /// A configuration file; of its clusters, those that are manifests
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A folder of Kubernetes objects as kubectl writes them
    #[arg(long, value_name = "DIR")]
    pub manifests: Option<PathBuf>,
    /// Kubernetes objects from standard input
    #[arg(value_name = "-", value_parser = ["-"])]
    pub stdin: Option<String>,
    /// How to print it
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Output::Text)]
    pub output: Output,
}

/// How to print.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum Output {
    /// For people: one thing a line, sorted.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// The most that is read from standard input.
const LARGEST: u64 = 256 << 20;

/// Runs the command: the intent to standard output, problems to standard error. Exit 1 when the input cannot be read.
pub fn run(args: RenderArgs) -> ExitCode {
    match render(&args, &mut io::stdin().lock(), &mut io::stdout().lock(), &mut io::stderr().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) | Err(_) => ExitCode::FAILURE,
    }
}

/// Prints; false when the input cannot be read.
///
/// # Errors
/// Only those of the two outputs.
pub fn render(
    args: &RenderArgs,
    stdin: &mut impl Read,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<bool> {
    let rendered = sources(args, stdin).and_then(|(fragment, clusters)| once(&fragment, &clusters));
    let once = match rendered {
        Ok(once) => once,
        Err(wrong) => {
            for line in wrong {
                writeln!(err, "{line}")?;
            }
            return Ok(false);
        }
    };
    match args.output {
        Output::Text => write!(out, "{}", once.intent)?,
        Output::Json => writeln!(out, "{:#}", json::of(&once.intent, &once.problems))?,
    }
    for problem in &once.problems {
        writeln!(err, "# problem {problem}")?;
    }
    for cluster in &once.left_out {
        writeln!(err, "# cluster {cluster} is on an API server and is left out")?;
    }
    Ok(true)
}

/// The file's own part and the clusters, or what is wrong with the input.
fn sources(args: &RenderArgs, stdin: &mut impl Read) -> Result<(Intent, Vec<ClusterSpec>), Vec<String>> {
    if let Some(path) = &args.config {
        let loaded = file::load(path).map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        return Ok((loaded.fragment, loaded.clusters));
    }
    let access = match &args.manifests {
        Some(folder) => Access::Manifests(folder.clone()),
        None => Access::Inline(vec![("standard input".to_owned(), all_of(stdin)?)]),
    };
    Ok((Intent::default(), vec![usual_cluster("cluster", access)]))
}

/// All of standard input.
///
/// # Errors
/// It cannot be read, or is too much.
pub(super) fn all_of(stdin: &mut impl Read) -> Result<String, Vec<String>> {
    let mut text = String::new();
    match stdin.take(LARGEST + 1).read_to_string(&mut text) {
        Ok(_) if text.len() as u64 > LARGEST => {
            Err(vec![format!("standard input: is larger than {} MiB; give it in parts", LARGEST >> 20)])
        }
        Ok(_) => Ok(text),
        Err(error) => Err(vec![format!("standard input: cannot be read: {error}; pipe YAML into it")]),
    }
}

#[cfg(test)]
mod tests;
