//! TLS ended here: the handshake with the snapshot's certificate, then HTTP as ALPN says.
//!
//! The client's first message is read before a configuration is chosen, as sessions belong to a configuration; where
//! all clients get the same one that step is left out. Signing is done on the data thread, like all of a connection.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use rustls::HandshakeKind;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};
use tracing::{debug, warn};

use super::{Connection, Worker, announce, http, limit};
use crate::model::intent::tls::Tell;
use crate::model::live::listener::Handshake;
use crate::model::outcome::Outcome;
use crate::model::tls::{Clients, Identity, Names};
use crate::net::first;

mod client;
mod name;
mod refused;

pub(super) use client::is_ours as is_client_field;
pub(super) use refused::Refused;

/// The alert for a name that nobody here answers to: fatal, `unrecognized_name` (RFC 6066 §3). Before the first message
/// of a server, alerts are in the clear.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// The most that waits in TLS to be sent, in bytes, and so what goes out in one call: as much as is read of a backend at
/// once, so that one read is one write. With rustls' own 64 KiB a large answer costs more CPU time.
const UNSENT: usize = 128 * 1024;

/// Serves one connection of an `https` listener to its end.
pub(super) async fn serve(worker: Rc<Worker>, connection: Connection, stream: TcpStream, names: Arc<Names>) {
    let limit = limit::asked_of_client(&worker, &connection.key).handshake;
    // A client that has said nothing holds no room for a handshake; that is given back before the first request.
    let shaking = async {
        first::look(&stream, |_| Some(())).await?;
        Box::pin(shake(stream, &names)).await
    };
    let error = match tokio::time::timeout(limit, shaking).await {
        // A certificate authority, which has seen what it came for (RFC 8737 §3).
        Ok(Ok((_, None))) => return connection.admitted.end(Outcome::Done),
        Ok(Ok((mut stream, Some(identity)))) => match told(&stream, &identity) {
            Ok(Told { fields, common_name, is_verified }) => {
                let shaken = stream.get_ref().1;
                let kind = match shaken.handshake_kind() {
                    Some(HandshakeKind::Resumed) => Handshake::Resumed,
                    _ => Handshake::Full,
                };
                connection.admitted.listener().shook_hands(kind);
                let tls = http::Tls {
                    h2: shaken.alpn_protocol() == Some(b"h2"),
                    name: shaken.server_name().map(Into::into),
                    names: names.only().is_none().then_some(names),
                    fields,
                    common_name,
                    told: announce::tls(
                        shaken.protocol_version(),
                        shaken.negotiated_cipher_suite().map(|suite| suite.suite()),
                        is_verified,
                    ),
                };
                stream.get_mut().1.set_buffer_limit(Some(UNSENT));
                // A task of its own: this one is as large as what has ended.
                spawn_local(http::serve(worker, connection, stream, Some(tls)));
                return;
            }
            Err(error) => io::Error::new(io::ErrorKind::InvalidData, error),
        },
        Ok(Err(error)) => error,
        Err(_) => io::Error::other(format!("it took longer than {limit:?}")),
    };
    let (listener, client) = (connection.key, connection.peer);
    let told = refused::is_refusal(&error).then(|| worker.refused.may_tell(worker.epoch.elapsed())).flatten();
    match told {
        Some(0) => warn!(%listener, %client, %error, "a client's certificate is refused"),
        Some(unsaid) => warn!(%listener, %client, %error, unsaid, "clients' certificates are refused"),
        None => debug!(%listener, %client, %error, "TLS handshake failed"),
    }
    connection.admitted.end(Outcome::TlsFailed);
}

/// Shakes hands, as the identity that the client asks for; none where it is a certificate authority.
/// The stream comes in a box, since it is large and handed on.
async fn shake(stream: TcpStream, names: &Names) -> io::Result<(Box<TlsStream<TcpStream>>, Option<Arc<Identity>>)> {
    if let Some(only) = names.only().filter(|_| !names.may_be_proved()) {
        let stream = TlsAcceptor::from(only.config.clone()).accept(stream).await?;
        return Ok((Box::new(stream), Some(only.clone())));
    }
    let mut start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    if let Some(proof) = names.proof(&start.client_hello()).cloned() {
        return Ok((Box::new(start.into_stream(proof).await?), None));
    }
    match names.find(start.client_hello().server_name()) {
        Some(identity) => {
            let stream = start.into_stream(identity.config.clone()).await?;
            Ok((Box::new(stream), Some(identity.clone())))
        }
        None => {
            start.io.write_all(&UNRECOGNIZED_NAME).await?;
            Err(io::Error::other("no certificate answers to the server name"))
        }
    }
}

/// What backends are told of the client's certificate.
#[derive(Default)]
struct Told {
    fields: Option<client::Fields>,
    common_name: Option<Box<str>>,
    is_verified: bool,
}

/// Finds out what backends are told of the client's certificate. A session that is resumed stands for the certificate it began
/// with, which may have ended or been revoked since: it is judged again.
///
/// # Errors
/// It is not good any more.
fn told(stream: &TlsStream<TcpStream>, identity: &Identity) -> Result<Told, rustls::Error> {
    let Some(clients) = &identity.clients else { return Ok(Told::default()) };
    let shaken = stream.get_ref().1;
    let chain = shaken.peer_certificates().unwrap_or_default();
    if shaken.handshake_kind() == Some(HandshakeKind::Resumed) {
        judge(clients, chain)?;
    }
    let leaf = chain.first().map(|leaf| &**leaf);
    Ok(Told {
        fields: client::fields(clients.tell, leaf),
        common_name: leaf.filter(|_| clients.tell != Tell::Nothing).and_then(client::common_name),
        is_verified: leaf.is_some(),
    })
}

fn judge(clients: &Clients, chain: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
    match chain.split_first() {
        Some((leaf, issuers)) => clients.verifier.verify_client_cert(leaf, issuers, UnixTime::now()).map(drop),
        None if clients.verifier.client_auth_mandatory() => Err(rustls::Error::NoCertificatesPresented),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_says_nothing_is_small() {
        fn size<F: Future>(_: fn(Rc<Worker>, Connection, TcpStream, Arc<Names>) -> F) -> usize {
            size_of::<F>()
        }
        assert!(size(serve) <= 1024, "{}", size(serve));
    }
}
