//! What the loop computes, computed once and without watching anything: for `check` and `render`.

use std::sync::Arc;

use super::fence::fence;
use super::kube::spec::{Access, ClusterSpec};
use super::kube::{Cluster, manifests};
use super::merge::merge;
use super::{clock, problems, roots, validity};
use crate::model::compile::compile;
use crate::model::intent::Intent;
use crate::model::live::Live;
use crate::model::problem::Problem;
use crate::model::snapshot::Snapshot;

/// What all sources ask for, as far as it is known without a network.
#[derive(Debug)]
pub struct Once {
    /// What would be compiled.
    pub intent: Intent,
    /// All that translate, merge and compile say, in order.
    pub problems: Vec<Problem>,
    /// Clusters whose objects are on an API server, and so are not in it.
    pub left_out: Vec<Arc<str>>,
}

/// Computes the intent of a file's own part and of the clusters whose objects are in manifests. Blocks on the file
/// system; binds nothing and asks no API server.
///
/// # Errors
/// What is wrong with each manifest that cannot be read, with its place.
pub fn once(fragment: &Intent, clusters: &[ClusterSpec]) -> Result<Once, Vec<String>> {
    let mut found = Vec::new();
    let mut wrong = Vec::new();
    let mut left_out = Vec::new();
    let mut fragments = vec![fragment.clone()];
    for spec in clusters {
        if matches!(spec.access, Access::Kubeconfig(_) | Access::InCluster) {
            left_out.push(spec.name.clone());
            continue;
        }
        match manifests::read(&spec.access) {
            Err(faults) => wrong.extend(faults.iter().map(ToString::to_string)),
            Ok(changes) => {
                let mut cluster = Cluster::new(spec.clone());
                changes.into_iter().for_each(|change| cluster.apply(change));
                let translation = cluster.translate();
                found.extend(translation.problems);
                fragments.push(translation.fragment);
            }
        }
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let (mut intent, clashes) = merge(&fragments);
    fence(&mut intent, None);
    let aged = validity::look(&mut intent, i64::try_from(clock::now_ms() / 1000).unwrap_or(i64::MAX)).problems;
    let live = Live::new(1);
    live.tls.trust_by(roots::of_system);
    let (_, more) = compile(&intent, &Snapshot::default(), &live);
    let problems = problems::in_order(found.into_iter().chain(clashes).chain(aged).chain(more).collect());
    Ok(Once { intent, problems, left_out })
}
