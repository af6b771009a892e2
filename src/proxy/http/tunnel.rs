//! A connection that switched protocols (WebSocket): bytes both ways until both sides end.
//!
//! It holds its lease and nothing of the snapshot it was decided by, so it lives through every swap.

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tracing::debug;

use crate::model::live::{Lease, ListenerState};
use crate::model::outcome::Outcome;
use crate::net::relay::{Leg, Options, Times};
use crate::proxy::relay;

/// Both sides of a connection that is about to switch.
#[derive(Debug)]
pub(super) struct Tunnel {
    /// The client's side.
    pub(super) client: OnUpgrade,
    /// The backend's side.
    pub(super) backend: OnUpgrade,
    /// Counts it at its backend.
    pub(super) lease: Lease,
    /// How long it may be silent.
    pub(super) times: Times,
}

impl Tunnel {
    /// Relays until both sides ended. Bytes are counted at `listener` and at the backend.
    pub(super) async fn run(self, listener: &ListenerState) -> Outcome {
        let (client, backend) = match tokio::try_join!(self.client, self.backend) {
            Ok(sides) => sides,
            Err(error) => {
                debug!(%error, "a connection ended before it had switched protocols");
                return Outcome::ClientGone;
            }
        };
        let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
        relay::between(&mut client, &mut backend, Options::new(self.times), listener, &self.lease).await
    }
}

impl Leg for TokioIo<Upgraded> {}
