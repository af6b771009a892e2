//! A TCP connection: decide → pick → connect → relay → record.

use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;
use tracing::debug;

use super::announce::{self, Told};
use super::connect::{self, Reached};
use super::limit::speed::Speed;
use super::{Connection, Worker, relay};
use crate::model::balance::Tried;
use crate::model::outcome::Outcome;
use crate::model::snapshot::{Decision, PoolPlan};
use crate::net::relay::Options;
use crate::net::socket;

/// What was read of a client before it was decided where it goes.
#[derive(Debug, Default)]
pub(super) struct Spoken {
    /// All of it; the backend gets it first.
    pub(super) bytes: Vec<u8>,
    /// The server name in it.
    pub(super) authority: Option<Box<str>>,
    /// The application protocol in it.
    pub(super) alpn: Option<Box<[u8]>>,
}

/// Serves one connection of a `tcp` listener to its end.
pub(super) fn serve(worker: Rc<Worker>, connection: Connection, client: TcpStream) -> impl Future<Output = ()> {
    let decision = worker.reader.read(|s| s.decide_connection(&connection.key));
    carry(worker, connection, client, decision, Spoken::default())
}

/// Carries a connection to where it was decided to go, to its end.
pub(super) async fn carry(
    worker: Rc<Worker>,
    connection: Connection,
    mut client: TcpStream,
    decision: Decision,
    spoken: Spoken,
) {
    let Decision::Forward { mut pool, target } = decision else {
        connection.admitted.end(Outcome::NoBackend);
        return;
    };
    // In a room of its own, given back before the relay: a connection at rest shall not keep what dialling needed.
    let reaching = Box::pin(async {
        tokio::select! {
            biased;
            reached = reach(&worker, &connection, &client, &mut pool, spoken) => reached,
            // Nobody waits for the backend any more, nor for a place in the line.
            () = socket::gone(&client) => Err(Outcome::ClientGone),
        }
    });
    let (reached, options) = match reaching.await {
        Ok(reached) => reached,
        Err(outcome) => {
            debug!(listener = %connection.key, pool = %pool.name, client = %connection.peer, ?outcome, "no backend: closed");
            // Closed with a reset: a clean end would look like an empty answer.
            socket::abort_on_close(&client);
            connection.admitted.end(outcome);
            return;
        }
    };
    // From here on the connection holds its lease alone, so that an old snapshot can go while it lives.
    drop(pool);
    let (mut backend, lease) = (reached.stream, reached.picked.lease);
    let listener = connection.admitted.listener();
    let (outcome, is_mute) = relay::watched(&mut client, &mut backend, options, listener, &lease).await;
    if is_mute {
        connect::broke_off(&worker, &target, lease.state());
    }
    connection.admitted.end(outcome);
}

/// A backend that was told of its client, and what the relay to it begins with. A function of its own, so that what it
/// needs is gone while the connection lives.
async fn reach(
    worker: &Worker,
    connection: &Connection,
    client: &TcpStream,
    pool: &mut Arc<PoolPlan>,
    spoken: Spoken,
) -> Result<(Reached, Options), Outcome> {
    let Spoken { bytes, authority, alpn } = spoken;
    let reached = connect::connect(worker, pool, connection.peer.ip(), &mut Tried::default()).await?;
    if let Some(version) = pool.intent.send_proxy {
        let ends = connection.ends(|| client.local_addr().ok());
        let told = Told { ends, authority, alpn, tls: None, common_name: None, id: [worker.draw(), worker.draw()] };
        announce::send(&reached.stream, version, &told, !bytes.is_empty()).map_err(|_| Outcome::BackendBroke)?;
    }
    let pace = connection.speed.as_ref().map(Speed::pace);
    let options = Options { from_client: bytes, pace, ..Options::new(relay::times(&pool.intent.timeouts)) };
    Ok((reached, options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_at_rest_is_small() {
        fn size<F: Future>(_: fn(Rc<Worker>, Connection, TcpStream) -> F) -> usize {
            size_of::<F>()
        }
        let size = size(serve);
        // Beside it stand two sockets of the runtime, the task and the watch: two KiB in all are the aim.
        assert!(size <= 896, "{size}");
    }
}
