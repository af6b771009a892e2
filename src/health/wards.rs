//! The time that is given to what real traffic found: when a backend that was left out may come back, how long a node
//! stays suspected, and when one that nobody checks is tried again. Data threads leave things out at the moment they
//! know; here is who lets them in, and who tells of both.
//!
//! Theory: nothing runs while all is well. Whoever leaves something out rings the bell, and so does a publication; a *round* then looks at what is
//! listed and takes in what it finds as *wards*; while there are any, rounds follow each other at a short distance.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::model::live::node::NodeWord;
use crate::model::live::{BackendState, NodeState};
use crate::model::snapshot::{Snapshot, Snapshots};

/// Between two rounds while there are wards.
const LOOK: Duration = Duration::from_millis(100);
/// Between two rounds whatever rings: failures may come by the thousand.
const GAP: Duration = Duration::from_millis(20);
/// How long a node is suspected of what only one backend has said.
const SUSPICION: Duration = Duration::from_secs(2);
/// After which time a node is tried again of whose backends one is not checked.
const REST: Duration = Duration::from_secs(10);
/// The longest that a backend is left out, in times of what its pool asks for.
const MOST: u32 = 10;

/// Looks after what is left out, for ever.
pub(super) async fn keep(snapshots: &Snapshots, trouble: Arc<Notify>) -> Infallible {
    let mut wards = Wards::default();
    let mut changed = snapshots.changed();
    loop {
        let looks = wards.round(&snapshots.current(), Instant::now());
        tokio::select! {
            () = trouble.notified() => wake(&snapshots.current()),
            // What was left out while nobody listed it may be listed again.
            Ok(()) = changed.changed() => {}
            () = sleep(LOOK), if looks => {}
        }
        sleep(GAP).await;
    }
}

/// Wakes who waits in the queues of pools: what rang may be a backend that came up.
fn wake(snapshot: &Snapshot) {
    snapshot.pools.values().for_each(|pool| pool.state.queue().look());
}

/// What is looked after, by the address of its state, which the ward keeps from being given to another.
#[derive(Default)]
struct Wards {
    backends: HashMap<usize, Ward>,
    nodes: HashMap<usize, NodeWard>,
}

struct Ward {
    state: Arc<BackendState>,
    address: SocketAddr,
    /// How often in a row it was thrown out.
    times: u32,
    is_out: bool,
    /// When it is let in; once it is in, when its past is forgotten.
    until: Instant,
}

struct NodeWard {
    state: Arc<NodeState>,
    word: NodeWord,
    since: Instant,
    /// All that is listed on it is checked, so checks will find it alive.
    is_checked: bool,
    is_listed: bool,
}

impl Ward {
    fn length(&self) -> Duration {
        self.state.ejection().time() * 2u32.saturating_pow(self.times.saturating_sub(1)).min(MOST)
    }
}

impl Wards {
    /// Takes in what the snapshot lists and finds out of order, and lets go of whose time is over. Whether there is
    /// anything left to look after.
    fn round(&mut self, snapshot: &Snapshot, now: Instant) -> bool {
        self.nodes.values_mut().for_each(|ward| (ward.is_checked, ward.is_listed) = (true, false));
        for backend in snapshot.pools.values().flat_map(|pool| &pool.backends) {
            if backend.state.ejection().is_ejected() {
                self.take_in(&backend.state, backend.address, now);
            }
            let node = &backend.node;
            if node.is_suspected() {
                let ward = self.nodes.entry(Arc::as_ptr(node) as usize);
                let ward = ward.or_insert_with(|| NodeWard {
                    state: node.clone(),
                    word: NodeWord::Alive,
                    since: now,
                    is_checked: true,
                    is_listed: false,
                });
                ward.is_listed = true;
                ward.is_checked &= backend.probe.is_some();
            }
        }
        self.backends.retain(|_, ward| is_kept(ward, now));
        self.nodes.retain(|_, ward| is_node_kept(ward, now));
        !self.backends.is_empty() || !self.nodes.is_empty()
    }

    fn take_in(&mut self, state: &Arc<BackendState>, address: SocketAddr, now: Instant) {
        let ward = self.backends.entry(Arc::as_ptr(state) as usize).or_insert_with(|| Ward {
            state: state.clone(),
            address,
            times: 0,
            is_out: false,
            until: now,
        });
        if ward.is_out {
            return;
        }
        ward.is_out = true;
        ward.times = ward.times.saturating_add(1);
        ward.until = now + ward.length();
        let (seconds, failures) = (ward.length().as_secs_f64(), ward.state.ejection().streak());
        warn!(backend = %ward.address, failures, seconds, "backend is left out: it fails traffic");
    }
}

fn is_kept(ward: &mut Ward, now: Instant) -> bool {
    let pardoned = ward.is_out && !ward.state.ejection().is_ejected();
    if ward.is_out && (pardoned || ward.until <= now) {
        if !pardoned {
            ward.state.ejection().readmit();
            ward.state.ring();
        }
        ward.is_out = false;
        // As long as it was out it must do without a relapse.
        ward.until = now + ward.length();
        info!(backend = %ward.address, "backend is let in again, on probation");
        return true;
    }
    ward.is_out || ward.until > now
}

fn is_node_kept(ward: &mut NodeWard, now: Instant) -> bool {
    let word = ward.state.word();
    if word != ward.word {
        match (ward.word, word) {
            (_, NodeWord::Down) => {
                warn!(node = %ward.state.key(), "node is down: nothing on it answers, so all of its backends are left out");
            }
            (NodeWord::Down, NodeWord::Alive) => info!(node = %ward.state.key(), "node answers again"),
            _ => {}
        }
        (ward.word, ward.since) = (word, now);
    }
    match word {
        NodeWord::Alive => return false,
        NodeWord::Suspected(who) if now.duration_since(ward.since) >= SUSPICION => {
            ward.state.forget(who);
            return false;
        }
        NodeWord::Down if !(ward.is_checked && ward.is_listed) && now.duration_since(ward.since) >= REST => {
            info!(node = %ward.state.key(), "node is tried again: nobody checks it, or not all that is on it");
            ward.state.try_again();
        }
        NodeWord::Suspected(_) | NodeWord::Down => {}
    }
    true
}

#[cfg(test)]
mod tests;
