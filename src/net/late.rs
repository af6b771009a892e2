//! A connection of a client that the runtime begins to watch when it has to wait for it, and not before.
//!
//! Theory: who connects to ask says so at once, and an answer fits into the socket's buffer. A connection for one request
//! that is read and answered without a wait costs no `epoll_ctl`, neither to watch it nor to let it go, no record in the
//! runtime and no wake-ups. The first call that finds nothing has it watched, and from then on it is read as any other.
//! Of one that is watched since a moment ago the runtime does not know yet that it takes bytes, so writes still go to the
//! socket until it takes none.
#![allow(unsafe_code, reason = "reading into room that holds nothing yet")]

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::coop::poll_proceed;

use slices::{SHORT, gathered};

mod slices;

/// A connection.
#[derive(Debug)]
pub struct Late {
    at: At,
    // The socket took all that was written so far.
    takes: bool,
}

#[derive(Debug)]
enum At {
    /// Nobody watches it.
    Alone(std::net::TcpStream),
    /// The runtime does.
    Watched(TcpStream),
    /// The runtime could not, and it is closed.
    Lost,
}

impl From<TcpStream> for Late {
    /// One that is watched already.
    fn from(stream: TcpStream) -> Self {
        Self { at: At::Watched(stream), takes: false }
    }
}

impl From<std::net::TcpStream> for Late {
    /// One that is not watched yet, and does not block.
    fn from(stream: std::net::TcpStream) -> Self {
        Self { at: At::Alone(stream), takes: true }
    }
}

impl Late {
    /// Has it watched from now on.
    ///
    /// # Errors
    /// The runtime cannot: what `epoll_ctl` says. The connection is closed.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn watched(&mut self) -> io::Result<&mut TcpStream> {
        if let At::Alone(_) = self.at
            && let At::Alone(stream) = std::mem::replace(&mut self.at, At::Lost)
        {
            self.at = At::Watched(TcpStream::from_std(stream)?);
        }
        match &mut self.at {
            At::Watched(stream) => Ok(stream),
            At::Alone(_) | At::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The stream, watched.
    ///
    /// # Errors
    /// As [`watched`](Self::watched).
    pub fn into_watched(mut self) -> io::Result<TcpStream> {
        self.watched()?;
        match self.at {
            At::Watched(stream) => Ok(stream),
            At::Alone(_) | At::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Ready when there may be something to read, an end or an error: always, as long as nobody watches it.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.at {
            At::Watched(stream) => stream.poll_read_ready(cx).map(drop),
            At::Alone(_) | At::Lost => Poll::Ready(()),
        }
    }

    /// Which address its client connected to.
    ///
    /// # Errors
    /// What `getsockname` says; `NotConnected` where it is closed.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.at {
            At::Alone(stream) => stream.local_addr(),
            At::Watched(stream) => stream.local_addr(),
            At::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The socket, as long as writes need not wait for the runtime to say that it takes them.
    fn taking(&self) -> Option<BorrowedFd<'_>> {
        if self.takes { self.socket().ok() } else { None }
    }

    /// The socket, to be asked something of.
    ///
    /// # Errors
    /// `NotConnected` where it is closed.
    pub fn socket(&self) -> io::Result<BorrowedFd<'_>> {
        match &self.at {
            At::Alone(stream) => Ok(stream.as_fd()),
            At::Watched(stream) => Ok(stream.as_fd()),
            At::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// Makes a call on a socket past the runtime; `None` when it would have to wait. Counts as a turn of the task, as
/// calls on watched ones do, lest one that never waits keeps others from theirs.
fn at_once<T>(cx: &mut Context<'_>, call: impl FnOnce() -> io::Result<T>) -> Poll<Option<io::Result<T>>> {
    let turn = ready!(poll_proceed(cx));
    match call() {
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            Poll::Ready(None)
        }
        done => {
            turn.made_progress();
            Poll::Ready(Some(done))
        }
    }
}

fn receive(socket: BorrowedFd<'_>, into: &mut ReadBuf<'_>) -> io::Result<()> {
    // SAFETY: nothing here makes bytes of it uninitialized that were not.
    let room = unsafe { into.unfilled_mut() };
    let ((filled, _), _) = recv(socket, room, RecvFlags::empty())?;
    let count = filled.len();
    // SAFETY: the kernel wrote these first bytes of the room.
    unsafe { into.assume_init(count) };
    into.advance(count);
    Ok(())
}

/// Sends what the socket takes of these slices in one call.
fn send_slices(socket: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    Ok(sendmsg(socket, slices, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)?)
}

impl AsyncRead for Late {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let At::Alone(stream) = &self.at
            && let Some(read) = ready!(at_once(cx, || receive(stream.as_fd(), into)))
        {
            return Poll::Ready(read);
        }
        Pin::new(self.watched()?).poll_read(cx, into)
    }
}

impl AsyncWrite for Late {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(socket) = self.taking()
            && let Some(sent) = ready!(at_once(cx, || Ok(send(socket, bytes, SendFlags::NOSIGNAL)?)))
        {
            return Poll::Ready(sent);
        }
        self.takes = false;
        Pin::new(self.watched()?).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut room = [0; SHORT];
        if let Some(bytes) = gathered(slices, &mut room) {
            return self.poll_write(cx, bytes);
        }
        if let Some(socket) = self.taking()
            && let Some(sent) = ready!(at_once(cx, || send_slices(socket, slices)))
        {
            return Poll::Ready(sent);
        }
        self.takes = false;
        let stream = self.watched()?;
        loop {
            ready!(stream.poll_write_ready(cx))?;
            match stream.try_io(Interest::WRITABLE, || send_slices(stream.as_fd(), slices)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return Poll::Ready(sent),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.at {
            At::Alone(stream) => Poll::Ready(stream.shutdown(std::net::Shutdown::Write)),
            At::Watched(stream) => Pin::new(stream).poll_shutdown(cx),
            At::Lost => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

#[cfg(test)]
mod tests;
