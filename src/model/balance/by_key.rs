//! Pure. The rules that give a client, or a path, the same backend again and again. Who or what that is, is called the
//! client here: a number stands for it, whatever it was made of.
//!
//! Theory: the client's place in the pool's table (see [`super::maglev`]) names its backend. When that one cannot be
//! taken, or has far more than its share of what is under way, the client walks on from place to place, always the same
//! way, so it goes to the same second choice each time (V. Mirrokni et al., "Consistent Hashing with Bounded Loads",
//! 2017, with c = 1.25).

use super::{Ask, Tried};
use crate::model::snapshot::{BackendPlan, PoolPlan};

/// What a backend may have under way whatever the others have: in a quiet pool a client stays where it was.
const FLOOR: u64 = 32;

impl PoolPlan {
    /// The backend of this client, or the next one it would go to.
    pub(super) fn of_key(&self, tried: &Tried, ask: &Ask) -> Option<usize> {
        let client = ask.key();
        let mut crowded = None;
        for index in self.table.iter().flat_map(|table| table.walk(client)) {
            // The client stands for chance: while a backend warms up, one client after the other comes home to it.
            if !self.takes_turn(index, tried, client) {
                continue;
            }
            if !self.is_crowded(&self.backends[index], || self.load()) {
                return Some(index);
            }
            crowded.get_or_insert(index);
        }
        let Some(crowded) = crowded else { return self.any_main(tried, client) };
        // A crowd that fills all it walked by is spread over the whole pool.
        let load = self.load();
        let quiet = |b: &BackendPlan| !b.backup && self.may_take(b) && !self.is_crowded(b, || load);
        self.any(tried, ask.chance, quiet).or(Some(crowded))
    }

    /// Whether it has more than 5/4 of what is its due of all that is under way.
    fn is_crowded(&self, backend: &BackendPlan, load: impl FnOnce() -> (u64, u64)) -> bool {
        let active = backend.state.active();
        if active < FLOOR {
            return false;
        }
        let (all, shares) = load();
        let due = u128::from(all + 1) * u128::from(backend.share()) * 5;
        u128::from(active + 1) > due.div_ceil(u128::from(shares.max(1)) * 4)
    }

    /// What is under way at all backends that may be taken, and the sum of their shares. Both may be as old as a
    /// quarter as many picks as there are backends: to sum takes as long as the pool is large, and so it costs each
    /// pick the same in every pool.
    fn load(&self) -> (u64, u64) {
        self.state.load(self.backends.len() as u64 / 4, || {
            let taking = self.backends.iter().filter(|b| !b.backup && self.may_take(b));
            taking.fold((0, 0), |(all, shares), b| (all + b.state.active(), shares + b.share()))
        })
    }
}
