//! Live: what is happening. Facts that outlive every snapshot.
//!
//! Each state is kept under a key; asking twice for the same key gives the same state for as long as anyone — a
//! snapshot or a connection — holds it. The maps hold `Weak` references, so what nobody holds is gone; they are locked
//! by compile and by the scrape only, never by a connection, which reaches its state through the pointer in the plan.
//!
//! Counters are per *shard*: one shard a data thread (see [`shard`]), written by that thread alone with plain loads and
//! stores, summed by whoever reads. Shard 0 belongs to the control runtime.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use super::intent::{Agent, ListenerKey, PoolName, Probe, ProxyVersion};
use super::tls::TlsShared;

pub mod acme;
pub mod agent;
pub mod backend;
pub mod budget;
pub mod codes;
pub mod control;
pub mod datagrams;
pub mod ejection;
pub mod gate;
pub mod listener;
pub mod node;
pub mod pool;
pub mod probe;
pub mod queue;
pub mod quota;
pub mod ramp;
pub mod rates;
pub mod shard;
pub mod sources;
pub mod sticky;

pub use acme::AcmeState;
pub use agent::AgentState;
pub use backend::{BackendState, Lease};
pub use control::{ControlState, SourceState};
pub use datagrams::{DatagramState, Loss};
pub use ejection::EjectionState;
pub use listener::ListenerState;
pub use node::{NodeKey, NodeState};
pub use pool::{PoolState, ServeState};
pub use probe::ProbeState;
pub use queue::{QueueState, SlotState};
pub use ramp::Ramp;
pub use rates::{RateStateKey, Rates};

/// Which backend, across pools and snapshots.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BackendKey {
    /// Where it is dialled.
    pub address: SocketAddr,
    /// Who lives there; see `intent::Backend::instance`.
    pub instance: Arc<str>,
}

/// Which check of which backend. A changed probe starts fresh, a changed weight does not.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ProbeKey {
    /// The backend that is checked.
    pub backend: BackendKey,
    /// How it is checked.
    pub probe: Probe,
    /// The PROXY protocol header that a check begins with, since what the backend takes from others it takes from us.
    pub send_proxy: Option<ProxyVersion>,
}

/// Which agent of which backend.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct AgentKey {
    /// The backend it speaks for.
    pub backend: BackendKey,
    /// How it is asked.
    pub agent: Agent,
}

/// Whose slow start: a backend has one in each pool that asks for it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct RampKey {
    /// The pool.
    pub pool: PoolName,
    /// The backend.
    pub backend: BackendKey,
}

/// Which requests are counted together: those of one listener name to one pool. No pool: answers sluice made itself
/// for want of a route.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ServeKey {
    /// The listener's name.
    pub listener: Arc<str>,
    /// The pool, if a route was found.
    pub pool: Option<PoolName>,
}

/// Whose slots: a backend has some of its own in each pool that limits it. The limit is no part of the key, so that
/// what is taken stays counted when the limit changes.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct SlotKey {
    /// The pool that sets the limit.
    pub pool: PoolName,
    /// The backend it is for.
    pub backend: BackendKey,
}

/// The registry of everything live.
#[derive(Debug)]
pub struct Live {
    shards: usize,
    backends: Registry<BackendKey, BackendState>,
    nodes: Registry<NodeKey, NodeState>,
    probes: Registry<ProbeKey, ProbeState>,
    ramps: Registry<RampKey, Ramp>,
    agents: Registry<AgentKey, AgentState>,
    pools: Registry<PoolName, PoolState>,
    /// Beside the pools, for slots hold the line too: a pool that goes and comes again finds it where they wake it.
    queues: Registry<PoolName, QueueState>,
    rates: Registry<RateStateKey, Rates>,
    serves: Registry<ServeKey, ServeState>,
    slots: Registry<SlotKey, SlotState>,
    listeners: Registry<ListenerKey, ListenerState>,
    /// What the control loop says of itself.
    pub control: ControlState,
    /// What certificate authorities are answered.
    pub acme: Arc<AcmeState>,
    /// What all TLS configurations share: tickets and sessions resume across swaps.
    pub tls: TlsShared,
    trouble: Arc<Notify>,
}

impl Live {
    /// A registry for `workers` data threads, whose shards are 1 to `workers`.
    pub fn new(workers: usize) -> Self {
        let acme = Arc::<AcmeState>::default();
        Self {
            shards: workers + 1,
            backends: Registry::default(),
            nodes: Registry::default(),
            probes: Registry::default(),
            ramps: Registry::default(),
            agents: Registry::default(),
            pools: Registry::default(),
            queues: Registry::default(),
            rates: Registry::default(),
            serves: Registry::default(),
            slots: Registry::default(),
            listeners: Registry::default(),
            control: ControlState::default(),
            tls: TlsShared::new(acme.clone()),
            acme,
            trouble: Arc::default(),
        }
    }

