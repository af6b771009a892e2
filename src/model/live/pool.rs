//! What is happening in one pool: its turns, queue, sticky clients, retries and durations; and what one listener
//! answered from it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::budget::{self, Window};
use super::codes::{CodeLabel, Codes};
use super::queue::QueueState;
use super::shard::{Count, Sharded, sum};
use super::sticky::Remembered;
use crate::model::histogram::{Histogram, HistogramSum};

/// The round-robin cursor, retries and durations of a pool.
#[derive(Debug)]
pub struct PoolState {
    shards: Sharded<PoolShard>,
    /// Made when first asked for, as few pools are sticky.
    sticky: OnceLock<Remembered>,
    queue: Arc<QueueState>,
}

#[derive(Debug, Default)]
struct PoolShard {
    cursor: Count,
    retries: Count,
    over_budget: Count,
    window: Window,
    failed_open: Count,
    queued: Count,
    queue_full: Count,
    queue_timeout: Count,
    mirrored: [Count; 3],
    durations: Histogram,
    load: Load,
}

/// A sum that this thread keeps for a number of picks.
#[derive(Debug, Default)]
struct Load {
    left: Count,
    active: Count,
    shares: Count,
}

/// What became of a request that was to go to a mirror.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mirrored {
    /// It was sent and answered; how is of no interest.
    Answered,
    /// It was not answered, or not in time.
    Failed,
    /// It was not sent: its body was too long or broke off, or too many were under way.
    Dropped,
}

impl PoolState {
    pub(super) fn new(shards: usize, queue: Arc<QueueState>) -> Self {
        let state = Self { shards: Sharded::new(shards), sticky: OnceLock::new(), queue };
        // Threads start at different places, so that the first backend is not everyone's first.
        for (n, shard) in state.shards.iter().enumerate() {
            shard.cursor.add(n as u64);
        }
        state
    }

    /// The next place in the pool's schedule; each thread walks it by itself.
    pub fn advance(&self) -> u64 {
        let cursor = &self.shards.here().cursor;
        let now = cursor.get();
        cursor.add(1);
        now
    }

    /// What is under way in the pool, and the sum of the shares of the backends that take it. `count` says both; it is
    /// called once, and its answer stands for the next `lasts` calls of this thread.
    pub fn load(&self, lasts: u64, count: impl FnOnce() -> (u64, u64)) -> (u64, u64) {
        let load = &self.shards.here().load;
        if load.left.get() > 0 {
            load.left.sub(1);
        } else {
            let (active, shares) = count();
            load.active.set(active);
            load.shares.set(shares);
            load.left.set(lasts);
        }
        (load.active.get(), load.shares.get())
    }

    /// Which client had which backend, for sticky pools.
    pub fn sticky(&self) -> &Remembered {
        self.sticky.get_or_init(Remembered::default)
    }

    /// Where connections and requests wait while every backend is at its limit.
    pub fn queue(&self) -> &Arc<QueueState> {
        &self.queue
    }

    /// A request or connection was tried again at another backend.
    pub fn retried(&self) {
        self.shards.here().retries.add(1);
    }

    /// A request came at this second of the time that is the same for all threads: the budget grows.
    pub fn asked(&self, now: u64) {
        self.shards.here().window.asked(now);
    }

    /// Whether a request that a backend may have seen may be sent again at second `now`, when so many of a hundred may;
    /// counts it, or that it may not.
    pub fn may_repeat(&self, now: u64, percent: u8) -> bool {
        let may = budget::allows(&self.shards, |shard| &shard.window, now, percent);
        let here = self.shards.here();
        if may {
            here.window.sent_again(now)
        } else {
            here.over_budget.add(1)
        }
        may
    }

    /// No backend was available and one was tried all the same.
    pub fn failed_open(&self) {
        self.shards.here().failed_open.add(1);
    }

    /// Somebody waited in the queue and was given a backend.
    pub fn queued(&self) {
        self.shards.here().queued.add(1);
    }

    /// Somebody was refused since the queue was full.
    pub fn queue_full(&self) {
        self.shards.here().queue_full.add(1);
    }

    /// Somebody waited in the queue for as long as one may.
    pub fn queue_timeout(&self) {
        self.shards.here().queue_timeout.add(1);
    }

    /// Something became of a request that was to go to the pool as a mirror.
    pub fn mirrored(&self, what: Mirrored) {
        if let Some(count) = self.shards.here().mirrored.get(what as usize) {
            count.add(1);
        }
    }

    /// A request took this long, from its head to the end of its answer.
    pub fn took(&self, duration: Duration) {
        self.shards.here().durations.record(duration);
    }

    /// Tries beyond the first.
    pub fn retries(&self) -> u64 {
        sum(&self.shards, |s| &s.retries)
    }

    /// Requests that were not sent again since too many had been.
    pub fn over_budget(&self) -> u64 {
        sum(&self.shards, |s| &s.over_budget)
    }

    /// Picks made although nothing was available.
    pub fn failed_opens(&self) -> u64 {
        sum(&self.shards, |s| &s.failed_open)
    }

    /// How often somebody at the queue was given a backend after a wait, refused since it was full, and given up on.
    pub fn queue_ends(&self) -> [u64; 3] {
        [
            sum(&self.shards, |s| &s.queued),
            sum(&self.shards, |s| &s.queue_full),
            sum(&self.shards, |s| &s.queue_timeout),
        ]
    }

    /// What became of requests that were to go to the pool as a mirror: answered, failed, dropped.
    pub fn mirrors(&self) -> [u64; 3] {
        [0, 1, 2].map(|which| sum(&self.shards, |shard| &shard.mirrored[which]))
    }

    /// Durations of requests.
    pub fn durations(&self) -> HistogramSum {
        let mut sum = HistogramSum::default();
        self.shards.iter().for_each(|s| s.durations.add_to(&mut sum));
        sum
    }
}

/// Answers of one listener from one pool, by status code.
#[derive(Debug)]
pub struct ServeState {
    shards: Sharded<Codes>,
}

impl ServeState {
    pub(super) fn new(shards: usize) -> Self {
        Self { shards: Sharded::new(shards) }
    }

    /// An answer with this status went to the client.
    pub fn answered(&self, status: u16) {
        self.shards.here().record(status);
    }

    /// Answers by code.
    pub fn answers(&self) -> BTreeMap<CodeLabel, u64> {
        let mut all = BTreeMap::new();
        for (label, count) in self.shards.iter().flat_map(Codes::seen) {
            *all.entry(label).or_default() += count;
        }
        all
    }
}
