//! The only door to Kubernetes.

pub mod manifests;
pub mod spec;

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::model::intent::Intent;
use crate::model::live::SourceState;
use crate::model::problem::Problem;
use spec::ClusterSpec;

/// LOCAL STAND-IN.
pub struct Cluster {
    fragment: Intent,
    heard: bool,
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Statuses;

pub struct Translation {
    pub fragment: Intent,
    pub problems: Vec<Problem>,
    pub statuses: Statuses,
}

pub enum Change {
    Whole(Box<Intent>),
}

impl Cluster {
    pub fn new(_spec: ClusterSpec) -> Self {
        Self { fragment: Intent::default(), heard: false }
    }

    pub fn apply(&mut self, change: Change) {
        let Change::Whole(fragment) = change;
        self.fragment = *fragment;
        self.heard = true;
    }

    pub fn heard_all(&self) -> bool {
        self.heard
    }

    pub fn translate(&mut self) -> Translation {
        Translation { fragment: self.fragment.clone(), problems: Vec::new(), statuses: Statuses }
    }
}

pub async fn watch(
    _spec: ClusterSpec,
    changes: mpsc::Sender<Change>,
    _source: Arc<SourceState>,
    _statuses: watch::Receiver<Arc<Statuses>>,
) {
    changes.closed().await;
}
