//! Checks of our own: probes follow the snapshot, verdicts go to Live.
//!
//! One task a check, whichever pools share it. A verdict flips an atomic that every pick reads; nothing is compiled
//! again, so health goes on when the control plane is dead. Knows nothing of why a backend is listed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{info, warn};

use crate::drain;
use crate::model::intent::Probe;
use crate::model::live::ProbeState;
use crate::model::live::probe::Verdict;
use crate::model::snapshot::{Snapshot, Snapshots};

pub mod probe;
pub mod ramp;
pub mod verdict;

/// Runs the checks that each snapshot asks for, until the drain begins. Needs a runtime with time and I/O.
pub async fn follow(snapshots: Arc<Snapshots>, drain: drain::Watch) {
    let mut changed = snapshots.changed();
    let mut checks = Checks::default();
    loop {
        checks.match_snapshot(&snapshots.current());
        tokio::select! {
            _ = changed.changed() => {}
            Some(_) = checks.tasks.join_next() => {}
            () = drain.begun() => break,
        }
    }
}

/// A check's identity: its state's address, which the task keeps from being given to another.
type Place = usize;

#[derive(Default)]
struct Checks {
    tasks: JoinSet<()>,
    running: HashMap<Place, AbortHandle>,
}

impl Checks {
    fn match_snapshot(&mut self, snapshot: &Snapshot) {
        let mut wanted = HashSet::new();
        for pool in snapshot.pools.values() {
            let Some(probe) = &pool.intent.probe else { continue };
            for backend in &pool.backends {
                let Some(state) = &backend.probe else { continue };
                let place = Arc::as_ptr(state) as Place;
                if wanted.insert(place) && !self.running.contains_key(&place) {
                    let check = Check { address: backend.address, probe: probe.clone(), state: state.clone() };
                    let task = self.tasks.spawn(check.run(spread(wanted.len(), probe.every)));
                    self.running.insert(place, task);
                }
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
}

/// When the n-th new check starts: soon, but not all in one instant. Steps of 7 ms, wrapped at a quarter of the
/// interval.
fn spread(nth: usize, every: Duration) -> Duration {
    let room = (every.as_millis() as u64 / 4).max(1);
    Duration::from_millis((nth as u64 * 7) % room)
}

struct Check {
    address: std::net::SocketAddr,
    probe: Probe,
    state: Arc<ProbeState>,
}

impl Check {
    async fn run(self, first: Duration) {
        let mut ticks = interval_at(Instant::now() + first, self.probe.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let result = probe::check(self.address, &self.probe).await;
            self.record(result);
        }
    }

    fn record(&self, result: Result<(), String>) {
        let before = self.state.verdict();
        let (verdict, streak) =
            verdict::next(before, self.state.streak(), result.is_ok(), self.probe.fall, self.probe.rise);
        let reason = match &result {
            Err(reason) => Some(reason.as_str().into()),
            // On the way up the last failure still explains why it is down.
            Ok(()) if verdict == Verdict::Down => self.state.reason(),
            Ok(()) => None,
        };
        self.state.set(verdict, streak, reason);
        match (before, verdict, result) {
            (Verdict::Unknown | Verdict::Up, Verdict::Down, Err(reason)) => {
                warn!(backend = %self.address, reason, "backend is down");
            }
            (Verdict::Down, Verdict::Up, _) => info!(backend = %self.address, "backend is up again"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
