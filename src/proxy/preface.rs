//! The PROXY protocol header before a connection's first byte: who it names.
//!
//! The header is looked at in the kernel until it is whole and then taken to the byte, so that the connection goes on as
//! if it had come from the client itself. Whether the peer may send one is for the listener to say.

use std::time::Duration;

use tokio::net::TcpStream;
use tracing::debug;

use super::Connection;
use super::listener::canonical;
use crate::model::outcome::Outcome;
use crate::net::first;
use crate::net::proxy_protocol::{Decoded, Ends, decode};

/// How long a header may take, whole.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes the header off the stream and puts who it names into the connection. A header that names nobody leaves the peer
/// as the client.
pub(super) async fn read(connection: &mut Connection, stream: &TcpStream) -> Result<(), Outcome> {
    let looked = tokio::time::timeout(PATIENCE, first::look(stream, judge)).await;
    let wrong = |what: &str| {
        debug!(listener = %connection.key, peer = %connection.peer, what, "bad PROXY protocol header");
        Err(Outcome::BadProxyHeader)
    };
    let (length, ends) = match looked {
        Err(_) => return wrong("it took too long"),
        Ok(Err(_) | Ok(Some(Look::Left))) => return Err(Outcome::ClientGone),
        Ok(Ok(None)) => return wrong("the connection ended in it"),
        Ok(Ok(Some(Look::Wrong(what)))) => return wrong(&what),
        Ok(Ok(Some(Look::Header { length, ends }))) => (length, ends),
    };
    first::take(stream, length).map_err(|_| Outcome::ClientGone)?;
    if let Some(Ends { from, to }) = ends {
        connection.peer = canonical(from);
        connection.port = to.port();
        connection.to = Some(canonical(to));
    }
    Ok(())
}

/// What a look at the first bytes found.
enum Look {
    Header {
        length: usize,
        ends: Option<Ends>,
    },
    Wrong(String),
    /// The peer left before its first byte, as those do that only check whether the port is open.
    Left,
}

fn judge(bytes: &[u8]) -> Option<Look> {
    if bytes.is_empty() {
        return Some(Look::Left);
    }
    match decode(bytes) {
        Decoded::Incomplete { .. } => None,
        Decoded::Header(header) => Some(Look::Header { length: header.length, ends: header.ends }),
        Decoded::Invalid(fault) => Some(Look::Wrong(fault.to_string())),
    }
}
