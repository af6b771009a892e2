//! How long a client may be silent: while the head of a request is under way, and between requests.
//!
//! Theory: requests never touch the timer. It is armed for the earliest moment that could matter, and when it fires,
//! what happened since decides whether that was it or when to look again. Only a head that comes in pieces arms it
//! anew.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::session::Session;
use crate::model::outcome::Outcome;

/// How long the head of a request may take from its first byte, and how long a new connection may stay silent.
const HEAD: Duration = Duration::from_secs(10);
/// How long a connection may wait for its next request.
const IDLE: Duration = Duration::from_secs(60);

/// Watches one client connection.
pub(super) struct Patience {
    timer: Pin<Box<Sleep>>,
    registered: bool,
    // None when bytes are no sign of a head, as in HTTP/2 with its pings.
    reads: Option<Reads>,
    // Reads and requests when nothing was under way last.
    rest: (u64, u64),
    head_since: Option<Instant>,
}

/// How often bytes were read from a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Reads(Arc<AtomicU64>);

impl Patience {
    /// Begins with a new connection.
    pub(super) fn new(session: &Session, reads: Option<Reads>) -> Self {
        Self {
            timer: Box::pin(sleep_until(session.quiet_since() + HEAD)),
            registered: false,
            reads,
            rest: (0, 0),
            head_since: None,
        }
    }

    /// Looks after each turn of the connection. Ready when the client was silent for too long: `SlowHead` in the middle
    /// of a head, else `Idle`.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, session: &Session) -> Poll<Outcome> {
        self.note(session);
        loop {
            if !self.registered {
                // Once after each arming; between, a look at a flag tells whether it fired.
                self.registered = self.timer.as_mut().poll(cx).is_pending();
            }
            if self.registered && !self.timer.is_elapsed() {
                return Poll::Pending;
            }
            let now = Instant::now();
            let (end, outcome) = match self.head_since {
                Some(since) => (since + HEAD, Outcome::SlowHead),
                None if session.is_busy() => (now + HEAD, Outcome::Idle),
                None if session.requests() == 0 => (session.quiet_since() + HEAD, Outcome::Idle),
                None => (session.quiet_since() + IDLE, Outcome::Idle),
            };
            if end <= now {
                return Poll::Ready(outcome);
            }
            self.arm(end);
        }
    }

    /// Notes whether a head is under way: bytes came since the last request, and no request is being served.
    fn note(&mut self, session: &Session) {
        let Some(reads) = self.reads.as_ref().map(|reads| reads.0.load(Relaxed)) else { return };
        if session.is_busy() || session.requests() != self.rest.1 {
            self.rest = (reads, session.requests());
            self.head_since = None;
        } else if reads != self.rest.0 && self.head_since.is_none() {
            let now = Instant::now();
            self.head_since = Some(now);
            self.arm(now + HEAD);
        }
    }

    fn arm(&mut self, end: Instant) {
        self.timer.as_mut().reset(end);
        self.registered = false;
    }
}

/// A stream whose reads are counted.
#[derive(Debug)]
pub(super) struct Watched<S> {
    /// The stream itself.
    pub(super) stream: S,
    reads: Reads,
}

impl<S> Watched<S> {
    /// Watches a stream.
    pub(super) fn new(stream: S) -> Self {
        Self { stream, reads: Reads::default() }
    }

    /// The count, to be looked at while hyper owns the stream.
    pub(super) fn reads(&self) -> Reads {
        self.reads.clone()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, into))?;
        if into.filled().len() > before {
            // One thread alone counts; hyper only wants its streams to be movable.
            this.reads.0.store(this.reads.0.load(Relaxed).wrapping_add(1), Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
