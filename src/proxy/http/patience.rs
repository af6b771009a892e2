//! How long a client may be silent: while the head of a request is under way, between requests, and while an answer
//! waits to be taken.
//!
//! Theory: requests never touch the timer. It is armed for the earliest moment that could matter, and when it fires,
//! what happened since decides whether that was it or when to look again. Only a head that comes in pieces arms it
//! anew.
//!
//! While an answer is silent hyper reads nothing, and so would never learn that its client has left: when nothing was
//! written between two firings, the stream is asked to look by itself, in the flush that hyper makes in every turn. A
//! client that only closed its sending side gets one more round to take its answer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::Transport;
use super::session::Session;
use crate::model::outcome::Outcome;
use crate::net::socket::Presence;

/// How long the head of a request may take from its first byte, and how long a new connection may stay silent.
const HEAD: Duration = Duration::from_secs(10);
/// How often a silent answer's client is looked after.
const LOOK: Duration = Duration::from_secs(4);
/// How long a connection may wait for its next request.
const IDLE: Duration = Duration::from_secs(60);

/// Watches one client connection.
pub(super) struct Patience {
    timer: Pin<Box<Sleep>>,
    registered: bool,
    traffic: Arc<Traffic>,
    // False where bytes are no sign of a head, as in HTTP/2 with its pings.
    heads: bool,
    // Reads and requests when nothing was under way last.
    rest: (u64, u64),
    head_since: Option<Instant>,
    // Writes when the timer fired last, and since when none got through.
    writes: u64,
    stuck_since: Option<Instant>,
}

/// What moved on a stream. One thread alone writes it; it is shared because hyper wants its streams movable.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    reads: AtomicU64,
    writes: AtomicU64,
    blocked: AtomicBool,
    // The stream shall look whether its client is still there.
    look: AtomicBool,
}

impl Patience {
    /// Begins with a new connection. `heads`: whether bytes between requests begin a head.
    pub(super) fn new(session: &Session, traffic: Arc<Traffic>, heads: bool) -> Self {
        Self {
            timer: Box::pin(sleep_until(session.quiet_since() + HEAD)),
            registered: false,
            traffic,
            heads,
            rest: (0, 0),
            head_since: None,
            writes: 0,
            stuck_since: None,
        }
    }

    /// Looks after each turn of the connection. Ready when the client was silent for too long: `SlowHead` in the middle
    /// of a head; `Idle` between requests, and when it takes nothing of an answer.
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
            if !self.note_writes(now) && session.is_busy() {
                self.traffic.look.store(true, Relaxed);
                // hyper has had its turn: one more, to flush.
                cx.waker().wake_by_ref();
            }
            let (end, outcome) = match (self.head_since, self.stuck_since) {
                (Some(since), _) => (since + HEAD, Outcome::SlowHead),
                (None, Some(since)) => (since + IDLE, Outcome::Idle),
                // Looked at often enough to see when writes began to be stuck.
                (None, None) if session.is_busy() => (now + LOOK, Outcome::Idle),
                (None, None) if session.requests() == 0 => (session.quiet_since() + HEAD, Outcome::Idle),
                (None, None) => (session.quiet_since() + IDLE, Outcome::Idle),
            };
            if end <= now {
                return Poll::Ready(outcome);
            }
            self.arm(end);
        }
    }

    /// Notes whether a head is under way: bytes came since the last request, and no request is being served.
    fn note(&mut self, session: &Session) {
        if !self.heads {
            return;
        }
        let reads = self.traffic.reads.load(Relaxed);
        // What still comes of a body whose answer has ended is no head.
        if session.is_busy() || session.is_uploading() || session.requests() != self.rest.1 {
            self.rest = (reads, session.requests());
            self.head_since = None;
        } else if reads != self.rest.0 && self.head_since.is_none() {
            let now = Instant::now();
            self.head_since = Some(now);
            self.arm(now + HEAD);
        }
    }

    /// Notes whether the client takes nothing although something waits to be written. True when something got through.
    fn note_writes(&mut self, now: Instant) -> bool {
        let writes = self.traffic.writes.load(Relaxed);
        if self.traffic.blocked.load(Relaxed) && writes == self.writes {
            self.stuck_since.get_or_insert(now);
        } else {
            self.stuck_since = self.traffic.blocked.load(Relaxed).then_some(now);
        }
        let moved = writes != self.writes;
        self.writes = writes;
        moved
    }

    fn arm(&mut self, end: Instant) {
        self.timer.as_mut().reset(end);
        self.registered = false;
    }
}

/// A stream whose traffic is noted.
#[derive(Debug)]
pub(super) struct Watched<S> {
    /// The stream itself.
    pub(super) stream: S,
    traffic: Arc<Traffic>,
    half_closed: bool,
}

impl<S> Watched<S> {
    /// Watches a stream.
    pub(super) fn new(stream: S) -> Self {
        Self { stream, traffic: Arc::default(), half_closed: false }
    }

    /// What moved, to be looked at while hyper owns the stream.
    pub(super) fn traffic(&self) -> Arc<Traffic> {
        self.traffic.clone()
    }
}

impl Traffic {
    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Pending => self.blocked.store(true, Relaxed),
            Poll::Ready(_) => {
                self.blocked.store(false, Relaxed);
                bump(&self.writes);
            }
        }
        written
    }
}

fn bump(count: &AtomicU64) {
    count.store(count.load(Relaxed).wrapping_add(1), Relaxed);
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
        if into.filled().len() > before {
            bump(&self.traffic.reads);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Transport> Watched<S> {
    /// Looks whether the client is still there, if it was told to.
    fn look(&mut self) -> io::Result<()> {
        if !self.traffic.look.load(Relaxed) {
            return Ok(());
        }
        self.traffic.look.store(false, Relaxed);
        let presence = self.stream.presence();
        let waited = std::mem::replace(&mut self.half_closed, presence == Presence::HalfClosed);
        match presence {
            Presence::Gone => Err(io::ErrorKind::ConnectionReset.into()),
            Presence::HalfClosed if waited => Err(io::ErrorKind::ConnectionReset.into()),
            Presence::HalfClosed | Presence::There => Ok(()),
        }
    }
}

impl<S: Transport> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.traffic.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.traffic.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.look()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
