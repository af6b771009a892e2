//! What is happening at one backend, and the lease every connection to it holds.

use std::sync::Arc;

use super::shard::{Count, Sharded, sum};

/// Counters of one backend, shared by every pool that lists it.
#[derive(Debug)]
pub struct BackendState {
    shards: Sharded<BackendShard>,
}

#[derive(Debug, Default)]
struct BackendShard {
    active: Count,
    connects: Count,
    connect_failures: Count,
    bytes_to: Count,
    bytes_from: Count,
}

impl BackendState {
    pub(super) fn new(shards: usize) -> Self {
        Self { shards: Sharded::new(shards) }
    }

    /// Connections and requests under way now.
    pub fn active(&self) -> u64 {
        sum(&self.shards, |s| &s.active)
    }

    /// Connections opened.
    pub fn connects(&self) -> u64 {
        sum(&self.shards, |s| &s.connects)
    }

    /// Connections that could not be opened.
    pub fn connect_failures(&self) -> u64 {
        sum(&self.shards, |s| &s.connect_failures)
    }

    /// Payload bytes sent to it and received from it.
    pub fn bytes(&self) -> (u64, u64) {
        (sum(&self.shards, |s| &s.bytes_to), sum(&self.shards, |s| &s.bytes_from))
    }

    /// A connection to it was opened.
    pub fn connected(&self) {
        self.shards.here().connects.add(1);
    }

    /// A connection to it could not be opened.
    pub fn connect_failed(&self) {
        self.shards.here().connect_failures.add(1);
    }

    /// Payload went to it.
    pub fn sent(&self, bytes: u64) {
        self.shards.here().bytes_to.add(bytes);
    }

    /// Payload came from it.
    pub fn received(&self, bytes: u64) {
        self.shards.here().bytes_from.add(bytes);
    }
}

/// One connection or request under way at a backend: counted while it lives. It must be dropped on the thread that
/// made it, which connections that never leave their thread do by themselves.
#[derive(Debug)]
pub struct Lease(Arc<BackendState>);

impl Lease {
    /// Counts one more.
    pub fn new(state: Arc<BackendState>) -> Self {
        state.shards.here().active.add(1);
        Self(state)
    }

    /// The backend's counters.
    pub fn state(&self) -> &BackendState {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.shards.here().active.sub(1);
    }
}
