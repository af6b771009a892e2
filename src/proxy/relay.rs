//! The relay as the proxy uses it: times of the pool, counts at the listener and at the backend, and the reset that
//! tells a side of the other's break.

use crate::model::intent::Timeouts;
use crate::model::live::listener::Path;
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
    watched(client, backend, options, listener, lease).await.0
}

/// The same; and whether the backend broke off before it had sent a byte, which is to be told to
/// [`broke_off`](super::connect::broke_off) where the connection is as fresh as its client's.
pub(super) async fn watched<A: Leg, B: Leg>(
    client: &mut A,
    backend: &mut B,
    options: Options,
    listener: &ListenerState,
    lease: &Lease,
) -> (Outcome, bool) {
    let mut heard = false;
    let end = relay(client, backend, options, |moved| {
        heard |= moved.down() > 0;
        listener.moved_by(Path::Copy, moved.copied_up, moved.copied_down);
        listener.moved_by(Path::Splice, moved.spliced_up, moved.spliced_down);
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
    (of_relay(&end), !heard && matches!(end, End::BackendFailed(_)))
}
