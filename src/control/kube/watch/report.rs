//! Tells how a cluster stands: to the source's state, which pages and metrics show, and to the log when it changes.

use std::sync::Arc;

use tokio::time::Instant;

use crate::control::clock::now_ms;
use crate::model::live::control::SourceState;

/// Different reasons told in one outage; a server that fails in ever new words does not fill the log.
const REASONS: usize = 8;

/// The reporter of one cluster.
#[derive(Debug)]
pub(super) struct Report {
    cluster: Arc<str>,
    source: Arc<SourceState>,
    /// Since when it fails, and for which reasons so far.
    outage: Option<(Instant, Vec<String>)>,
}

impl Report {
    pub(super) fn new(cluster: Arc<str>, source: Arc<SourceState>) -> Self {
        Self { cluster, source, outage: None }
    }

    /// All of it is current.
    pub(super) fn good(&mut self) {
        let is_first = !self.source.was_heard();
        self.source.heard(now_ms());
        let cluster = &self.cluster;
        match self.outage.take() {
            Some((since, _)) if !is_first => {
                tracing::info!("cluster {cluster} is followed again, after {:.1} s", since.elapsed().as_secs_f32());
            }
            _ if is_first => tracing::info!("cluster {cluster} was read, and is followed"),
            _ => {}
        }
    }

    /// It cannot be read, for this reason.
    pub(super) fn failed(&mut self, reason: &str) {
        self.source.failed(reason);
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_follows_and_each_reason_is_told_once_an_outage() {
        let source = Arc::<SourceState>::default();
        let mut report = Report::new("home".into(), source.clone());
        let told = |report: &Report| report.outage.as_ref().map_or(0, |(_, told)| told.len());
        report.failed("a");
        report.failed("a");
        assert!(!source.was_heard() && &*source.detail() == "a");
        assert_eq!(told(&report), 1);
        report.good();
        assert!(source.is_up() && source.detail().is_empty());
        (0..20).for_each(|n| report.failed(&n.to_string()));
        assert_eq!(told(&report), REASONS);
        assert!(!source.is_up() && source.was_heard() && &*source.detail() == "19");
    }
}
