//! The only door to Kubernetes: objects in, a fragment of what was asked out.
//!
//! A change walks `watch` (or `manifests`) → `store` → `translate`; `status` goes the other way. Everything but
//! `watch`, `manifests::follow` and `status::desk` with its rooms is pure.

use std::sync::Arc;

use crate::model::intent::Intent;
use crate::model::problem::Problem;

pub mod last_good;
pub mod manifests;
pub mod objects;
pub mod review;
pub mod spec;
pub mod status;
pub mod store;
pub mod translate;

mod watch;

pub use status::{Statuses, Target};
pub use store::Change;
pub use watch::{check_access, list, watch};

use last_good::Kept;
use spec::ClusterSpec;
use status::notice::{self, Notice};
use store::Store;
use translate::Memory;

/// One cluster as last seen, and what it asks for.
#[derive(Debug)]
pub struct Cluster {
    spec: ClusterSpec,
    store: Store,
    memory: Memory,
    // Of the objects as they are; `None` when they changed since.
    translation: Option<Translation>,
}

/// What the objects of a cluster ask for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Translation {
    /// Its listeners, routes, pools and certificates.
    pub fragment: Intent,
    /// What of it cannot be served, sorted.
    pub problems: Vec<Problem>,
    /// What Services and Ingresses are to show.
    pub statuses: Statuses,
}

impl Cluster {
    /// A cluster of which nothing is known yet.
    pub fn new(spec: ClusterSpec) -> Self {
        let store = Store::new(&spec.namespaces);
        let store = if spec.ingress_nginx { store.with_opaque() } else { store };
        Self { spec, store, memory: Memory::default(), translation: None }
    }

    /// A cluster as it was kept on disk.
    pub fn of_kept(spec: ClusterSpec, kept: Kept) -> Self {
        let mut cluster = Self::new(spec);
        cluster.store.without_keys = kept.without_keys;
        kept.changes.into_iter().for_each(|change| cluster.apply(change));
        cluster
    }

    /// The objects as they are now.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Takes a change in.
    pub fn apply(&mut self, change: Change) {
        if self.store.apply(change) {
            self.translation = None;
        }
    }

    /// Whether all objects were heard once; before that the translation is of a part.
    pub fn heard_all(&self) -> bool {
        self.store.heard_all()
    }

    /// What is said of these problems to the owners of the objects that have them, of as many as is sensible.
    pub(super) fn notices<'p>(&self, problems: impl Iterator<Item = &'p Problem>) -> Vec<Arc<Notice>> {
        let ours = problems.filter(|problem| problem.origin.source == self.spec.name);
        let notices = ours.filter_map(|problem| Notice::of_problem(problem, &self.store));
        notices.take(notice::MOST).map(Arc::new).collect()
    }

    /// What the objects ask for now. Parts that are as they were keep their `Arc`.
    pub fn translate(&mut self) -> Translation {
        let translation =
            self.translation.take().unwrap_or_else(|| translate::translate(&self.store, &self.spec, &mut self.memory));
        self.translation.insert(translation).clone()
    }
}
