//! How each feed of a cluster stands, and its server, and what that makes of the whole.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::control::kube::store::Feed;

use super::failure::{Failure, summary};

/// How the feeds and their server stand. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    all: Arc<Mutex<All>>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct All {
    feeds: BTreeMap<Feed, State>,
    server: Door,
}

/// Whether the server answers those who knock.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
enum Door {
    /// As far as is known.
    #[default]
    Answers,
    /// It did not the last time.
    Doubted,
    /// It does not.
    Away(Failure),
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum State {
    Waiting,
    Good,
    Failed(Failure),
}

/// What all feeds together say of their source.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// Nothing failed, but not everything is known to be current.
    Waiting,
    /// All is current.
    Good,
    /// Something is not.
    Failed {
        /// What ails it.
        reason: String,
        /// Whether it is all of it.
        all: bool,
    },
}

impl Standing {
    /// The feed was not heard yet, or its watch ended and the next one has not begun.
    pub(super) fn waits(&self, feed: &Feed) {
        self.set(feed, State::Waiting);
    }

    /// The feed has all there is.
    pub(super) fn good(&self, feed: &Feed) {
        self.set(feed, State::Good);
    }

    /// The feed failed.
    pub(super) fn failed(&self, feed: &Feed, failure: Failure) {
        self.set(feed, State::Failed(failure));
    }

    /// The server answered who knocked.
    pub(super) fn answers(&self) {
        self.door(Door::Answers);
    }

    /// The server did not answer once: from now on nothing is known to be current.
    pub(super) fn doubt(&self) {
        self.door(Door::Doubted);
    }

    /// The server does not answer, for this reason.
    pub(super) fn away(&self, reason: Failure) {
        self.door(Door::Away(reason));
    }

    /// Whether the server does not answer.
    pub(super) fn is_away(&self) -> bool {
        matches!(self.all().server, Door::Away(_))
    }

    /// Whether all feeds are good, whatever the server does.
    pub(super) fn is_calm(&self) -> bool {
        self.all().feeds.values().all(|state| *state == State::Good)
    }

    /// How many feeds have failed.
    pub(super) fn failing(&self) -> u32 {
        let failing = self.all().feeds.values().filter(|state| matches!(state, State::Failed(_))).count();
        u32::try_from(failing).unwrap_or(u32::MAX)
    }

    /// Returns when something may have changed. For one who waits.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What the feeds say together.
    pub(super) fn verdict(&self) -> Verdict {
        let all = self.all();
        let failed = || {
            all.feeds.values().filter_map(|state| if let State::Failed(failure) = state { Some(failure) } else { None })
        };
        let at_door = if let Door::Away(failure) = &all.server { Some(failure) } else { None };
        // What who knocks was told says more than how feeds fared.
        match summary(at_door.into_iter().chain(failed())) {
            Some(reason) => Verdict::Failed { reason, all: failed().count() == all.feeds.len() || at_door.is_some() },
            None if all.server == Door::Answers && all.feeds.values().all(|state| *state == State::Good) => {
                Verdict::Good
            }
            None => Verdict::Waiting,
        }
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, feed: &Feed, state: State) {
        let before = self.all().feeds.insert(feed.clone(), state.clone());
        if before.as_ref() != Some(&state) {
            self.changed.notify_one();
        }
    }

    fn door(&self, now: Door) {
        let before = std::mem::replace(&mut self.all().server, now.clone());
        if before != now {
            self.changed.notify_one();
        }
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
        standing.waits(&a);
        standing.waits(&b);
        standing.good(&a);
        assert_eq!(standing.verdict(), Verdict::Waiting);
        standing.failed(&b, Failure::Kind("no".to_owned()));
        assert_eq!(standing.verdict(), Verdict::Failed { reason: "no".to_owned(), all: false });
        assert_eq!((standing.failing(), standing.is_calm()), (1, false));
        standing.good(&b);
        assert_eq!(standing.verdict(), Verdict::Good);
    }

    #[test]
    fn a_server_that_does_not_answer_is_a_failure_of_all_and_a_doubt_is_none() {
        let feed = Feed { kind: "Node", namespace: None };
        let standing = Standing::default();
        standing.good(&feed);
        standing.doubt();
        assert_eq!(standing.verdict(), Verdict::Waiting);
        standing.away(Failure::Server("silent".to_owned()));
        assert!(standing.is_away() && standing.is_calm());
        assert_eq!(standing.verdict(), Verdict::Failed { reason: "silent".to_owned(), all: true });
        standing.answers();
        assert_eq!(standing.verdict(), Verdict::Good);
    }
}
