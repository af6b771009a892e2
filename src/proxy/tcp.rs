//! A TCP connection: decide → pick → connect → relay → record.

use std::rc::Rc;

use tokio::net::TcpStream;
use tracing::debug;

use super::{Connection, Worker, connect, relay};
use crate::model::balance::Tried;
use crate::model::outcome::Outcome;
use crate::model::snapshot::Decision;
use crate::net::relay::Options;
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
    let options = Options::new(relay::times(&pool.intent.timeouts));
    // From here on the connection holds its lease alone, so that an old snapshot can go while it lives.
    drop(pool);
    let (mut backend, lease) = (reached.stream, reached.picked.lease);
    let outcome = relay::between(&mut client, &mut backend, options, connection.admitted.listener(), &lease).await;
    connection.admitted.end(outcome);
}
