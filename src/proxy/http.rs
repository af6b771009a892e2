//! HTTP on hyper.

use std::rc::Rc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Connection, Worker};
use crate::model::outcome::Outcome;

/// What the handshake said.
#[derive(Debug)]
pub(super) struct Tls {
    /// ALPN chose HTTP/2.
    pub(super) h2: bool,
    /// The SNI.
    pub(super) server_name: Option<Box<str>>,
}

/// Serves one connection of an HTTP listener to its end.
pub(super) async fn serve<S>(_worker: Rc<Worker>, connection: Connection, _stream: S, _tls: Option<Tls>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    connection.admitted.end(Outcome::NoBackend);
}

/// Pooled connections to backends, of one data thread.
#[derive(Debug, Default)]
pub(super) struct Clients;
