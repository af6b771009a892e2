//! Pure. Rules that look at how busy backends are.
//!
//! Theory: to know how busy a backend is, a thread sums what every thread counts there, and each term is a cache line
//! that another core may just have written. So all are compared in small pools only; in a large one the less busy of
//! two drawn by weight is nearly as good (M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing").

use super::Tried;
use crate::model::snapshot::PoolPlan;

/// The largest pool of which all backends are compared.
pub(super) const SMALL: usize = 8;

impl PoolPlan {
    /// The least busy of all for its weight; among equals, it is the one whose turn it is.
    pub(super) fn least_busy(&self, tried: &Tried, draw: u64) -> Option<usize> {
        let turn = self.in_turn(tried, draw)?;
        let mut least = (turn, self.load_of(turn));
        // The others in a ring from there on, so that equals take turns as well.
        for index in (turn + 1..self.backends.len()).chain(0..turn) {
            let load = self.load_of(index);
            if least.1.is_more_than(load) && self.takes_turn(index, tried, draw) {
                least = (index, load);
            }
        }
        Some(least.0)
    }

    /// The less busy of two drawn by weight.
    pub(super) fn less_busy(&self, tried: &Tried, draw: u64) -> Option<usize> {
        let one = self.schedule.at(draw)?;
        let other = self.schedule.at(draw >> 32).unwrap_or(one);
        match (self.takes_turn(one, tried, draw), self.takes_turn(other, tried, draw)) {
            (true, true) => Some(if self.load_of(one).is_more_than(self.load_of(other)) { other } else { one }),
            (true, false) => Some(one),
            (false, true) => Some(other),
            (false, false) => self.any_main(tried, draw),
        }
    }

    fn load_of(&self, index: usize) -> Load {
        let backend = &self.backends[index];
        Load { active: backend.state.active(), share: backend.share() }
    }
}

/// How busy a backend is.
#[derive(Clone, Copy)]
struct Load {
    active: u64,
    share: u64,
}

impl Load {
    /// Whether it is more for its share than the other is for its own.
    fn is_more_than(self, other: Self) -> bool {
        self.active.saturating_mul(other.share) > other.active.saturating_mul(self.share)
    }
}
