//! The accept loop of one socket on one data thread: accept, admit, hand on.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tracing::warn;

use super::limit::descriptors::Held;
use super::limit::speed::Speed;
use super::{Connection, Worker, http, limit, passthrough, preface, tcp, tls};
use crate::model::intent::{ListenerKey, Protocol};
use crate::model::live::ListenerState;
use crate::model::outcome::{Outcome, Refusal};
use crate::model::snapshot::Snapshot;
use crate::model::tls::Names;
use crate::net::accept::Listening;
use crate::net::late::Late;
use crate::net::socket;

/// How long the loop rests when descriptors or memory ran out: long enough not to spin, short enough to recover.
const REST: Duration = Duration::from_millis(100);

/// Accepts until it is dropped. `port` is the one clients see.
pub(super) async fn accept(worker: Rc<Worker>, key: ListenerKey, socket: Listening, state: Arc<ListenerState>) {
    let port = socket.local_addr().map_or_else(|_| key.address.port(), |bound| bound.port());
    let pauses = |why: &dyn std::fmt::Display| {
        state.refuse(Refusal::Capacity);
        if worker.descriptors.tells() {
            warn!(listener = %key, "accepting pauses until connections end: {why}; raise the limit of open files (LimitNOFILE)");
        }
    };
    loop {
        let held = worker.descriptors.place(|| pauses(&"every descriptor that clients may have is in use")).await;
        match socket.accept().await {
            Ok((stream, peer)) => admit(&worker, key, port, &state, stream, peer, held),
            Err(error) if socket::is_exhausted(&error) => {
                pauses(&error);
                tokio::time::sleep(REST).await;
            }
            // The client was gone before we came to it.
            Err(_) => {}
        }
    }
}

/// What the snapshot says of a new connection.
enum Admission {
    Refused(Refusal),
    /// From a proxy, which is to name its client first.
    Introduced,
    Tcp,
    TlsPassthrough,
    Http,
    Https(Arc<Names>),
}

/// Admits a peer, where it is a proxy only to name its client.
fn admission_of_peer(snapshot: &Snapshot, key: &ListenerKey, peer: SocketAddr) -> Admission {
    match snapshot.listeners.get(key) {
        Some(plan) if !plan.proxies.is_empty() => match plan.proxies.contains(peer.ip()) {
            true => Admission::Introduced,
            false => Admission::Refused(Refusal::NotAProxy),
        },
        _ => admission(snapshot, key, peer),
    }
}

/// Admits a client.
fn admission(snapshot: &Snapshot, key: &ListenerKey, peer: SocketAddr) -> Admission {
    match snapshot.listeners.get(key) {
        // The listener left the configuration a moment ago; its socket is about to close.
        None => Admission::Refused(Refusal::NotServed),
        Some(plan) if !plan.sources.admits(peer) => Admission::Refused(Refusal::Source),
        Some(plan) => match (plan.intent.protocol, &plan.tls) {
            (Protocol::Tcp, _) => Admission::Tcp,
            (Protocol::Https, Some(tls)) => Admission::Https(tls.names.clone()),
            (Protocol::Http, _) => Admission::Http,
            (Protocol::TlsPassthrough, _) => Admission::TlsPassthrough,
            // Compile gives every https listener its TLS side; without one nothing may be served in the clear.
            (Protocol::Https, None) | (Protocol::Udp, _) => Admission::Refused(Refusal::NotServed),
        },
    }
}

fn admit(
    worker: &Rc<Worker>,
    key: ListenerKey,
    port: u16,
    state: &Arc<ListenerState>,
    stream: Late,
    peer: SocketAddr,
    held: Held,
) {
    let read = |snapshot: &Snapshot| (admission_of_peer(snapshot, &key, peer), limit::asked(snapshot, &key));
    let (admission, limits) = worker.reader.read(read);
    if let Admission::Refused(why) = admission {
        state.refuse(why);
        return;
    }
    // A proxy is not a source: that is its client.
    let source = (!matches!(admission, Admission::Introduced)).then(|| peer.ip());
    let admitted = match limit::admit(worker, state, &limits, source) {
        Ok(admitted) => admitted,
        Err(why) => {
            state.refuse(why);
            // Nothing of it stays with us, and nobody takes it for an empty answer.
            stream.socket().iter().for_each(socket::abort_on_close);
            return;
        }
    };
    let speed = Speed::of(worker, &limits, state);
    let (to, peer) = (None, canonical(peer));
    let (_busy, _held) = (worker.busy(), Some(held));
    let mut connection = Connection { key, peer, port, to, admitted, speed, _busy, _held };
    let worker = worker.clone();
    if !matches!(admission, Admission::Introduced) {
        return start(worker, connection, stream, admission);
    }
    let Some(stream) = watched(stream, &connection) else { return };
    spawn_local(async move {
        match introduce(&worker, &mut connection, &stream).await {
            Ok(admission) => start(worker, connection, stream.into(), admission),
            Err(outcome) => connection.admitted.end(outcome),
        }
    });
}

