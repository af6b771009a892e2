//! A TCP connection: decide → pick → connect → relay → record.

use std::rc::Rc;

use tokio::net::TcpStream;
use tracing::debug;

use super::outcome::of_relay;
use super::{Connection, Worker, connect};
use crate::model::balance::Tried;
use crate::model::outcome::Outcome;
use crate::model::snapshot::Decision;
use crate::net::relay::{End, relay};
use crate::net::socket;

/// Serves one connection of a `tcp` listener to its end.
pub(super) async fn serve(worker: Rc<Worker>, connection: Connection, mut client: TcpStream) {
    let decision = worker.reader.read(|s| s.decide_connection(&connection.key));
    let Decision::Forward { pool, .. } = decision else {
        connection.admitted.end(Outcome::NoBackend);
        return;
    };
    let reached = match connect::connect(&worker, &pool, connection.peer.ip(), &mut Tried::default()).await {
        Ok(reached) => reached,
        Err(outcome) => {
            debug!(listener = %connection.key, pool = %pool.name, client = %connection.peer, "no backend: closed");
            // Closed with a reset: a clean end would look like an empty answer.
            socket::abort_on_close(&client);
            connection.admitted.end(outcome);
            return;
        }
    };
    let idle = pool.intent.timeouts.idle;
    // From here on the connection holds its lease alone, so that an old snapshot can go while it lives.
    drop(pool);
    let (mut backend, lease) = (reached.stream, reached.picked.lease);
    let listener = connection.admitted.listener().clone();
    let end = relay(&mut client, &mut backend, idle, |from_client, to_client| {
        listener.moved(from_client, to_client);
        lease.state().sent(from_client);
        lease.state().received(to_client);
    })
    .await;
    match &end {
        End::Done | End::Idle => {}
        End::BackendFailed(_) => socket::abort_on_close(&client),
        End::ClientFailed(_) => socket::abort_on_close(&backend),
    }
    connection.admitted.end(of_relay(&end));
}
