//! The relay as the proxy uses it: times of the pool, counts at the listener and at the backend, and the reset that
//! tells a side of the other's break.

use crate::model::intent::Timeouts;
use crate::model::live::{Lease, ListenerState};
use crate::model::outcome::Outcome;
use crate::net::relay::{End, Leg, Options, Times, relay};
use crate::net::socket;
use crate::proxy::outcome::of_relay;

/// How long a relay to this pool may be silent.
pub(super) fn times(of: &Timeouts) -> Times {
    Times { idle: of.idle, half_closed: of.half_closed, stall: of.stall }
}

/// Relays until both sides ended or one broke; bytes are counted at `listener` and at the lease's backend. Where bytes
/// were lost the coming close of both sides is a reset: a clean end would hide the loss.
pub(super) async fn between<A: Leg, B: Leg>(
    client: &mut A,
    backend: &mut B,
    options: Options,
    listener: &ListenerState,
    lease: &Lease,
) -> Outcome {
    let end = relay(client, backend, options, |moved| {
        listener.moved(moved.copied_up, moved.copied_down);
        lease.state().sent(moved.up());
        lease.state().received(moved.down());
    })
    .await;
    match &end {
        End::Done | End::Idle | End::HalfClosed => {}
        End::BackendFailed(_) | End::ClientFailed(_) | End::Stalled(_) => {
            [client.bare(), backend.bare()].into_iter().flatten().for_each(socket::abort_on_close);
        }
    }
    of_relay(&end)
}
