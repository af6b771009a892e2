//! `sluice check`: says what is wrong with a configuration file before it is used. Binds nothing.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::control::file::{self, Loaded};
use crate::control::once::once;
use crate::model::problem::Problem;

/// Check a configuration file: exit 0 when it is good, 1 with every problem and its line when it is not.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  sluice check --config sluice.yaml")]
pub struct CheckArgs {
    /// The file to check [default: /etc/sluice/sluice.yaml, else ./sluice.yaml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Where the file is looked for when none is named.
const PLACES: [&str; 2] = ["/etc/sluice/sluice.yaml", "sluice.yaml"];

/// The file that was named, else the first of the usual places that exists, else the last of them.
pub fn config_file(named: Option<PathBuf>) -> PathBuf {
    named.unwrap_or_else(|| {
        PLACES.map(PathBuf::from).into_iter().find(|p| p.exists()).unwrap_or_else(|| PLACES[1].into())
    })
}

/// Runs the command: problems to standard error, one a line, a summary to standard output.
pub fn run(args: CheckArgs) -> ExitCode {
    match check(&config_file(args.config), &mut io::stdout().lock(), &mut io::stderr().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        // A closed pipe is no reason to say that the file is good.
        Ok(false) | Err(_) => ExitCode::FAILURE,
    }
}

/// Checks one file; true when nothing is wrong with it.
///
/// # Errors
/// Only those of the two outputs.
pub fn check(path: &Path, out: &mut impl Write, err: &mut impl Write) -> io::Result<bool> {
    let loaded = match file::load(path) {
        Ok(loaded) => loaded,
        Err(errors) => {
            for error in &errors {
                writeln!(err, "{error}")?;
            }
            return Ok(false);
        }
    };
    let once = match once(&loaded.fragment, &loaded.clusters) {
        Ok(once) => once,
        Err(faults) => {
            for fault in faults {
                writeln!(err, "{fault}")?;
            }
            return Ok(false);
        }
    };
    for problem in &once.problems {
        writeln!(err, "{}", with_place(problem, path, &loaded))?;
    }
    if !once.problems.is_empty() {
        return Ok(false);
    }
    let counts = [
        (once.intent.listeners.len(), "listener"),
        (once.intent.pools.len(), "pool"),
        (loaded.clusters.len(), "cluster"),
    ];
    let counts = counts.map(|(count, noun)| format!("{count} {noun}{}", if count == 1 { "" } else { "s" })).join(", ");
    writeln!(out, "{}: good: {counts}", path.display())?;
    for cluster in &once.left_out {
        writeln!(out, "cluster {cluster} is on an API server and was not asked")?;
    }
    Ok(true)
}

/// A problem of the file itself gets the line of whoever asked.
fn with_place(problem: &Problem, path: &Path, loaded: &Loaded) -> String {
    match loaded.places.get(&problem.origin) {
        Some(at) => {
            format!("{}:{}:{}: {}: {}", path.display(), at.line, at.column, problem.origin.object, problem.reason)
        }
        None => problem.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> (bool, String, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sluice.yaml");
        std::fs::write(&path, text).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let good = check(&path, &mut out, &mut err).unwrap();
        let shown = |bytes| String::from_utf8(bytes).unwrap().replace(&format!("{}/", folder.path().display()), "");
        (good, shown(out), shown(err))
    }

    #[test]
    fn a_good_file_is_summed_up() {
        let text = "clusters: {home: {kubeconfig: k}}\nlisteners: {a: {bind: 127.0.0.1:1, protocol: tcp, pool: p}}\n\
             pools: {p: {backends: [127.0.0.1:1]}, q: {backends: [127.0.0.1:1]}}\n";
        let (good, out, err) = checked(text);
        assert!(good, "{err}");
        assert_eq!(
            out,
            "sluice.yaml: good: 1 listener, 2 pools, 1 cluster\ncluster home is on an API server and was not asked\n"
        );
        assert_eq!(err, "");
    }

    #[test]
    fn mistakes_and_problems_have_their_line() {
        let (good, out, err) = checked("listeners: {a: {bind: 1}}\n");
        assert!(!good && out.is_empty());
        assert!(err.lines().count() >= 3 && err.lines().all(|line| line.starts_with("sluice.yaml:1:")), "{err}");
        let (good, _, err) = checked("pools:\n  p: {backends: []}\n");
        assert!(!good);
        assert_eq!(err, "sluice.yaml:2:3: pool p: has no backend, so its requests are answered with 503\n");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert!(!check(Path::new("/nonexistent/sluice.yaml"), &mut out, &mut err).unwrap());
        assert!(String::from_utf8(err).unwrap().starts_with("/nonexistent/sluice.yaml: cannot be read: "));
    }
}
