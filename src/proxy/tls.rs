//! TLS ended here: the handshake with the snapshot's certificate, then HTTP as ALPN says.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::{Connection, Worker, announce, http};
use crate::model::live::acme::PROTOCOL;
use crate::model::outcome::Outcome;

/// How long a handshake may take in all.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Serves one connection of an `https` listener to its end.
pub(super) async fn serve(
    worker: Rc<Worker>,
    connection: Connection,
    stream: TcpStream,
    config: Arc<rustls::ServerConfig>,
) {
    match tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await {
        Ok(Ok(stream)) => {
            let shaken = stream.get_ref().1;
            if shaken.alpn_protocol() == Some(PROTOCOL) {
                // A certificate authority, which has seen what it came for (RFC 8737 §3).
                connection.admitted.end(Outcome::Done);
                return;
            }
            let tls = http::Tls {
                h2: shaken.alpn_protocol() == Some(b"h2"),
                name: shaken.server_name().map(Into::into),
                told: announce::tls(
                    shaken.protocol_version(),
                    shaken.negotiated_cipher_suite().map(|suite| suite.suite()),
                ),
            };
            http::serve(worker, connection, stream, Some(tls)).await;
        }
        Ok(Err(error)) => {
            debug!(listener = %connection.key, client = %connection.peer, %error, "TLS handshake failed");
            connection.admitted.end(Outcome::TlsFailed);
        }
        Err(_) => {
            debug!(listener = %connection.key, client = %connection.peer, "TLS handshake took longer than {HANDSHAKE:?}");
            connection.admitted.end(Outcome::TlsFailed);
        }
    }
}
