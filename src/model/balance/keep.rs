//! Pure. Sticky pools: a client goes where its last connection went, while that is there to take it.

use std::time::Duration;

use super::{Ask, Kept, Tried, digest};
use crate::model::snapshot::PoolPlan;

impl PoolPlan {
    /// The backend that the client had, or else one by the pool's rule; remembers which it is.
    ///
    /// When it had a backup it goes to another as soon as one that is no backup is available. When nothing is
    /// available at all it stays with what it had, if that is ready: then the checks may well be wrong.
    pub(super) fn keep(&self, timeout: Duration, tried: &Tried, ask: &Ask) -> Option<usize> {
        let client = digest::of_source(ask.source);
        let kept = self.state.sticky().find(client, ask.now, timeout).and_then(|kept| self.place_of(kept));
        let kept = kept.filter(|index| !tried.has(*index));
        let stays = |index: &usize| {
            let backend = &self.backends[*index];
            let others = || self.backends.iter().enumerate().filter(|(index, b)| !b.backup && !tried.has(*index));
            self.may_take(backend) && (!backend.backup || !others().any(|(_, b)| b.is_available()))
        };
        let index = kept.filter(stays).or_else(|| self.choose(tried, ask, kept))?;
        let kept = Kept { backend: self.backends[index].digest, index: index as u32 };
        self.state.sticky().keep(client, kept, ask.now, timeout);
        Some(index)
    }

    /// The backend that the client's cookie names, or else one by the pool's rule.
    ///
    /// It stays also with one that is drained, or a backup: what is there for it is nowhere else. Where its backend is
    /// full it is served by another one, and comes home the next time.
    pub(super) fn keep_named(&self, tried: &Tried, ask: &Ask) -> Option<usize> {
        let kept = ask.kept.and_then(|kept| self.place_of(kept)).filter(|index| !tried.has(*index));
        let stays = |index: &usize| self.backends[*index].is_home() && self.has_room(&self.backends[*index]);
        kept.filter(stays).or_else(|| self.choose(tried, ask, kept))
    }

    /// What the cookie of a client that named `kept` has to say now that it was served by this backend; `None`: what it
    /// says. It goes on naming a backend that was only full.
    pub fn renamed(&self, kept: Option<Kept>, tried: &Tried, served: usize) -> Option<&str> {
        let home = kept.and_then(|kept| self.place_of(kept));
        let comes_home = |home: usize| home == served || (!tried.has(home) && self.backends[home].is_home());
        let token = self.tokens.as_ref()?.of(served)?;
        (!home.is_some_and(comes_home)).then_some(token)
    }

    /// The backend that a token names, if it is one of this pool.
    pub fn named(&self, token: &str) -> Option<Kept> {
        let index = self.tokens.as_ref()?.place_of(token)?;
        Some(Kept { backend: self.backends.get(index)?.digest, index: index as u32 })
    }

    /// Where the backend is now: mostly where it was.
    fn place_of(&self, kept: Kept) -> Option<usize> {
        let is_it = |index: usize| self.backends.get(index).is_some_and(|b| b.digest == kept.backend);
        let there = Some(kept.index as usize).filter(|index| is_it(*index));
        there.or_else(|| self.backends.iter().position(|b| b.digest == kept.backend))
    }
}
