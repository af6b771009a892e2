//! TLS ended here: the handshake with the snapshot's certificate, then HTTP as ALPN says.

use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::{Connection, Worker, announce, http, limit};
use crate::model::live::acme::PROTOCOL;
use crate::model::outcome::Outcome;

/// Serves one connection of an `https` listener to its end.
pub(super) async fn serve(
    worker: Rc<Worker>,
    connection: Connection,
    stream: TcpStream,
    config: Arc<rustls::ServerConfig>,
) {
    let limit = limit::asked_of_client(&worker, &connection.key).handshake;
    match tokio::time::timeout(limit, TlsAcceptor::from(config).accept(stream)).await {
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
            debug!(listener = %connection.key, client = %connection.peer, "TLS handshake took longer than {limit:?}");
            connection.admitted.end(Outcome::TlsFailed);
        }
    }
}