/// Starts the connection's own task. Each protocol's is of its own size: an idle tcp connection would pay for what HTTP
/// needs.
fn start(worker: Rc<Worker>, connection: Connection, stream: Late, admission: Admission) {
    if let Admission::Http = admission {
        // The one that may be over before anybody has to wait for it.
        spawn_local(http::serve(worker, connection, stream, None));
        return;
    }
    let Some(stream) = watched(stream, &connection) else { return };
    match admission {
        Admission::Refused(_) | Admission::Introduced | Admission::Http => {}
        Admission::Tcp => drop(spawn_local(tcp::serve(worker, connection, stream))),
        Admission::TlsPassthrough => drop(spawn_local(passthrough::serve(worker, connection, stream))),
        Admission::Https(names) => drop(spawn_local(tls::serve(worker, connection, stream, names))),
    }
}

/// Has the runtime watch a connection. `None` where it cannot: the connection ends.
fn watched(stream: Late, connection: &Connection) -> Option<TcpStream> {
    let watched = stream.into_watched();
    if let Err(error) = &watched {
        warn!(listener = %connection.key, "a connection was closed that cannot be watched: {error}");
    }
    watched.ok()
}

/// Lets a proxy name its client, and admits that one.
async fn introduce(worker: &Worker, connection: &mut Connection, stream: &TcpStream) -> Result<Admission, Outcome> {
    preface::read(connection, stream).await?;
    let (key, client) = (connection.key, connection.peer);
    let read = |snapshot: &Snapshot| (admission(snapshot, &key, client), limit::asked(snapshot, &key));
    let (admission, limits) = worker.reader.read(read);
    let refusal = match admission {
        Admission::Refused(why) => Some(why),
        _ => limit::admit_client(worker, &mut connection.admitted, &limits, client.ip()).err(),
    };
    match refusal {
        None => Ok(admission),
        Some(why) => {
            connection.admitted.listener().refuse(why);
            Err(Outcome::Refused)
        }
    }
}

/// An IPv4 client of a dual-stack socket by its IPv4 address.
pub(super) fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::compile::compile;
    use crate::model::intent::{Intent, Limits, Listener, SourceRules};
    use crate::model::live::Live;
    use crate::model::problem::Origin;

    fn snapshot(protocol: Protocol, deny: &str, key: ListenerKey) -> Snapshot {
        let listener = Listener {
            name: "web".into(),
            protocol,
            routes: vec![],
            certs: vec![],
            strict_sni: false,
            tls: Default::default(),
            essential: true,
            proxies: Vec::new(),
            http: Default::default(),
            limits: Limits::default(),
            flow_idle: None,
            sources: SourceRules { allow: vec![], deny: vec![deny.parse().unwrap()] },
            origin: Origin::new("file", "listener web"),
        };
        let intent = Intent { listeners: [(key, Arc::new(listener))].into(), ..Intent::default() };
        compile(&intent, &Snapshot::default(), &Live::new(1)).0
    }

    #[test]
    fn what_is_refused_says_why() {
        let key = ListenerKey::tcp("192.0.2.1:443".parse().unwrap());
        let peer = "198.51.100.7:1".parse().unwrap();
        let refused = |snapshot: &Snapshot| match admission(snapshot, &key, peer) {
            Admission::Refused(why) => Some(why),
            _ => None,
        };
        assert_eq!(refused(&Snapshot::default()), Some(Refusal::NotServed), "no such listener any more");
        assert_eq!(refused(&snapshot(Protocol::Http, "203.0.113.0/24", key)), None);
        assert_eq!(refused(&snapshot(Protocol::Http, "198.51.100.0/24", key)), Some(Refusal::Source));
        let mut https = snapshot(Protocol::Https, "203.0.113.0/24", key);
        assert_eq!(refused(&https), None);
        Arc::get_mut(https.listeners.get_mut(&key).unwrap()).unwrap().tls = None;
        assert_eq!(refused(&https), Some(Refusal::NotServed), "never in the clear");
    }
}
