//! Checks of our own, and the time that what traffic found is given: probes and agents follow the snapshot, what they
//! find goes to Live.
//!
//! One task a check, whichever pools share it. A verdict flips an atomic that every pick reads; nothing is compiled
//! again, so health goes on when the control plane is dead. Knows nothing of why a backend is listed.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

use crate::drain;
use crate::model::live::Live;
use crate::model::snapshot::{BackendPlan, PoolPlan, Snapshot, Snapshots};

mod agent;
mod check;
pub mod probe;
pub mod ramp;
pub mod rhythm;
pub mod verdict;
mod wards;

use agent::Asking;
use check::Check;
use probe::Target;

/// The most checks under way at once: what is more waits its turn, so that a dead rack is no flood of sockets.
const AT_ONCE: usize = 512;

/// Runs the checks that each snapshot asks for and looks after what was left out, until the drain begins. Needs a
/// runtime with time and I/O.
pub async fn follow(snapshots: Arc<Snapshots>, live: Arc<Live>, drain: drain::Watch) {
    let mut changed = snapshots.changed();
    let mut checks = Checks::new();
    let mut keeping = pin!(wards::keep(&snapshots, live.trouble()));
    loop {
        checks.match_snapshot(&snapshots.current());
        tokio::select! {
            _ = changed.changed() => {}
            Some(_) = checks.tasks.join_next() => {}
            never = &mut keeping => match never {},
            () = drain.begun() => break,
        }
    }
}

/// A check's identity: its state's address, which the task keeps from being given to another.
type Place = usize;

struct Checks {
    tasks: JoinSet<()>,
    running: HashMap<Place, AbortHandle>,
    permits: Arc<Semaphore>,
}

impl Checks {
    fn new() -> Self {
        Self { tasks: JoinSet::new(), running: HashMap::new(), permits: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    fn match_snapshot(&mut self, snapshot: &Snapshot) {
        let mut wanted = HashSet::new();
        for pool in snapshot.pools.values() {
            for backend in &pool.backends {
                self.want_probe(pool, backend, &mut wanted);
                self.want_agent(pool, backend, &mut wanted);
            }
        }
        self.running.retain(|place, task| {
            let keep = wanted.contains(place);
            if !keep {
                task.abort();
            }
            keep
        });
    }

    fn want_probe(&mut self, pool: &PoolPlan, backend: &BackendPlan, wanted: &mut HashSet<Place>) {
        let (Some(probe), Some(state)) = (&pool.intent.probe, &backend.probe) else { return };
        let place = Arc::as_ptr(state) as Place;
        if wanted.insert(place) && !self.running.contains_key(&place) {
            let check = Check {
                target: Target { address: backend.address, send_proxy: pool.intent.send_proxy },
                probe: probe.clone(),
                state: state.clone(),
                backend: backend.state.clone(),
                permits: self.permits.clone(),
            };
            let task = self.tasks.spawn(check.run(spread(wanted.len(), probe.every)));
            self.running.insert(place, task);
        }
    }

    fn want_agent(&mut self, pool: &PoolPlan, backend: &BackendPlan, wanted: &mut HashSet<Place>) {
        let (Some(agent), Some(state)) = (&pool.intent.agent, &backend.agent) else { return };
        let place = Arc::as_ptr(state) as Place;
        if wanted.insert(place) && !self.running.contains_key(&place) {
            let asking = Asking {
                backend: backend.address,
                agent: agent.clone(),
                state: state.clone(),
                permits: self.permits.clone(),
            };
            let task = self.tasks.spawn(asking.run(spread(wanted.len(), agent.every)));
            self.running.insert(place, task);
        }
    }
}

/// When the n-th new check starts: soon, but not all in one instant. Steps of 7 ms, wrapped at a quarter of the
/// interval.
fn spread(nth: usize, every: Duration) -> Duration {
    let room = (every.as_millis() as u64 / 4).max(1);
    Duration::from_millis((nth as u64 * 7) % room)
}

#[cfg(test)]
mod tests;
