//! A connection that switched protocols (WebSocket): bytes both ways until both sides end.
//!
//! It holds its lease and nothing of the snapshot it was decided by, so it lives through every swap.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tracing::debug;

use super::rest::Line;
use super::session::Session;
use crate::model::live::Lease;
use crate::model::outcome::Outcome;
use crate::net::late::Late;
use crate::net::relay::{Leg, Options, Times};
use crate::proxy::limit::speed::Speed;
use crate::proxy::relay;

/// Both sides of a connection that is about to switch.
#[derive(Debug)]
pub(super) struct Tunnel {
    /// The client's side.
    pub(super) client: OnUpgrade,
    /// The backend's side.
    pub(super) backend: OnUpgrade,
    /// Counts it at its backend.
    pub(super) lease: Lease,
    /// How long it may be silent.
    pub(super) times: Times,
}

impl Tunnel {
    /// Relays until both sides ended. Bytes are counted at the listener and at the backend.
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let (client, backend) = match tokio::try_join!(self.client, self.backend) {
            Ok(sides) => sides,
            Err(error) => {
                debug!(%error, "a connection ended before it had switched protocols");
                return Outcome::ClientGone;
            }
        };
        let client = Wire::of::<Line<Late>>(client, |line| {
            let (read, watched) = line.into_parts();
            watched.stream.into_watched().map(|stream| (read, stream))
        });
        let backend = Wire::of::<TcpStream>(backend, |stream| Ok((Bytes::new(), stream)));
        let ((mut client, from_client), (mut backend, from_backend)) = match (client, backend) {
            (Ok(client), Ok(backend)) => (client, backend),
            (Err(error), _) | (_, Err(error)) => {
                debug!(%error, "a connection that switched protocols cannot be watched");
                return Outcome::ClientGone;
            }
        };
        let pace = session.speed.as_ref().map(Speed::pace);
        let options = Options { from_client, from_backend, pace, ..Options::new(self.times) };
        relay::between(&mut client, &mut backend, options, &session.listener, &self.lease).await
    }
}

/// One side of a connection that has switched.
#[derive(Debug)]
enum Wire {
    /// A socket in the clear, taken back from hyper.
    Bare(TcpStream),
    /// Whatever else: TLS.
    Other(TokioIo<Upgraded>),
}

impl Wire {
    /// The socket inside, where hyper was given one as `T`, and what was read of it beyond the switch: by hyper, and
    /// before hyper.
    fn of<T: AsyncRead + AsyncWrite + Unpin + 'static>(
        side: Upgraded,
        socket: fn(T) -> io::Result<(Bytes, TcpStream)>,
    ) -> io::Result<(Self, Vec<u8>)> {
        match side.downcast::<TokioIo<T>>() {
            Ok(parts) => {
                let (read, socket) = socket(parts.io.into_inner())?;
                let mut beyond = Vec::from(parts.read_buf);
                beyond.extend_from_slice(&read);
                Ok((Self::Bare(socket), beyond))
            }
            // hyper gives what it had read before the rest.
            Err(side) => Ok((Self::Other(TokioIo::new(side)), Vec::new())),
        }
    }
}

impl Leg for Wire {
    fn bare(&self) -> Option<&TcpStream> {
        match self {
            Self::Bare(socket) => Some(socket),
            Self::Other(_) => None,
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Bare(side) => Pin::new(side).poll_read(cx, into),
            Self::Other(side) => Pin::new(side).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Bare(side) => Pin::new(side).poll_write(cx, bytes),
            Self::Other(side) => Pin::new(side).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Bare(side) => Pin::new(side).poll_flush(cx),
            Self::Other(side) => Pin::new(side).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Bare(side) => Pin::new(side).poll_shutdown(cx),
            Self::Other(side) => Pin::new(side).poll_shutdown(cx),
        }
    }
}
