//! The relay as the proxy uses it: times of the pool, counts at the listener and at the backend, and the outcome.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};

use crate::model::intent::Timeouts;
use crate::model::live::listener::Path;
use crate::model::live::{Lease, ListenerState};
use crate::model::outcome::Outcome;
use crate::net::relay::{End, Leg, Options, Times, relay};
use crate::proxy::outcome::of_relay;

/// How long a relay to this pool may be silent.
pub(super) fn times(of: &Timeouts) -> Times {
    Times { idle: of.idle, half_closed: of.half_closed, stall: of.stall }
}

/// Relays until both sides ended or one broke; bytes are counted at `listener` and at the lease's backend.
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
pub(super) fn watched<'legs, A: Leg, B: Leg>(
    client: &'legs mut A,
    backend: &'legs mut B,
    options: Options,
    listener: &'legs ListenerState,
    lease: &'legs Lease,
) -> impl Future<Output = (Outcome, bool)> + use<'legs, A, B> {
    // No `async` block: that would hold the relay twice, and it is what an idle connection costs.
    let mut relaying = relay(client, backend, options, move |moved| {
        listener.moved_by(Path::Copy, moved.copied_up, moved.copied_down);
        listener.moved_by(Path::Splice, moved.spliced_up, moved.spliced_down);
        lease.state().sent(moved.up());
        lease.state().received(moved.down());
    });
    poll_fn(move |cx| {
        let end = ready!(Pin::new(&mut relaying).poll(cx));
        let is_mute = matches!(end, End::BackendFailed(_)) && !relaying.has_heard_backend();
        Poll::Ready((of_relay(&end), is_mute))
    })
}
