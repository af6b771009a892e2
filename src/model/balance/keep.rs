//! Pure. Sticky pools: a client goes where its last connection went, while that is there to take it.

use super::{Ask, Tried, digest};
use crate::model::intent::Sticky;
use crate::model::live::sticky::Kept;
use crate::model::snapshot::PoolPlan;

impl PoolPlan {
    /// The backend that the client had, or else one by the pool's rule; remembers which it is.
    ///
    /// When it had a backup it goes to another as soon as one that is no backup is available. When nothing is
    /// available at all it stays with what it had, if that is ready: then the checks may well be wrong.
    pub(super) fn keep(&self, sticky: Sticky, tried: &Tried, ask: &Ask) -> Option<usize> {
        let client = digest::of_source(ask.source);
        let kept = self.state.sticky().find(client, ask.now, sticky.timeout).and_then(|kept| self.place_of(kept));
        let kept = kept.filter(|index| !tried.has(*index));
        let stays = |index: &usize| {
            let backend = &self.backends[*index];
            let others = || self.backends.iter().enumerate().filter(|(index, b)| !b.backup && !tried.has(*index));
            self.may_take(backend) && (!backend.backup || !others().any(|(_, b)| b.is_available()))
        };
        let index = kept.filter(stays).or_else(|| self.choose(tried, ask, kept))?;
        let kept = Kept { backend: self.backends[index].digest, index: index as u32 };
        self.state.sticky().keep(client, kept, ask.now, sticky.timeout);
        Some(index)
    }

    /// Where the backend is now: mostly where it was.
    fn place_of(&self, kept: Kept) -> Option<usize> {
        let is_it = |index: usize| self.backends.get(index).is_some_and(|b| b.digest == kept.backend);
        let there = Some(kept.index as usize).filter(|index| is_it(*index));
        there.or_else(|| self.backends.iter().position(|b| b.digest == kept.backend))
    }
}
