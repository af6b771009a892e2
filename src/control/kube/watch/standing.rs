//! How each watch of a cluster stands, and what that makes of the whole.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::control::kube::store::Feed;

use super::failure::{Failure, summary};

/// How the watches stand. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    feeds: Arc<Mutex<BTreeMap<Feed, State>>>,
    changed: Arc<Notify>,
    recovered: Arc<Notify>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum State {
    Waiting,
    Good,
    Failed(Failure),
}

/// What all watches together say of their source.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// None failed, not all were heard.
    Waiting,
    /// All are current.
    Good,
    /// Some are not.
    Failed {
        /// What ails them.
        reason: String,
        /// Whether all of them fail.
        all: bool,
    },
}

impl Standing {
    /// Adds a watch that was not heard yet.
    pub(super) fn add(&self, feed: &Feed) {
        self.set(feed, State::Waiting);
    }

    /// The watch has all there is.
    pub(super) fn good(&self, feed: &Feed) {
        if matches!(self.set(feed, State::Good), Some(State::Failed(_))) {
            self.recovered.notify_waiters();
        }
    }

    /// The watch failed.
    pub(super) fn failed(&self, feed: &Feed, failure: Failure) {
        self.set(feed, State::Failed(failure));
    }

    /// Returns when any watch works again after a failure: the others need not wait any longer.
    pub(super) async fn recovered(&self) {
        self.recovered.notified().await;
    }

    /// Returns when something may have changed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What the watches say together.
    pub(super) fn verdict(&self) -> Verdict {
        let feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        let failed =
            || feeds.values().filter_map(|state| if let State::Failed(failure) = state { Some(failure) } else { None });
        match summary(failed()) {
            Some(reason) => Verdict::Failed { reason, all: failed().count() == feeds.len() },
            None if feeds.values().all(|state| *state == State::Good) => Verdict::Good,
            None => Verdict::Waiting,
        }
    }

    /// Sets how a watch stands, and tells how it stood.
    fn set(&self, feed: &Feed, state: State) -> Option<State> {
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        let before = feeds.insert(feed.clone(), state.clone());
        if before.as_ref() != Some(&state) {
            self.changed.notify_one();
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_only_when_all_are_and_failed_when_one_is() {
        let feed = |kind| Feed { kind, namespace: None };
        let (a, b) = (feed("Node"), feed("Service"));
        let standing = Standing::default();
        standing.add(&a);
        standing.add(&b);
        standing.good(&a);
        assert_eq!(standing.verdict(), Verdict::Waiting);
        standing.failed(&b, Failure::Kind("no".to_owned()));
        assert_eq!(standing.verdict(), Verdict::Failed { reason: "no".to_owned(), all: false });
        standing.good(&b);
        assert_eq!(standing.verdict(), Verdict::Good);
    }

    #[tokio::test]
    async fn one_that_works_again_wakes_those_that_wait() {
        let feed = |kind| Feed { kind, namespace: None };
        let (a, b) = (feed("Node"), feed("Service"));
        let standing = Standing::default();
        let mut waiting = std::pin::pin!(standing.recovered());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        standing.good(&a);
        standing.failed(&b, Failure::Kind("no".to_owned()));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        standing.good(&b);
        assert!(futures_util::poll!(&mut waiting).is_ready());
    }
}
