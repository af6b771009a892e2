//! SHOWS. What the process says of itself: metrics, health, JSON pages, and the log.
//!
//! Reads [`Snapshots`] and [`Live`] and writes neither. Nothing here is on a connection's path: counters are summed
//! when somebody asks. It must not know how bytes move.

pub mod admin;
pub mod api;
pub mod log;
pub mod metrics;
mod standing;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::live::{Live, SourceState};
use crate::model::snapshot::Snapshots;
use crate::ready::Ready;

/// What every page is made from.
#[derive(Debug)]
pub struct Pages {
    /// Where the current plan is.
    pub snapshots: Arc<Snapshots>,
    /// What is happening.
    pub live: Arc<Live>,
    /// What is still waited for.
    pub ready: Ready,
    /// When the process began, by the wall clock: a source that was never heard is stale since then.
    pub since: SystemTime,
}

/// Milliseconds since 1970; 0 for times before.
fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// How old what is known of a source is, in seconds: 0 while it is up.
fn stale_seconds(source: &SourceState, since: SystemTime, now: SystemTime) -> f64 {
    if source.is_up() {
        return 0.0;
    }
    let last = match source.last_heard_ms() {
        0 => unix_ms(since),
        heard => heard,
    };
    unix_ms(now).saturating_sub(last) as f64 / 1e3
}
