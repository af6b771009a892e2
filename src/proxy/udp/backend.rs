//! Which backend a flow has, whether it may stay there, and how it gets another. Knows nothing of the flow table.

use std::io;
use std::net::{IpAddr, UdpSocket};

use tracing::debug;

use crate::model::balance::Tried;
use crate::model::blame::Fault;
use crate::model::live::Lease;
use crate::model::live::listener::Admitted;
use crate::model::snapshot::PoolPlan;
use crate::net::socket::Unreached;
use crate::net::{datagram, socket};
use crate::proxy::Worker;

use super::room::Taken;

/// One flow's part in the world: its socket, and where that leads.
#[derive(Debug)]
pub(super) struct Flow {
    /// Connected to the backend, from a port of its own.
    pub(super) socket: UdpSocket,
    /// Counts the flow there.
    pub(super) lease: Lease,
    /// The backend's place in the pool's current plan; [`Flow::GONE`] when it is not in it any more.
    pub(super) backend: u16,
    /// ICMP said that nobody takes datagrams there.
    pub(super) is_refused: bool,
    /// It answered, so it was reached.
    pub(super) is_answered: bool,
    /// Its socket coalesces: the backend sends it many at once.
    pub(super) is_coalescing: bool,
    /// Counts the flow at the listener.
    pub(super) admitted: Admitted,
    /// Counts its descriptor.
    pub(super) _taken: Taken,
}

impl Flow {
    /// The place of a backend that is not in the plan.
    pub(super) const GONE: u16 = u16::MAX;
}

/// A socket to a backend.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) socket: UdpSocket,
    pub(super) lease: Lease,
    pub(super) backend: u16,
}

/// What came of looking for a backend.
#[derive(Debug)]
pub(super) enum Found {
    /// This one.
    Backend(Reached),
    /// The one the flow has already.
    Same,
    /// None may be tried.
    Nothing,
    /// The process has no descriptor, port or memory left.
    Exhausted,
}

/// Whether a flow may stay with its backend: it is available, or no other is either. `is_up` tells of the pool.
pub(super) fn may_stay(pool: &PoolPlan, backend: u16, is_up: impl FnOnce() -> bool) -> bool {
    pool.backends
        .get(usize::from(backend))
        .is_some_and(|backend| backend.is_available() || (pool.may_open(backend) && !is_up()))
}

/// Picks a backend for a flow and makes a socket to it. `current` is the one the flow has.
pub(super) fn find(worker: &Worker, pool: &PoolPlan, source: IpAddr, current: Option<u16>, mut tried: Tried) -> Found {
    for attempt in 0..=pool.intent.retries {
        let ask = worker.ask(pool, &source.into());
        let is_again = attempt > 0 || current.is_some();
        let picked = if is_again { pool.pick_again(&tried, &ask) } else { pool.pick(&tried, &ask) };
        let Some(picked) = picked else { return Found::Nothing };
        let (Ok(place), Some(backend)) = (u16::try_from(picked.index), pool.backends.get(picked.index)) else {
            return Found::Nothing;
        };
        if current == Some(place) {
            return Found::Same;
        }
        match datagram::dial(backend.address) {
            Ok(socket) => return Found::Backend(Reached { socket, lease: picked.lease, backend: place }),
            // WouldBlock: no port is left.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Found::Exhausted,
            Err(error) if Unreached::of(&error) == Unreached::Ours => return Found::Exhausted,
            Err(error) => {
                failed(pool, place, &error);
                tried.add(picked.index);
            }
        }
    }
    Found::Nothing
}

/// Counts a failure of a backend of the pool, which may leave it out for a while.
pub(super) fn failed(pool: &PoolPlan, backend: u16, error: &io::Error) {
    if let Some(backend) = pool.backends.get(usize::from(backend)) {
        backend.state.connect_failed();
        match Unreached::of(error) {
            Unreached::Refused => pool.blame(backend, Fault::Refused),
            // Nothing was waited for, so it tells less of the machine than a connect without an answer would.
            Unreached::Silent | Unreached::NoWay => pool.blame(backend, Fault::NoWay),
            Unreached::Ours => {}
        }
        debug!(pool = %pool.name, backend = %backend.address, error = socket::describe(error), "datagram refused");
    }
}
