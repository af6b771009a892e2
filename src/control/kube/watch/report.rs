//! Tells how a cluster stands: to the source's state, which pages and metrics show, and to the log when it changes.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::control::clock::now_ms;
use crate::control::kube::store::Change;
use crate::model::live::control::SourceState;

/// Different reasons told in one outage; a server that fails in ever new words does not fill the log.
const REASONS: usize = 8;

/// The reporter of one cluster.
#[derive(Debug)]
pub(super) struct Report {
    cluster: Arc<str>,
    source: Arc<SourceState>,
    changes: mpsc::Sender<Change>,
    /// Since when it fails, and for which reasons so far.
    outage: Option<(Instant, Vec<String>)>,
}

impl Report {
    pub(super) fn new(cluster: Arc<str>, source: Arc<SourceState>, changes: mpsc::Sender<Change>) -> Self {
        Self { cluster, source, changes, outage: None }
    }

    /// All of it is current.
    pub(super) async fn good(&mut self) {
        let is_first = !self.source.was_heard();
        self.source.heard(now_ms());
        if let Some((since, _)) = self.outage.take() {
            if !is_first {
                let after = since.elapsed().as_secs_f32();
                tracing::info!("cluster {} is followed again, after {after:.1} s", self.cluster);
            }
            self.send(None).await;
        }
        if is_first {
            tracing::info!("cluster {} was read, and is followed", self.cluster);
        }
    }

    /// It cannot be read, for this reason.
    pub(super) async fn failed(&mut self, reason: &str) {
        self.source.failed(reason);
        let is_new = self.outage.is_none();
        let (_, told) = self.outage.get_or_insert_with(|| (Instant::now(), Vec::new()));
        if told.len() >= REASONS || told.iter().any(|told| told == reason) {
            return;
        }
        told.push(reason.to_owned());
        let cluster = &self.cluster;
        if self.source.was_heard() {
            tracing::warn!("cluster {cluster} cannot be followed; what was last heard of it is served on: {reason}");
        } else {
            tracing::warn!("cluster {cluster} cannot be read, so nothing of it is served yet: {reason}");
        }
        if is_new {
            self.send(Some(reason.into())).await;
        }
    }

    /// Nobody who takes it is no matter: then all ends.
    async fn send(&self, reason: Option<Arc<str>>) {
        let _ = self.changes.send(Change::Trouble(reason)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_state_follows_and_each_reason_is_told_once_an_outage() {
        let source = Arc::<SourceState>::default();
        let (sender, mut changes) = mpsc::channel(64);
        let mut report = Report::new("home".into(), source.clone(), sender);
        let told = |report: &Report| report.outage.as_ref().map_or(0, |(_, told)| told.len());
        report.failed("a").await;
        report.failed("a").await;
        assert!(!source.was_heard() && &*source.detail() == "a");
        assert_eq!(told(&report), 1);
        report.good().await;
        assert!(source.is_up() && source.detail().is_empty());
        for n in 0..20 {
            report.failed(&n.to_string()).await;
        }
        assert_eq!(told(&report), REASONS);
        assert!(!source.is_up() && source.was_heard() && &*source.detail() == "19");
        let mut next = || changes.try_recv().ok();
        assert_eq!(next(), Some(Change::Trouble(Some("a".into()))));
        assert_eq!(next(), Some(Change::Trouble(None)));
        assert_eq!(next(), Some(Change::Trouble(Some("0".into()))), "one problem an outage");
        assert_eq!(next(), None);
    }
}
