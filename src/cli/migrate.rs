//! `sluice migrate`: says, per Ingress of ingress-nginx and annotation, what becomes of it here. Reads, binds nothing and
//! changes nothing.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::render::{Output, all_of};
use crate::control::file::schema::usual_cluster;
use crate::control::kube::review::Reviewed;
use crate::control::kube::spec::Access;
use crate::control::kube::translate::nginx::table::Verdict;
use crate::control::kube::{Change, Cluster, list, manifests};

/// Say what becomes of the Ingresses of ingress-nginx and of each of their annotations.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 all is honoured or safe to ignore, 1 something is not or cannot be read.\n\n\
                        Examples:\n  sluice migrate --kubeconfig ~/.kube/config\n  \
                        kubectl get ingress,ingressclass,svc,endpointslices,secrets -A -o yaml | sluice migrate -")]
#[command(override_usage = "sluice migrate [--output FORMAT] --kubeconfig FILE\n       \
                            sluice migrate [--output FORMAT] --manifests DIR\n       \
                            sluice migrate [--output FORMAT] -")]
#[command(group(clap::ArgGroup::new("input").required(true).args(["kubeconfig", "manifests", "stdin"])))]
pub struct MigrateArgs {
    /// An API server, by a kubeconfig and its current context
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
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

/// Runs the command: the review to standard output, what cannot be read to standard error.
pub fn run(args: MigrateArgs) -> ExitCode {
    match migrate(&args, &mut io::stdin().lock(), &mut io::stdout().lock(), &mut io::stderr().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) | Err(_) => ExitCode::FAILURE,
    }
}

