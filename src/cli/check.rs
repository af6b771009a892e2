//! `sluice check`: says what is wrong with a configuration file before it is used. Binds nothing.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::control::file::schema::SOURCE;
use crate::control::file::{self, Loaded};
use crate::control::kube::check_access;
use crate::control::once::once;
use crate::model::problem::{Origin, Problem};

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

/// The file that was named, else the first of the usual places that exists.
///
/// # Errors
/// There is none; what to do.
pub fn config_file(named: Option<PathBuf>) -> Result<PathBuf, String> {
    let usual = || PLACES.map(PathBuf::from).into_iter().find(|place| place.exists());
    let [system, here] = PLACES;
    named
        .or_else(usual)
        .ok_or_else(|| format!("no configuration: neither {system} nor ./{here} exists; name one with --config"))
}

/// Runs the command: problems to standard error, one a line, a summary to standard output.
pub fn run(args: CheckArgs) -> ExitCode {
    let path = match config_file(args.config) {
        Ok(path) => path,
        Err(wrong) => {
            eprintln!("{wrong}");
            return ExitCode::FAILURE;
        }
    };
    match check(&path, &mut io::stdout().lock(), &mut io::stderr().lock()) {
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
    let accesses = loaded.clusters.iter().filter_map(|cluster| {
        let reason = check_access(&cluster.access).err()?;
        Some(Problem::new(&Origin::new(SOURCE, format!("cluster {}", cluster.name)), reason))
    });
    let problems: Vec<_> = accesses.chain(once.problems).collect();
    for problem in &problems {
        writeln!(err, "{}", with_place(problem, path, &loaded))?;
    }
    if !problems.is_empty() {
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
        let text = "clusters: {home: {in_cluster: true}}\nlisteners: {a: {bind: 127.0.0.1:1, protocol: tcp, pool: p}}\n\
             pools: {p: {backends: [192.0.2.1:1]}, q: {backends: [192.0.2.1:1]}}\n";
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
    fn a_kubeconfig_is_read() {
        let told = |content: Option<&str>| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("sluice.yaml");
            std::fs::write(&path, "clusters:\n  home: {kubeconfig: ././k}\n").unwrap();
            if let Some(content) = content {
                std::fs::write(folder.path().join("k"), content).unwrap();
            }
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let good = check(&path, &mut out, &mut err).unwrap();
            let err = String::from_utf8(err).unwrap().replace(&format!("{}/", folder.path().display()), "");
            assert_eq!(good, err.is_empty(), "{err}");
            err
        };
        assert_eq!(
            told(None),
            "sluice.yaml:2:3: cluster home: kubeconfig k: No such file or directory (os error 2); \
             name one that can be read\n"
        );
        assert!(told(Some("a: [")).starts_with("sluice.yaml:2:3: cluster home: kubeconfig k: failed to parse"));
        let no_context = "apiVersion: v1\nkind: Config\nclusters: []\ncontexts: []\nusers: []\n";
        assert!(told(Some(no_context)).starts_with("sluice.yaml:2:3: cluster home: kubeconfig k: failed to"));
        let good = "{apiVersion: v1, kind: Config, current-context: c, users: [{name: u, user: {}}], \
                    clusters: [{name: l, cluster: {server: 'https://192.0.2.1:6443'}}], \
                    contexts: [{name: c, context: {cluster: l, user: u}}]}";
        assert_eq!(told(Some(good)), "");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert!(!check(Path::new("/nonexistent/sluice.yaml"), &mut out, &mut err).unwrap());
        assert!(String::from_utf8(err).unwrap().starts_with("/nonexistent/sluice.yaml: cannot be read: "));
    }
}
