//! What is happening at one backend, whichever pools list it: counts, what real traffic found, its machine; and the
//! lease that every connection to it holds.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::ejection::EjectionState;
use super::node::{NodeState, Pulse};
use super::queue::Slot;
use super::shard::{Count, Sharded, sum};
use crate::model::intent::Ejection;

/// Counters of one backend and what traffic found of it, shared by every pool that lists it.
#[derive(Debug)]
pub struct BackendState {
    shards: Sharded<BackendShard>,
    ejection: EjectionState,
    node: ArcSwap<NodeState>,
    trouble: Arc<Notify>,
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
    pub(super) fn new(shards: usize, node: Arc<NodeState>, trouble: Arc<Notify>) -> Self {
        node.join();
        Self { shards: Sharded::new(shards), ejection: EjectionState::default(), node: node.into(), trouble }
    }

    /// Whether traffic found it failing.
    pub fn ejection(&self) -> &EjectionState {
        &self.ejection
    }

    /// The machine it runs on. A pick reads it in its plan, which costs less.
    pub fn node(&self) -> Arc<NodeState> {
        self.node.load_full()
    }

    /// Whether this is its machine.
    pub(in crate::model) fn is_on(&self, node: &Arc<NodeState>) -> bool {
        Arc::ptr_eq(&self.node.load(), node)
    }

    /// Its owner says that it runs on another machine than was thought. Compile alone does.
    pub(super) fn move_to(&self, node: Arc<NodeState>) {
        node.join();
        self.node.swap(node).leave();
    }

    /// A connect to it that began at `since` got no answer.
    pub fn silent(&self, since: Pulse) {
        self.node.load().silent(std::ptr::from_ref(self).addr() as u64, since);
    }

    /// It failed real traffic: may throw it out; see [`EjectionState::failed`].
    pub fn failed(&self, rule: &Ejection, may: impl FnOnce() -> bool) {
        if self.ejection.failed(rule, may) {
            self.trouble.notify_one();
        }
    }

    /// Its checks found it up again: lets it in before its time, on probation, if it was left out. Rings in any case,
    /// as somebody may wait for it.
    pub fn pardon(&self) {
        if self.ejection.is_ejected() {
            self.ejection.readmit();
        }
        self.ring();
    }

    /// Tells `health` that something about it changed, and through it those who wait in queues.
    pub fn ring(&self) {
        self.trouble.notify_one();
    }

    /// It gave a whole head or a first byte: nothing speaks against it now.
    pub fn answered(&self) {
        self.ejection.succeeded();
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
        self.node.load().answered();
    }

    /// A connection to it could not be opened.
    pub fn connect_failed(&self) {
        self.shards.here().connect_failures.add(1);
    }

    /// Payload went to it.
    pub fn sent(&self, bytes: u64) {
        self.shards.here().bytes_to.add(bytes);
    }

    /// Payload of an answer came from it, whose head told already how it is.
    pub fn gave(&self, bytes: u64) {
        self.shards.here().bytes_from.add(bytes);
    }

    /// Payload came from it.
    pub fn received(&self, bytes: u64) {
        self.gave(bytes);
        if bytes > 0 {
            self.answered();
        }
    }
}

impl Drop for BackendState {
    fn drop(&mut self) {
        self.node.load().leave();
    }
}

/// One connection or request under way at a backend: counted while it lives. It must be dropped on the thread that
/// made it, which connections that never leave their thread do by themselves.
#[derive(Debug)]
pub struct Lease {
    state: Arc<BackendState>,
    /// Given back with it, after it is no longer counted.
    _slot: Option<Slot>,
}

impl Lease {
    /// Counts one more.
    pub fn new(state: Arc<BackendState>) -> Self {
        Self::within(state, None)
    }

    /// Counts one more that holds a slot of its pool's limit, if there is one.
    pub fn within(state: Arc<BackendState>, slot: Option<Slot>) -> Self {
        state.shards.here().active.add(1);
        Self { state, _slot: slot }
    }

    /// The backend's counters.
    pub fn state(&self) -> &BackendState {
        &self.state
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.state.shards.here().active.sub(1);
    }
}
