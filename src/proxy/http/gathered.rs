//! What a connection of HTTP/2 writes in one of its turns, gathered and sent together.
//!
//! Theory: h2 writes and flushes each piece of a body that is not very short by itself, which in TLS is a record and a
//! system call for each. All its writing is done while the connection's own task runs, so the end of that turn is the
//! one moment at which a flush is needed: until then short writes are put into a buffer, and a flush only notes that
//! there is one to be done. What is long goes out at once, behind what was gathered before it, and is not copied. The
//! buffer is the thread's: a connection has it for a turn, and keeps it only while its client takes nothing. It holds
//! one record of TLS, which bounds what a connection may keep there.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is gathered at most, in bytes: a record of TLS.
const ROOM: usize = 16 * 1024;
/// What is as long as this is not copied, in bytes.
const LONG: usize = 8 * 1024;
/// The most pieces that are written in one call.
const PIECES: usize = 8;

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A stream whose short writes wait for the end of the turn.
#[derive(Debug)]
pub(super) struct Gathered<S>(Rc<RefCell<Inner<S>>>);

/// Ends the turns of a [`Gathered`].
#[derive(Debug)]
pub(super) struct Turns<S>(Rc<RefCell<Inner<S>>>);

#[derive(Debug)]
struct Inner<S> {
    stream: S,
    held: Vec<u8>,
    // How much of it was sent.
    sent: usize,
    // A flush was asked for.
    due: bool,
    // The last turn ended with something left.
    blocked: bool,
    // What went wrong at the end of a turn, for who writes or reads next.
    broken: Option<io::ErrorKind>,
}

/// A stream that gathers, and what ends its turns.
pub(super) fn gathered<S>(stream: S) -> (Gathered<S>, Turns<S>) {
    let inner = Inner { stream, held: Vec::new(), sent: 0, due: false, blocked: false, broken: None };
    let inner = Rc::new(RefCell::new(inner));
    (Gathered(inner.clone()), Turns(inner))
}

impl<S: AsyncWrite + Unpin> Turns<S> {
    /// Sends what was gathered, once the connection has had its turn. Never waits: where the client takes not all of it
    /// the task is woken when it takes more, and once before that for who watches such clients; where sending fails it is
    /// woken to be told.
    pub(super) fn end(&self, cx: &mut Context<'_>) {
        let mut inner = self.0.borrow_mut();
        if inner.broken.is_some() || (!inner.due && inner.held.is_empty()) {
            return;
        }
        let was_blocked = inner.blocked;
        let flushed = inner.poll_flush(cx);
        inner.blocked = flushed.is_pending();
        match flushed {
            Poll::Ready(Ok(())) => inner.due = false,
            Poll::Ready(Err(error)) => {
                inner.broken = Some(error.kind());
                cx.waker().wake_by_ref();
            }
            Poll::Pending if was_blocked => {}
            Poll::Pending => cx.waker().wake_by_ref(),
        }
    }
}

impl<S> Inner<S> {
    fn check(&self) -> io::Result<()> {
        self.broken.map_or(Ok(()), |kind| Err(kind.into()))
    }

    /// So much of what is held was sent. What was sent beyond it.
    fn sent(&mut self, bytes: usize) -> usize {
        let left = self.held.len() - self.sent;
        if bytes < left {
            self.sent += bytes;
            return 0;
        }
        self.held.clear();
        self.sent = 0;
        SPARE.set(std::mem::take(&mut self.held));
        bytes - left
    }

    /// Holds as much of it as there is room for.
    fn hold(&mut self, slices: &[IoSlice<'_>]) -> usize {
        if self.held.capacity() == 0 {
            self.held = SPARE.take();
            self.held.reserve_exact(ROOM);
        }
        let before = self.held.len();
        for slice in slices {
            let part = slice.len().min(ROOM.saturating_sub(self.held.len()));
            self.held.extend_from_slice(slice.get(..part).unwrap_or_default());
        }
        self.held.len() - before
    }
}

impl<S: AsyncWrite + Unpin> Inner<S> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.held.len() {
            let bytes = self.held.get(self.sent..).unwrap_or_default();
            let taken = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent(taken);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.check()?;
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        if length < LONG {
            if self.held.len() >= ROOM {
                ready!(self.poll_send(cx))?;
            }
            return Poll::Ready(Ok(self.hold(slices)));
        }
        while self.sent < self.held.len() {
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let all = std::iter::once(self.held.get(self.sent..).unwrap_or_default());
            let all = all.chain(slices.iter().map(|slice| &**slice));
            let count = pieces.iter_mut().zip(all).map(|(piece, bytes)| *piece = IoSlice::new(bytes)).count();
            let pieces = pieces.get(..count).unwrap_or_default();
            let taken = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, pieces))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let beyond = self.sent(taken);
            if beyond > 0 {
                return Poll::Ready(Ok(beyond));
            }
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        inner.check()?;
        Pin::new(&mut inner.stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        inner.check()?;
        inner.due = true;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        inner.check()?;
        ready!(inner.poll_flush(cx))?;
        Pin::new(&mut inner.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
