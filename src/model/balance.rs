//! Pure. Which backend is next. Draws of chance are arguments, cursors live in `PoolState`.
//!
//! Theory: compile lays the backends out in a *schedule*, each as often as its weight and evenly spread; round-robin
//! walks it, least-connections draws two places of it. When the place falls on a backend that is not available, one is
//! drawn by weight from those that are, so that the neighbour of a dead backend does not take its whole share. Backups
//! serve when no other backend is available; when none is at all, every ready one is tried again (fail open).

use std::net::IpAddr;
use std::time::Duration;

use super::intent::{Admin, Balance, WhenDown};
use super::live::Lease;
use super::snapshot::{BackendPlan, PoolPlan};

/// Places a schedule may have; larger weights are scaled down to fit.
const PLACES: usize = 4096;

/// In which order backends take turns: indices into the pool's backends.
#[derive(Debug, Default)]
pub struct Schedule {
    main: Box<[u16]>,
}

impl Schedule {
    /// Lays out backends of these weights; a backup's weight is passed as 0.
    pub fn new(weights: &[u16]) -> Self {
        let divisor = weights.iter().filter(|w| **w > 0).fold(0, |a, w| gcd(a, usize::from(*w))).max(1);
        let sum: usize = weights.iter().map(|w| usize::from(*w) / divisor).sum();
        let mut places: Vec<(u64, u16)> = Vec::with_capacity(sum.min(PLACES + weights.len()));
        for (index, weight) in weights.iter().enumerate().take(usize::from(u16::MAX)) {
            let mut share = usize::from(*weight) / divisor;
            if sum > PLACES && share > 0 {
                share = (share * PLACES / sum).max(1);
            }
            // The k-th of n places of a backend stands at (k + 1/2) / n of the round.
            let step = (1u64 << 32) / (share.max(1) as u64);
            places.extend((0..share as u64).map(|k| (k * step + step / 2, index as u16)));
        }
        places.sort_unstable();
        Self { main: places.into_iter().map(|(_, index)| index).collect() }
    }

    fn at(&self, place: u64) -> Option<usize> {
        let length = self.main.len() as u64;
        (length > 0).then(|| usize::from(self.main[(place % length) as usize]))
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Backends that were tried already for one connection or request, at most [`Tried::MOST`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Tried {
    indices: [u16; Self::MOST],
    count: u8,
}

impl Tried {
    /// How many tries are remembered: one more than the most retries a pool can ask.
    pub const MOST: usize = 11;

    /// Remembers a backend. What exceeds the bound is forgotten.
    pub fn add(&mut self, index: usize) {
        if let (Some(slot), Ok(index)) = (self.indices.get_mut(usize::from(self.count)), u16::try_from(index)) {
            *slot = index;
            self.count += 1;
        }
    }

    fn has(&self, index: usize) -> bool {
        self.indices[..usize::from(self.count)].iter().any(|i| usize::from(*i) == index)
    }
}

/// What a pick goes by, beside what is live.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// A number of chance.
    pub chance: u64,
    /// The client.
    pub source: IpAddr,
    /// The time since a moment that is the same for all who ask. Only pools that are sticky look at it; who asks
    /// another may leave it at zero.
    pub now: Duration,
}

/// What a pick found.
#[derive(Debug)]
pub struct Picked {
    /// The backend's place in the pool.
    pub index: usize,
    /// Counts the connection or request while it lives.
    pub lease: Lease,
}

impl PoolPlan {
    /// Picks a backend that was not tried yet. `None`: there is none that may be tried.
    pub fn pick(&self, tried: &Tried, ask: &Ask) -> Option<Picked> {
        let draw = ask.chance;
        let index = match self.intent.balance {
            Balance::RoundRobin | Balance::HashSource | Balance::First => self.in_turn(tried, draw),
            Balance::LeastConnections | Balance::RandomTwo => self.less_busy(tried, draw),
        };
        let index = index.or_else(|| self.any(tried, draw, |b| b.backup && b.is_available()));
        let index = index.or_else(|| {
            // Nothing is available. A wrong probe must not take the site down, so what is ready is tried anyway.
            let last = match self.intent.when_down {
                WhenDown::Refuse => None,
                WhenDown::Try => self.any(tried, draw, |b| b.admin == Admin::Ready && b.weight > 0),
            };
            if last.is_some() {
                self.state.failed_open();
            }
            last
        })?;
        Some(Picked { index, lease: Lease::new(self.backends[index].state.clone()) })
    }

    /// Whether any backend is available.
    pub fn is_up(&self) -> bool {
        self.backends.iter().any(BackendPlan::is_available)
    }

    fn in_turn(&self, tried: &Tried, draw: u64) -> Option<usize> {
        let index = self.schedule.at(self.state.advance())?;
        if self.may(index, tried) {
            return Some(index);
        }
        self.any(tried, draw, |b| !b.backup && b.is_available())
    }

    fn less_busy(&self, tried: &Tried, draw: u64) -> Option<usize> {
        let one = self.schedule.at(draw)?;
        let other = self.schedule.at(draw >> 32).unwrap_or(one);
        match (self.may(one, tried), self.may(other, tried)) {
            (true, true) => Some(if self.busier(one, other) { other } else { one }),
            (true, false) => Some(one),
            (false, true) => Some(other),
            (false, false) => self.any(tried, draw, |b| !b.backup && b.is_available()),
        }
    }

    /// Whether `one` has more connections for its weight than `other`.
    fn busier(&self, one: usize, other: usize) -> bool {
        let (a, b) = (&self.backends[one], &self.backends[other]);
        let of_a = a.state.active().saturating_mul(u64::from(b.weight.max(1)));
        let of_b = b.state.active().saturating_mul(u64::from(a.weight.max(1)));
        of_a > of_b
    }

    fn may(&self, index: usize, tried: &Tried) -> bool {
        self.backends[index].is_available() && !tried.has(index)
    }

    /// Draws by weight among those that fit. Walks the backends: it is the path taken when something is down.
    fn any(&self, tried: &Tried, draw: u64, fits: impl Fn(&BackendPlan) -> bool) -> Option<usize> {
        let candidates = || {
            let all = self.backends.iter().enumerate();
            all.filter(|(index, b)| fits(b) && !tried.has(*index)).map(|(index, b)| (index, u64::from(b.weight)))
        };
        let sum: u64 = candidates().map(|(_, weight)| weight).sum();
        let mut left = scatter(draw) % sum.max(1);
        candidates().find_map(|(index, weight)| match left.checked_sub(weight) {
            None => Some(index),
            Some(rest) => {
                left = rest;
                None
            }
        })
    }
}

/// Spreads a draw over all bits (the finaliser of SplitMix64).
fn scatter(draw: u64) -> u64 {
    let mut x = draw.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests;
