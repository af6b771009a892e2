//! `/api/v1/sources` and `/api/v1/problems`: where configuration comes from, how old it is, and what of it cannot be
//! served.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use crate::model::live::SourceState;
use crate::model::problem;
use crate::observe::{stale_seconds, unix_ms};

/// The page `sources`.
#[derive(Debug, Serialize)]
pub struct Sources<'s> {
    /// By name.
    pub sources: Vec<Source<'s>>,
}

/// One source.
#[derive(Debug, Serialize)]
pub struct Source<'s> {
    /// `file`, or a cluster's name.
    pub source: &'s str,
    /// Whether its last word was a good one.
    pub up: bool,
    /// Whether its whole content was heard once.
    pub heard: bool,
    /// When it was last known to be current, in milliseconds since 1970; null before the first time.
    pub last_heard_ms: Option<u64>,
    /// Seconds since then; null before the first time.
    pub age_seconds: Option<f64>,
    /// How old what is known of it is: 0 while it is up.
    pub stale_seconds: f64,
    /// What ails it; null when nothing does.
    pub detail: Option<String>,
}

impl<'s> Sources<'s> {
    /// The page as of `now`, in a process that began at `since`.
    pub fn of(sources: &'s BTreeMap<Arc<str>, Arc<SourceState>>, since: SystemTime, now: SystemTime) -> Self {
        let sources = sources.iter().map(|(name, state)| {
            let last_heard_ms = Some(state.last_heard_ms()).filter(|heard| *heard > 0);
            let detail = state.detail();
            Source {
                source: name,
                up: state.is_up(),
                heard: state.was_heard(),
                last_heard_ms,
                age_seconds: last_heard_ms.map(|heard| unix_ms(now).saturating_sub(heard) as f64 / 1e3),
                stale_seconds: stale_seconds(state, since, now),
                detail: Some(detail.to_string()).filter(|detail| !detail.is_empty()),
            }
        });
        Self { sources: sources.collect() }
    }
}

/// The page `problems`.
#[derive(Debug, Serialize)]
pub struct Problems<'s> {
    /// Sorted by who asked.
    pub problems: Vec<Problem<'s>>,
}

/// What was asked but cannot be done.
#[derive(Debug, Serialize)]
pub struct Problem<'s> {
    /// The source that asked.
    pub source: &'s str,
    /// The object, in the source's own words.
    pub object: &'s str,
    /// What is wrong and what would be right.
    pub reason: &'s str,
    /// The same in one word.
    pub cause: &'static str,
}

impl<'s> Problems<'s> {
    /// The page of these problems.
    pub fn of(problems: &'s [problem::Problem]) -> Self {
        let mut problems: Vec<_> = problems.iter().collect();
        problems.sort_unstable();
        let line = |problem: &'s problem::Problem| Problem {
            source: &problem.origin.source,
            object: &problem.origin.object,
            reason: &problem.reason,
            cause: problem.cause.label(),
        };
        Self { problems: problems.into_iter().map(line).collect() }
    }
}
