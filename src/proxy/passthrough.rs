//! TLS that is not ended here: read the client's first message, decide by what it says in the clear, relay.
//!
//! What was read goes to the backend first, byte for byte. A client holds nothing before its first byte, and then what it
//! has sent, at most [`LONGEST`]. One whose name leads nowhere is told so by a TLS alert, so that its user sees more than
//! a connection that closed.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tracing::debug;

use super::tcp::{self, Spoken};
use super::{Connection, Worker};
use crate::model::host::{Host, HostError};
use crate::model::outcome::Outcome;
use crate::model::snapshot::Decision;
use crate::net::client_hello::{ClientHello, LONGEST, Parsed, parse};

/// How long the first message may take, whole.
const PATIENCE: Duration = Duration::from_secs(5);
/// The first buffer for it: most hellos fit into it, those with post-quantum keys too.
const BUFFER: usize = 2048;
/// A fatal alert, `unrecognized_name` (RFC 6066 §3).
const UNKNOWN_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Serves one connection of a `tls-passthrough` listener to its end.
pub(super) async fn serve(worker: Rc<Worker>, connection: Connection, client: TcpStream) {
    let (decision, spoken) = match tokio::time::timeout(PATIENCE, listen(&worker, &connection, &client)).await {
        Ok(Ok(decided)) => decided,
        Ok(Err(outcome)) => return connection.admitted.end(outcome),
        Err(_) => return connection.admitted.end(Outcome::SlowHead),
    };
    if matches!(decision, Decision::NoRoute { .. } | Decision::Redirect { .. } | Decision::RedirectHttps { .. }) {
        // It is closed whether or not it can be told.
        let _ = client.try_write(&UNKNOWN_NAME);
        return connection.admitted.end(Outcome::NoBackend);
    }
    // A task of its own, so that a connection at rest does not keep what listening needed.
    tokio::task::spawn_local(tcp::carry(worker, connection, client, decision, spoken));
}

/// Reads until the first message is whole, and decides by it.
async fn listen(worker: &Worker, connection: &Connection, client: &TcpStream) -> Result<(Decision, Spoken), Outcome> {
    let mut bytes = Vec::new();
    let malformed = |why: &dyn fmt::Display| {
        debug!(listener = %connection.key, client = %connection.peer, %why, "not passed through");
        Outcome::Malformed
    };
    loop {
        client.readable().await.map_err(|_| Outcome::ClientGone)?;
        if bytes.len() == bytes.capacity() {
            // A full buffer is longer than any hello, so it grows no further.
            let room = (2 * bytes.capacity()).clamp(BUFFER, LONGEST);
            bytes.reserve_exact(room - bytes.len());
        }
        match client.try_read_buf(&mut bytes) {
            Ok(0) => return Err(Outcome::ClientGone),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => return Err(Outcome::ClientGone),
        }
        match parse(&bytes) {
            Parsed::Incomplete => {}
            Parsed::Invalid(fault) => return Err(malformed(&fault)),
            Parsed::Hello(hello) => {
                let (decision, authority, alpn) = decide(worker, connection, &hello).map_err(|e| malformed(&e))?;
                return Ok((decision, Spoken { bytes, authority, alpn }));
            }
        }
    }
}

/// A decision, and what its backends are told: the name and the protocol.
type Decided = (Decision, Option<Box<str>>, Option<Box<[u8]>>);

/// Decides by a whole first message, unless its name is none.
fn decide(worker: &Worker, connection: &Connection, hello: &ClientHello<'_>) -> Result<Decided, HostError> {
    let name = hello.name().map(Host::parse).transpose()?;
    // An address is no server name (RFC 6066 §3): who sends one is served as if it had sent none.
    let name = name.as_ref().map(Host::as_str).filter(|name| name.parse::<IpAddr>().is_err());
    let offers = |alpn: &str| hello.alpn().any(|offered| offered == alpn.as_bytes());
    let decision = worker.reader.read(|s| s.decide_tls(&connection.key, name, offers));
    let is_told = matches!(&decision, Decision::Forward { pool, .. } if pool.intent.send_proxy.is_some());
    let authority = name.filter(|_| is_told).map(Into::into);
    let alpn = only_offer(hello).filter(|_| is_told).map(Into::into);
    Ok((decision, authority, alpn))
}

/// The protocol that will be spoken, which is sure only where the client offers no other.
fn only_offer<'h>(hello: &'h ClientHello<'_>) -> Option<&'h [u8]> {
    let mut offered = hello.alpn();
    offered.next().filter(|_| offered.next().is_none())
}
