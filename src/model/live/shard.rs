//! Which shard of every counter the running thread writes, and counters cut into shards.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::model::histogram::bump;

thread_local! {
    static HERE: Cell<usize> = const { Cell::new(0) };
}

/// Makes the running thread the one writer of a shard, for all that it counts from now on. A data thread calls this
/// once, first thing.
pub fn enter(shard: usize) {
    HERE.set(shard);
}

/// One `T` a shard, each on cache lines of its own.
pub struct Sharded<T>(Box<[Padded<T>]>);

#[repr(align(64))]
struct Padded<T>(T);

impl<T: Default> Sharded<T> {
    /// `shards` fresh values, at least one.
    pub fn new(shards: usize) -> Self {
        Self((0..shards.max(1)).map(|_| Padded(T::default())).collect())
    }
}

impl<T> Sharded<T> {
    /// The running thread's own.
    pub fn here(&self) -> &T {
        let index = HERE.get();
        // A thread of another registry's numbering (a test's own thread) falls back to the shared first shard.
        &self.0.get(index).unwrap_or(&self.0[0]).0
    }

    /// The control runtime's.
    pub fn first(&self) -> &T {
        &self.0[0].0
    }

    /// All of them, to sum.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|p| &p.0)
    }
}

impl<T> fmt::Debug for Sharded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sharded({})", self.0.len())
    }
}

/// A count with a single writer. Wraps; a gauge that went down on one shard and up on another sums right.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds.
    pub fn add(&self, by: u64) {
        bump(&self.0, by);
    }

    /// Takes away.
    pub fn sub(&self, by: u64) {
        bump(&self.0, by.wrapping_neg());
    }

    /// Replaces it, where it is no count but what its one writer remembers.
    pub fn set(&self, to: u64) {
        self.0.store(to, Relaxed);
    }

    /// This shard's part of the sum.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The sum of one count over all shards.
pub fn sum<T>(shards: &Sharded<T>, count: impl Fn(&T) -> &Count) -> u64 {
    shards.iter().fold(0, |sum, shard| sum.wrapping_add(count(shard).get()))
}
