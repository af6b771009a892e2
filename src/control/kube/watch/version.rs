//! Pure. How new a list is: whether it may replace what is known.
//!
//! Theory: resource versions of one kind compare as decimal numbers (KEP-5504; what etcd counted has always been that),
//! and a list that is asked for without a version is the newest there is. So a list older than what was seen comes from
//! a server that lags behind, or from a cluster that was set back to a backup. The first must change nothing; the second
//! is believed once it has gone on for a while and its versions grow, for a living cluster writes all the time. That an
//! older list takes all of a kind away is never believed. A version that is no number cannot be compared and passes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::control::kube::store::Feed;

/// How long a cluster that went back in time must go on before it is believed.
const BELIEVED_AFTER: Duration = Duration::from_secs(300);

/// A list that is older than what was seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Older {
    /// Its version.
    pub(super) version: u64,
    /// The newest version that was seen.
    pub(super) seen: u64,
    /// Whether it holds nothing, where there was something.
    pub(super) empties: bool,
}

/// The newest versions seen of a cluster, by feed. Clones share them; they outlive connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Versions(Arc<Mutex<BTreeMap<Feed, Highest>>>);

#[derive(Debug, Default)]
struct Highest {
    version: u64,
    // Whether there were objects.
    had_some: bool,
    // Since when lists are older, and the version of the first of those.
    older: Option<(Instant, u64)>,
}

impl Versions {
    /// Whether a whole list of this version, empty or not, may replace what is known of the feed.
    ///
    /// # Errors
    /// It may not.
    pub(super) fn judge(&self, feed: &Feed, version: &str, is_empty: bool, now: Instant) -> Result<(), Older> {
        let Ok(version) = version.parse::<u64>() else { return Ok(()) };
        self.with(feed, |highest| {
            if version < highest.version {
                let (since, first) = *highest.older.get_or_insert((now, version));
                let empties = is_empty && highest.had_some;
                let is_alive = version > first && now.duration_since(since) >= BELIEVED_AFTER;
                if empties || !is_alive {
                    return Err(Older { version, seen: highest.version, empties });
                }
            }
            *highest = Highest { version, had_some: !is_empty, older: None };
            Ok(())
        })
    }

    /// A word of this version was heard; `has_some` when it brought an object.
    pub(super) fn saw(&self, feed: &Feed, version: &str, has_some: bool) {
        let Ok(version) = version.parse::<u64>() else { return };
        self.with(feed, |highest| {
            highest.version = highest.version.max(version);
            highest.had_some |= has_some;
        });
    }

    /// Forgets all: what comes now is of another cluster.
    pub(super) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn with<R>(&self, feed: &Feed, act: impl FnOnce(&mut Highest) -> R) -> R {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        act(all.entry(feed.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed() -> Feed {
        Feed { kind: "Service", namespace: None }
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_list_replaces_nothing_until_it_was_alive_for_long() {
        let versions = Versions::default();
        let judge = |version: &str, is_empty| versions.judge(&feed(), version, is_empty, Instant::now());
        assert_eq!(judge("9", false), Ok(()));
        assert_eq!(judge("9", true), Ok(()), "all may go");
        assert_eq!(judge("10", false), Ok(()));
        versions.saw(&feed(), "12", false);
        let old = |version, empties| Err(Older { version, seen: 12, empties });
        assert_eq!(judge("11", false), old(11, false), "as a number: 9 < 11");
        tokio::time::advance(BELIEVED_AFTER).await;
        assert_eq!(judge("11", false), old(11, false), "it does not grow");
        assert_eq!(judge("12", false), Ok(()), "it caught up");
        assert_eq!(judge("3", false), Err(Older { version: 3, seen: 12, empties: false }));
        tokio::time::advance(BELIEVED_AFTER).await;
        assert_eq!(judge("4", true), Err(Older { version: 4, seen: 12, empties: true }), "never to nothing");
        assert_eq!(judge("4", false), Ok(()), "set back to a backup, and alive");
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_compared_passes_and_feeds_are_their_own() {
        let versions = Versions::default();
        let other = Feed { kind: "Node", namespace: None };
        assert_eq!(versions.judge(&feed(), "100", false, Instant::now()), Ok(()));
        assert_eq!(versions.judge(&other, "1", true, Instant::now()), Ok(()));
        assert_eq!(versions.judge(&feed(), "v2-abc", true, Instant::now()), Ok(()));
        versions.forget();
        assert_eq!(versions.judge(&feed(), "1", true, Instant::now()), Ok(()));
    }
}
