//! The JSON pages under `/api/v1/`. Keys are stable and snake_case; new ones may come, none changes its meaning.
//!
//! | page | says |
//! |---|---|
//! | `snapshot` | what is served: listeners with their routes, pools, certificates without keys |
//! | `backends` | per pool, each backend with its standing and its counters |
//! | `listeners` | each address with its socket and its counters |
//! | `problems` | what was asked but cannot be served |
//! | `sources` | where configuration comes from, and how old it is |
//!
//! The shape of a page is its structs, in a room of their own below. Names of listeners, pools and backends are those
//! of the metrics. No page holds a private key.

pub mod backends;
pub mod listeners;
pub mod snapshot;
pub mod sources;

use std::time::SystemTime;

use serde::Serialize;

use super::Pages;
use crate::model::problem::Origin;
use crate::model::words::words;

words! {
    /// One of the pages, in the order of the alphabet.
    pub enum Page,
    /// The last part of its path.
    fn name {
        /// See [`backends`].
        Backends = "backends",
        /// See [`listeners`].
        Listeners = "listeners",
        /// See [`sources::Problems`].
        Problems = "problems",
        /// See [`snapshot`].
        Snapshot = "snapshot",
        /// See [`sources`].
        Sources = "sources",
    }
}

impl Page {
    /// The page as JSON, as of `now`. Does not wait, but walks everything configured.
    pub fn json(self, pages: &Pages, now: SystemTime) -> serde_json::Result<String> {
        let current = pages.snapshots.current();
        match self {
            Self::Backends => serde_json::to_string(&backends::Backends::of(&current)),
            Self::Listeners => serde_json::to_string(&listeners::Listeners::of(&current)),
            Self::Problems => {
                let problems = pages.live.control.problems().borrow().clone();
                serde_json::to_string(&sources::Problems::of(&problems))
            }
            Self::Snapshot => serde_json::to_string(&snapshot::Plan::of(&current)),
            Self::Sources => {
                let sources = pages.live.control.sources();
                serde_json::to_string(&sources::Sources::of(&sources, pages.since, now))
            }
        }
    }
}

/// Who asked for a thing.
#[derive(Debug, Serialize)]
pub struct Asker<'s> {
    /// The source: `file` or a cluster's name.
    pub source: &'s str,
    /// The object, in the source's own words.
    pub object: &'s str,
}

impl<'s> From<&'s Origin> for Asker<'s> {
    fn from(origin: &'s Origin) -> Self {
        Self { source: &origin.source, object: &origin.object }
    }
}
