//! A client's stream of which some was read already, which comes first.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Transport;
use crate::net::socket::Presence;

/// A stream, and what was read of it.
#[derive(Debug)]
pub(super) struct Begun<S> {
    read: Bytes,
    stream: S,
}

impl<S> Begun<S> {
    /// Puts what was `read` before the rest.
    pub(super) fn new(read: Bytes, stream: S) -> Self {
        Self { read, stream }
    }

    /// Ready while what was read has not all come; then what the stream says.
    pub(super) fn rest_of(&self, stream: impl FnOnce(&S) -> Poll<()>) -> Poll<()> {
        if self.read.is_empty() { stream(&self.stream) } else { Poll::Ready(()) }
    }

    /// What of it has not come again yet, and the stream.
    pub(super) fn into_parts(self) -> (Bytes, S) {
        (self.read, self.stream)
    }

    /// Puts what was `read` of it before what was not used yet. Nothing keeps no room.
    pub(super) fn again(self, read: Bytes) -> Self {
        let read = match (read.is_empty(), self.read.is_empty()) {
            (true, true) => Bytes::new(),
            (false, true) => read,
            (_, false) => [read, self.read].concat().into(),
        };
        Self { read, stream: self.stream }
    }
}

impl<S: Transport> Transport for Begun<S> {
    fn abort_on_close(&self) {
        self.stream.abort_on_close();
    }

    fn presence(&self) -> Presence {
        self.stream.presence()
    }

    fn local(&self) -> Option<SocketAddr> {
        self.stream.local()
    }

    fn unacknowledged(&self) -> Option<usize> {
        self.stream.unacknowledged()
    }

    fn bound_unsent(&self) {
        self.stream.bound_unsent();
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.rest_of(|stream| stream.poll_readable(cx))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, into);
        }
        let part = self.read.len().min(into.remaining());
        into.put_slice(&self.read[..part]);
        self.read.advance(part);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::net::late::Late;

    #[tokio::test]
    async fn what_its_client_takes_is_seen_as_on_the_stream_itself() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let stream = Late::from(stream);
        assert!(Transport::unacknowledged(&stream).is_some());
        assert_eq!(Begun::new(Bytes::new(), stream).unacknowledged(), Some(0));
    }
}
