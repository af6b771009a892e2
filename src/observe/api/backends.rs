//! `/api/v1/backends`: every backend of every pool, whether it serves and why not, and what it has done.

use std::net::SocketAddr;

use serde::Serialize;

use crate::model::live::probe::Verdict;
use crate::model::snapshot::{BackendPlan, PoolPlan, Snapshot};
use crate::observe::standing::Standing;

/// The page.
#[derive(Debug, Serialize)]
pub struct Backends<'s> {
    /// Of which snapshot it is.
    pub generation: u64,
    /// By name.
    pub pools: Vec<Pool<'s>>,
}

/// One pool.
#[derive(Debug, Serialize)]
pub struct Pool<'s> {
    /// Its name.
    pub pool: &'s str,
    /// Whether any backend of it is available.
    pub up: bool,
    /// Tries beyond the first.
    pub retries: u64,
    /// Picks made although no backend was available.
    pub failed_open: u64,
    /// In the order they were given.
    pub backends: Vec<Backend<'s>>,
}

/// One backend. Its counters are shared by all pools that list it.
#[derive(Debug, Serialize)]
pub struct Backend<'s> {
    /// Where it is dialled.
    pub address: SocketAddr,
    /// Who lives there: a pod's UID, a node's name; empty from the file.
    pub instance: &'s str,
    /// Share of the traffic.
    pub weight: u16,
    /// What its owner wishes: `ready`, `drain` or `maintain`.
    pub admin: String,
    /// Used only when no other is available.
    pub backup: bool,
    /// Whether its checks, its agent and its node speak for it; true where nobody looks.
    pub up: bool,
    /// Whether it takes something new.
    pub available: bool,
    /// `up`, `idle`, `drain`, `maintain` or `down`.
    pub state: &'static str,
    /// Why, in one word: the label `reason` of the metric `sluice_backend_state`.
    pub reason: &'static str,
    /// What the last failed check, or the agent, said; null while none speaks against it.
    pub detail: Option<String>,
    /// The verdict of its checks: `unknown`, `up` or `down`; null without checks.
    pub verdict: Option<&'static str>,
    /// Connections and requests under way now.
    pub active: u64,
    /// Connections opened.
    pub connects: u64,
    /// Connections that could not be opened.
    pub connect_failures: u64,
    /// How often it was left out because it failed real traffic.
    pub ejections: u64,
    /// How much of its weight its agent wishes it to take now, in percent; 100 without an agent.
    pub wish_percent: u32,
    /// Payload bytes sent to it.
    pub bytes_to: u64,
    /// Payload bytes received from it.
    pub bytes_from: u64,
}

impl<'s> Backends<'s> {
    /// The page of this snapshot.
    pub fn of(snapshot: &'s Snapshot) -> Self {
        let mut pools: Vec<_> = snapshot.pools.values().map(|plan| Pool::of(plan)).collect();
        pools.sort_unstable_by_key(|pool| pool.pool);
        Self { generation: snapshot.generation, pools }
    }
}

impl<'s> Pool<'s> {
    fn of(plan: &'s PoolPlan) -> Self {
        // The plan keeps the order of the intent, which alone knows the instances.
        let backends = plan.backends.iter().zip(&plan.intent.backends);
        Self {
            pool: plan.name.as_str(),
            up: plan.is_up(),
            retries: plan.state.retries(),
            failed_open: plan.state.failed_opens(),
            backends: backends.map(|(backend, asked)| Backend::of(backend, &asked.instance)).collect(),
        }
    }
}

impl<'s> Backend<'s> {
    fn of(plan: &'s BackendPlan, instance: &'s str) -> Self {
        let standing = Standing::of(plan);
        let (bytes_to, bytes_from) = plan.state.bytes();
        Self {
            address: plan.address,
            instance,
            weight: plan.weight,
            admin: plan.admin.to_string(),
            backup: plan.backup,
            up: plan.is_up(),
            available: plan.is_available(),
            state: standing.state(),
            reason: standing.reason(),
            detail: standing.detail(plan),
            verdict: plan.probe.as_ref().map(|probe| match probe.verdict() {
                Verdict::Unknown => "unknown",
                Verdict::Up => "up",
                Verdict::Down => "down",
            }),
            active: plan.state.active(),
            connects: plan.state.connects(),
            connect_failures: plan.state.connect_failures(),
            ejections: plan.state.ejection().count(),
            wish_percent: plan.wish() * 100 / BackendPlan::WHOLE,
            bytes_to,
            bytes_from,
        }
    }
}