/// Prints; false when something is not safe to ignore or is refused, or the input cannot be read.
///
/// # Errors
/// Only those of the two outputs.
pub fn migrate(
    args: &MigrateArgs,
    stdin: &mut impl Read,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<bool> {
    let changes = match changes(args, stdin) {
        Ok(changes) => changes,
        Err(wrong) => {
            for line in wrong {
                writeln!(err, "{line}")?;
            }
            return Ok(false);
        }
    };
    // Where the objects come from makes no difference any more.
    let mut spec = usual_cluster("cluster", Access::Kubeconfig(PathBuf::new()));
    spec.ingress_nginx = true;
    // What is asked is what annotations mean, not which way pods are reached from here.
    spec.reach = crate::control::kube::spec::Reach::Pod;
    let mut cluster = Cluster::new(spec);
    changes.into_iter().for_each(|change| cluster.apply(change));
    let reviewed = cluster.review();
    match args.output {
        Output::Text => text(&reviewed, out)?,
        Output::Json => writeln!(out, "{:#}", in_json(&reviewed))?,
    }
    let is_trouble = |one: &Reviewed| one.annotations.iter().any(|judged| judged.verdict.is_trouble());
    Ok(!reviewed.iter().any(is_trouble))
}

fn changes(args: &MigrateArgs, stdin: &mut impl Read) -> Result<Vec<Change>, Vec<String>> {
    if let Some(path) = &args.kubeconfig {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| vec![format!("no runtime can be had: {error}")])?;
        return runtime.block_on(list(&Access::Kubeconfig(path.clone()))).map_err(|wrong| vec![wrong]);
    }
    let access = match &args.manifests {
        Some(folder) => Access::Manifests(folder.clone()),
        None => Access::Inline(vec![("standard input".to_owned(), all_of(stdin)?)]),
    };
    manifests::read(&access).map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

/// How many annotations have each verdict.
fn counts(reviewed: &[Reviewed]) -> BTreeMap<Verdict, usize> {
    let all = [Verdict::Honoured, Verdict::Differs, Verdict::Safe, Verdict::Unsafe, Verdict::Refused];
    let mut counts: BTreeMap<Verdict, usize> = all.map(|verdict| (verdict, 0)).into();
    for judged in reviewed.iter().flat_map(|one| &one.annotations) {
        *counts.entry(judged.verdict).or_default() += 1;
    }
    counts
}

fn text(reviewed: &[Reviewed], out: &mut impl Write) -> io::Result<()> {
    for one in reviewed {
        let served = if one.is_served() { "" } else { " (not served until what is refused is taken off)" };
        writeln!(out, "ingress {}{served}", one.name)?;
        for judged in &one.annotations {
            writeln!(out, "  {:<26} {}: {}", judged.verdict.to_string(), judged.name, judged.why)?;
        }
        for problem in &one.problems {
            writeln!(out, "  {:<26} {problem}", "problem")?;
        }
    }
    let counts = counts(reviewed);
    let all: usize = counts.values().sum();
    let each: Vec<String> = counts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
    let refused = reviewed.iter().filter(|one| !one.is_served()).count();
    let ingresses = if reviewed.len() == 1 { "Ingress" } else { "Ingresses" };
    writeln!(out, "{} {ingresses} ({refused} not served), {all} annotations: {}", reviewed.len(), each.join("; "))
}

fn in_json(reviewed: &[Reviewed]) -> serde_json::Value {
    let ingresses: Vec<_> = reviewed
        .iter()
        .map(|one| {
            let annotations: Vec<_> = one
                .annotations
                .iter()
                .map(|judged| json!({"name": judged.name, "verdict": judged.verdict.name(), "why": judged.why}))
                .collect();
            json!({
                "namespace": &*one.name.namespace,
                "name": &*one.name.name,
                "served": one.is_served(),
                "annotations": annotations,
                "problems": one.problems,
            })
        })
        .collect();
    let counts = counts(reviewed).into_iter().map(|(verdict, count)| (verdict.name().to_owned(), count.into()));
    let counts: serde_json::Map<String, serde_json::Value> = counts.collect();
    let refused = reviewed.iter().filter(|one| !one.is_served()).count();
    json!({
        "ingresses": ingresses,
        "summary": {"ingresses": reviewed.len(), "not_served": refused, "annotations": counts},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECTS: &str = "---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  annotations:
    nginx.ingress.kubernetes.io/rewrite-target: /$2
    nginx.ingress.kubernetes.io/limit-rps: '5'
    nginx.ingress.kubernetes.io/proxy-buffering: 'off'
    sluice.dev/compress: 'true'
spec: {ingressClassName: nginx}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: admin
  annotations:
    nginx.ingress.kubernetes.io/auth-type: basic
    nginx.ingress.kubernetes.io/auth-secret: users
    nginx.ingress.kubernetes.io/limit-connections: '5'
spec: {ingressClassName: nginx}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: cut, annotations: {nginx.ingress.kubernetes.io/configuration-snippet: deny all;}}
spec: {ingressClassName: nginx}
---
{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: other}, spec: {ingressClassName: traefik}}
";

    fn migrated(objects: &str, output: Output) -> (bool, String, String) {
        let args = MigrateArgs { kubeconfig: None, manifests: None, stdin: Some("-".to_owned()), output };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let good = migrate(&args, &mut objects.as_bytes(), &mut out, &mut err).unwrap();
        (good, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn each_annotation_is_judged_with_all_objects_at_hand() {
        let (good, out, err) = migrated(OBJECTS, Output::Text);
        assert!(!good && err.is_empty(), "{err}");
        for line in [
            "ingress default/admin (not served until what is refused is taken off)",
            "  refused                    auth-secret: secret/default/users is not there as a Secret of type Opaque",
            "  ignored, NOT safe          limit-connections: ",
            "  refused                    configuration-snippet: snippets are never read, and \"deny\" may be a guard",
            "ingress default/web\n",
            "  honoured with a difference limit-rps: ",
            "  ignored, safe              proxy-buffering: ",
            "3 Ingresses (2 not served), 7 annotations: 0 honoured; 3 honoured with a difference; 1 ignored, safe; \
             1 ignored, NOT safe; 2 refused",
        ] {
            assert!(out.contains(line), "{line}\n{out}");
        }
        assert!(!out.contains("default/other") && !out.contains("compress"), "{out}");
    }

    #[test]
    fn what_is_safe_is_good_and_json_says_the_same() {
        let (_, safe) = OBJECTS.split_once("---\n").unwrap();
        let (safe, _) = safe.split_once("---\n").unwrap();
        let (good, out, _) = migrated(safe, Output::Json);
        assert!(good, "{out}");
        let shown: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(shown["summary"]["annotations"]["honoured_with_a_difference"], 2);
        assert_eq!(shown["ingresses"][0]["served"], true);
        assert_eq!(shown["ingresses"][0]["annotations"][0]["name"], "limit-rps");
        let (good, out, _) = migrated("kind: [", Output::Text);
        assert!(!good && out.is_empty());
    }

    #[test]
    fn an_api_server_that_is_not_there_is_told() {
        let args = MigrateArgs {
            kubeconfig: Some("/nowhere/kubeconfig".into()),
            manifests: None,
            stdin: None,
            output: Output::Text,
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert!(!migrate(&args, &mut io::empty(), &mut out, &mut err).unwrap());
        assert!(String::from_utf8(err).unwrap().starts_with("kubeconfig /nowhere/kubeconfig: "));
    }
}
