//! The accept loop of one socket on one data thread: accept, admit, hand on.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tracing::warn;

use super::{Connection, Worker, http, tcp, tls};
use crate::model::intent::{ListenerKey, Protocol};
use crate::model::live::ListenerState;
use crate::model::live::listener::Admitted;
use crate::model::outcome::Refusal;
use crate::net::socket;

/// How long the loop rests when descriptors or memory ran out: long enough not to spin, short enough to recover.
const REST: Duration = Duration::from_millis(100);

/// Accepts until it is dropped. `port` is the one clients see.
pub(super) async fn accept(worker: Rc<Worker>, key: ListenerKey, socket: TcpListener, state: Arc<ListenerState>) {
    let port = socket.local_addr().map_or_else(|_| key.address.port(), |bound| bound.port());
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => admit(&worker, key, port, &state, stream, peer),
            Err(error) if socket::is_exhausted(&error) => {
                state.refuse(Refusal::Capacity);
                warn!(listener = %key, %error, "cannot accept: raise the limit of open files (LimitNOFILE)");
                tokio::time::sleep(REST).await;
            }
            // The client was gone before we came to it.
            Err(_) => {}
        }
    }
}

/// What the snapshot says of a new connection.
enum Admission {
    Refused,
    Tcp,
    Http,
    Https(Arc<rustls::ServerConfig>),
}

fn admit(
    worker: &Rc<Worker>,
    key: ListenerKey,
    port: u16,
    state: &Arc<ListenerState>,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let admission = worker.reader.read(|snapshot| match snapshot.listeners.get(&key) {
        // The listener left the configuration a moment ago; its socket is about to close.
        None => Admission::Refused,
        Some(plan) if !plan.sources.admits(peer) => Admission::Refused,
        Some(plan) => match (plan.intent.protocol, &plan.tls) {
            (Protocol::Tcp, _) => Admission::Tcp,
            (Protocol::Https, Some(tls)) => Admission::Https(tls.config.clone()),
            (Protocol::Http, _) => Admission::Http,
            // Compile gives every https listener its TLS side; without one nothing may be served in the clear.
            (Protocol::Https, None) => Admission::Refused,
        },
    });
    if matches!(admission, Admission::Refused) {
        state.refuse(Refusal::Source);
        return;
    }
    let connection = Connection { key, peer: canonical(peer), port, admitted: Admitted::new(state.clone()) };
    let busy = worker.busy();
    let worker = worker.clone();
    tokio::task::spawn_local(async move {
        match admission {
            Admission::Refused => {}
            Admission::Tcp => tcp::serve(worker, connection, stream).await,
            Admission::Http => http::serve(worker, connection, stream, None).await,
            Admission::Https(config) => tls::serve(worker, connection, stream, config).await,
        }
        drop(busy);
    });
}

/// An IPv4 client of a dual-stack socket by its IPv4 address.
fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}
