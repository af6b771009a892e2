//! What the control loop says of itself: its sources, its problems, how long a change takes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::model::histogram::{Histogram, HistogramSum};
use crate::model::problem::Problem;

/// Written by the control loop alone, read by the pages.
#[derive(Debug, Default)]
pub struct ControlState {
    problems: watch::Sender<Arc<Vec<Problem>>>,
    sources: Mutex<BTreeMap<Arc<str>, Arc<SourceState>>>,
    compile: Histogram,
    change_to_live: Histogram,
}

impl ControlState {
    /// The problems of the last round, and a way to wait for others.
    pub fn problems(&self) -> watch::Receiver<Arc<Vec<Problem>>> {
        self.problems.subscribe()
    }

    /// Replaces the problems; says whether they differ from the last ones.
    pub fn set_problems(&self, problems: Vec<Problem>) -> bool {
        self.problems.send_if_modified(|now| {
            let differs = **now != problems;
            if differs {
                *now = Arc::new(problems);
            }
            differs
        })
    }

    /// A source's state, made when first asked for.
    pub fn source(&self, name: &Arc<str>) -> Arc<SourceState> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.entry(name.clone()).or_default().clone()
    }

    /// Forgets a source that is no longer configured.
    pub fn forget_source(&self, name: &str) {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// All sources by name.
    pub fn sources(&self) -> BTreeMap<Arc<str>, Arc<SourceState>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A compile took this long.
    pub fn compiled(&self, took: Duration) {
        self.compile.record(took);
    }

    /// From the first unpublished change to its publication it took this long.
    pub fn went_live(&self, took: Duration) {
        self.change_to_live.record(took);
    }

    /// Durations of compiles, and of changes from their event to publication.
    pub fn durations(&self) -> (HistogramSum, HistogramSum) {
        let (mut compile, mut live) = (HistogramSum::default(), HistogramSum::default());
        self.compile.add_to(&mut compile);
        self.change_to_live.add_to(&mut live);
        (compile, live)
    }
}

/// One source of configuration.
#[derive(Debug, Default)]
pub struct SourceState {
    up: AtomicBool,
    heard: AtomicBool,
    last_heard_ms: AtomicU64,
    detail: Mutex<Arc<str>>,
}

impl SourceState {
    /// Whether the last word from it was a good one.
    pub fn is_up(&self) -> bool {
        self.up.load(Relaxed)
    }

    /// Whether its whole content was heard once.
    pub fn was_heard(&self) -> bool {
        self.heard.load(Relaxed)
    }

    /// When it was last known to be current, in milliseconds since 1970; 0 = never.
    pub fn last_heard_ms(&self) -> u64 {
        self.last_heard_ms.load(Relaxed)
    }

    /// What ails it, empty when nothing does.
    pub fn detail(&self) -> Arc<str> {
        self.detail.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It is current as of now.
    pub fn heard(&self, now_ms: u64) {
        self.last_heard_ms.store(now_ms, Relaxed);
        self.heard.store(true, Relaxed);
        self.up.store(true, Relaxed);
        *self.detail.lock().unwrap_or_else(PoisonError::into_inner) = "".into();
    }

    /// What is known of it is of this time, in milliseconds since 1970, and was kept since. Not when it was heard.
    pub fn kept(&self, then_ms: u64) {
        if !self.was_heard() {
            self.last_heard_ms.store(then_ms, Relaxed);
        }
    }

    /// It failed; what is known of it grows stale from its last good word on.
    pub fn failed(&self, detail: &str) {
        self.up.store(false, Relaxed);
        *self.detail.lock().unwrap_or_else(PoisonError::into_inner) = detail.into();
    }
}
