//! What limits what comes in. A connection passes, in this order:
//!
//! 1. descriptors ([`descriptors`]): without one for itself and one for its backend it is not accepted, and waits in
//!    the kernel's queue;
//! 2. memory ([`memory`]): near the process's limit it is closed;
//! 3. the listener's places and its source's (`model::live::{gate, sources}`): over one it is closed;
//! 4. the backends' slots ([`queue`]): while all are taken it waits in the pool's line;
//! 5. bandwidth ([`speed`]): its bytes wait.
//!
//! What is not limited costs nothing here but looking whether it is: no shared counter, no clock.

use std::net::IpAddr;
use std::sync::Arc;

use super::Worker;
use crate::model::intent::{ClientLimits, Limits, ListenerKey};
use crate::model::live::ListenerState;
use crate::model::live::listener::Admitted;
use crate::model::live::sources::SourceGuard;
use crate::model::outcome::Refusal;
use crate::model::snapshot::Snapshot;

pub(super) mod descriptors;
pub(super) mod memory;
pub(super) mod queue;
pub(super) mod speed;

/// What the listener of `key` asks of each connection.
pub(super) fn asked(snapshot: &Snapshot, key: &ListenerKey) -> Limits {
    snapshot.listeners.get(key).map(|plan| plan.intent.limits).unwrap_or_default()
}

/// What the listener of `key` lets each HTTP client do.
pub(super) fn asked_of_client(worker: &Worker, key: &ListenerKey) -> ClientLimits {
    worker.reader.read(|snapshot| asked(snapshot, key).client)
}

/// Admits a connection that was just accepted, and counts it; or says why it is to be closed, and counts nothing.
/// `source` is the client, if it is known yet.
pub(super) fn admit(
    worker: &Worker,
    state: &Arc<ListenerState>,
    limits: &Limits,
    source: Option<IpAddr>,
) -> Result<Admitted, Refusal> {
    if worker.memory.is_short() {
        return Err(Refusal::Memory);
    }
    let place = state.take_place(limits)?;
    let source = match source {
        None => None,
        Some(ip) => state.admit_source(limits, ip, || worker.epoch.elapsed())?,
    };
    let mut admitted = Admitted::new(state.clone());
    admitted.hold_place(place);
    admitted.hold_source(source);
    Ok(admitted)
}

/// Admits a new flow of a UDP client, or says why its datagrams are dropped; counts neither. The limit of all flows
/// together is no part of it: there the longest unused one gives way.
pub(super) fn admit_flow(
    worker: &Worker,
    state: &Arc<ListenerState>,
    limits: &Limits,
    client: IpAddr,
) -> Result<Option<SourceGuard>, Refusal> {
    if worker.memory.is_short() {
        return Err(Refusal::Memory);
    }
    state.admit_source(limits, client, || worker.epoch.elapsed())
}

/// Admits the client that a PROXY header named, for a connection that was admitted without its source; or says why it
/// is to be closed, and does not count that.
pub(super) fn admit_client(
    worker: &Worker,
    admitted: &mut Admitted,
    limits: &Limits,
    client: IpAddr,
) -> Result<(), Refusal> {
    let source = admitted.listener().admit_source(limits, client, || worker.epoch.elapsed())?;
    admitted.hold_source(source);
    Ok(())
}
