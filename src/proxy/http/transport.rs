//! What a client's connection is served over: a socket in the clear, or TLS on one, and what is asked of either beside
//! its bytes. Knows nothing of HTTP.

use std::net::SocketAddr;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::net::late::Late;
use crate::net::socket::{self, Presence};
use crate::net::unacknowledged::unacknowledged;

/// A connection to a client, in the clear or in TLS.
pub(in crate::proxy) trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Makes the coming close a reset.
    fn abort_on_close(&self);
    /// What became of the client, whether or not it is being read from.
    fn presence(&self) -> Presence;
    /// The address that the client connected to. A system call.
    fn local(&self) -> Option<SocketAddr>;

    /// Bytes that were written and that the client has not acknowledged; `None` where nobody knows. A system call.
    fn unacknowledged(&self) -> Option<usize> {
        None
    }

    /// Lets only so much wait in the kernel. A system call.
    fn bound_unsent(&self) {}

    /// Ready when there may be something to read, an end or an error. Says so always where nobody knows.
    fn poll_readable(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    /// Whether what is written is what goes on the wire.
    fn is_bare(&self) -> bool {
        false
    }

    /// The socket, where it is bare.
    fn bare(&mut self) -> Option<&TcpStream> {
        None
    }
}

impl Transport for Late {
    fn abort_on_close(&self) {
        self.socket().iter().for_each(socket::abort_on_close);
    }

    fn presence(&self) -> Presence {
        self.socket().map_or(Presence::Gone, |socket| socket::presence(&socket))
    }

    fn local(&self) -> Option<SocketAddr> {
        self.local_addr().ok()
    }

    fn unacknowledged(&self) -> Option<usize> {
        unacknowledged(&self.socket().ok()?)
    }

    fn is_bare(&self) -> bool {
        true
    }

    fn bare(&mut self) -> Option<&TcpStream> {
        self.watched().ok().map(|stream| &*stream)
    }

    fn bound_unsent(&self) {
        self.socket().iter().for_each(socket::bound_unsent);
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        Self::poll_readable(self, cx)
    }
}

/// In a box, since it is large and handed on.
impl Transport for Box<TlsStream<TcpStream>> {
    fn abort_on_close(&self) {
        socket::abort_on_close(self.get_ref().0);
    }

    fn presence(&self) -> Presence {
        socket::presence(self.get_ref().0)
    }

    fn local(&self) -> Option<SocketAddr> {
        self.get_ref().0.local_addr().ok()
    }

    fn unacknowledged(&self) -> Option<usize> {
        unacknowledged(self.get_ref().0)
    }

    fn bound_unsent(&self) {
        socket::bound_unsent(self.get_ref().0);
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let (socket, tls) = self.get_ref();
        // It may hold what came behind the handshake, and more.
        if tls.wants_read() { socket.poll_read_ready(cx).map(drop) } else { Poll::Ready(()) }
    }
}