    /// The state of a backend on a machine that is known by its address alone.
    pub fn backend(&self, key: &BackendKey) -> Arc<BackendState> {
        self.backend_on(key, "")
    }

    /// The state of a backend on this node; empty: nobody said which, and its address stands for it until somebody
    /// does. Who names another node corrects what was said before.
    pub fn backend_on(&self, key: &BackendKey, node: &str) -> Arc<BackendState> {
        let named = match node {
            "" => NodeKey::Address(key.address.ip()),
            name => NodeKey::Named(name.into()),
        };
        let state = self.backends.take(key, || BackendState::new(self.shards, self.node(&named), self.trouble.clone()));
        if !node.is_empty() && *state.node().key() != named {
            state.move_to(self.node(&named));
        }
        state
    }

    /// The state of a machine.
    pub fn node(&self, key: &NodeKey) -> Arc<NodeState> {
        self.nodes.take(key, || NodeState::new(key.clone(), self.shards, self.trouble.clone()))
    }

    /// The state of an agent; a new one has said nothing yet.
    pub fn agent(&self, key: &AgentKey) -> Arc<AgentState> {
        self.agents.take(key, AgentState::default)
    }

    /// Wakes `health`, its one listener, when a backend or a node was left out, suspected or came back.
    pub fn trouble(&self) -> Arc<Notify> {
        self.trouble.clone()
    }

    /// The state of a check; a new one has no verdict yet.
    pub fn probe(&self, key: &ProbeKey) -> Arc<ProbeState> {
        self.probes.take(key, ProbeState::default)
    }

    /// The slow start of a backend; a new one is warm.
    pub fn ramp(&self, key: &RampKey) -> Arc<Ramp> {
        self.ramps.take(key, Ramp::default)
    }

    /// The state of a pool.
    pub fn pool(&self, name: &PoolName) -> Arc<PoolState> {
        self.pools.take(name, || PoolState::new(self.shards, self.queue(name)))
    }

    /// What a backend has taken of a pool's limit.
    pub fn slots(&self, key: &SlotKey) -> Arc<SlotState> {
        self.slots.take(key, || SlotState::new(self.queue(&key.pool)))
    }

    fn queue(&self, pool: &PoolName) -> Arc<QueueState> {
        self.queues.take(pool, QueueState::default)
    }

    /// The askers of a limit on requests.
    pub fn rates(&self, key: &RateStateKey) -> Arc<Rates> {
        self.rates.take(key, Rates::default)
    }

    /// The request counters of a listener towards a pool.
    pub fn serve(&self, key: &ServeKey) -> Arc<ServeState> {
        self.serves.take(key, || ServeState::new(self.shards))
    }

    /// The state of a listener.
    pub fn listener(&self, key: &ListenerKey) -> Arc<ListenerState> {
        self.listeners.take(key, || ListenerState::new(self.shards))
    }

    /// All request counters that anyone still holds, for the scrape.
    pub fn serves(&self) -> Vec<(ServeKey, Arc<ServeState>)> {
        self.serves.all()
    }

    /// How many states are held, dead entries swept: backends, probes, pools.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize, usize) {
        (self.backends.all().len(), self.probes.all().len(), self.pools.all().len())
    }
}

/// States under their keys. Dead entries are swept when the map has doubled since the last sweep, so a cluster that
/// churns for years costs no more than twice what is alive.
#[derive(Debug)]
struct Registry<K, S> {
    entries: Mutex<Entries<K, S>>,
}

#[derive(Debug)]
struct Entries<K, S> {
    map: HashMap<K, Weak<S>>,
    sweep_at: usize,
}

impl<K, S> Default for Registry<K, S> {
    fn default() -> Self {
        Self { entries: Mutex::new(Entries { map: HashMap::new(), sweep_at: SWEEP_FLOOR }) }
    }
}

const SWEEP_FLOOR: usize = 64;

impl<K: Clone + Eq + Hash, S> Registry<K, S> {
    fn take(&self, key: &K, make: impl FnOnce() -> S) -> Arc<S> {
        let mut entries = self.lock();
        if let Some(state) = entries.map.get(key).and_then(Weak::upgrade) {
            return state;
        }
        if entries.map.len() >= entries.sweep_at {
            entries.map.retain(|_, state| state.strong_count() > 0);
            entries.sweep_at = (entries.map.len() * 2).max(SWEEP_FLOOR);
        }
        let state = Arc::new(make());
        entries.map.insert(key.clone(), Arc::downgrade(&state));
        state
    }

    fn all(&self) -> Vec<(K, Arc<S>)> {
        let entries = self.lock();
        entries.map.iter().filter_map(|(key, state)| Some((key.clone(), state.upgrade()?))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Entries<K, S>> {
        // A panic while the map is locked cannot leave it half changed: each insert is one call.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
