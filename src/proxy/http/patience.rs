//! How long a client may be silent: while the head of a request is under way, between requests, and while an answer
//! waits to be taken.
//!
//! It also says when a connection of HTTP/1 may rest (`rest`): when nothing is under way, for [`REST`].
//!
//! Theory: requests never touch the timer. It is armed for the earliest moment that could matter, and when it fires,
//! what happened since decides whether that was it or when to look again. Only a head that comes in pieces arms it
//! anew.
//!
//! While an answer is silent hyper reads nothing, and so would never learn that its client has left: when nothing was
//! written between two firings, the stream is asked to look by itself, in the flush that hyper makes in every turn. A
//! client that only closed its sending side gets one more round to take its answer.
//!
//! A socket that takes nothing more may still be emptied slowly, for its buffer is large. So it is what the client
//! acknowledged that counts, not what the socket took: [`LEAST`] in each stall time.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Transport;
use super::raw::RawHeads;
use super::session::Session;
use crate::model::outcome::Outcome;
use crate::net::siphon::{Siphon, before_stand_ins, is_stand_in};
use crate::net::socket::Presence;

/// How long after a request its connection rests. Shorter, and clients that pause within a page would wake it again and
/// again; longer, and what bursts of clients leave behind is held for longer.
const REST: Duration = Duration::from_millis(500);
/// How often a silent answer's client is looked after.
const LOOK: Duration = Duration::from_secs(4);
/// What a client must take of an answer in its time for that, in bytes.
const LEAST: u64 = 1024;

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
    // Writes when the timer fired last; since when the client took too little, and what it had taken then.
    writes: u64,
    stuck: Option<(Instant, u64)>,
    // The timer was armed because the socket takes nothing more.
    alert: bool,
    // The connection was awake when it was looked at last.
    awake: bool,
    // When the timer is due, and whether that is early, to look for a pause.
    due: Instant,
    early: bool,
    // Requests when it was early and a request was under way.
    asked: u64,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Turn {
    /// Its client was silent for too long.
    End(Outcome),
    /// It is between two requests and may rest.
    Rest,
}

/// What moved on a stream. One thread alone writes it; it is shared because hyper wants its streams movable.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    reads: AtomicU64,
    writes: AtomicU64,
    // The socket takes nothing more.
    blocked: AtomicBool,
    // What the client had acknowledged when it was looked after last, in bytes.
    taken: AtomicU64,
    // The stream shall look whether its client is still there.
    look: AtomicBool,
    // A head came that could mean something else to others.
    ambiguous: AtomicBool,
    // The middle of a request came last.
    within: AtomicBool,
    // Something that was written is not with the kernel yet, or the stream is being shut down.
    leaving: AtomicBool,
    // The stream is a socket in the clear.
    bare: bool,
    // Made for the first body that flows by it.
    siphon: OnceLock<Box<Siphon>>,
}

impl Patience {
    /// Begins with a new connection. `heads`: whether bytes between requests begin a head.
    pub(super) fn new(session: &Session, traffic: Arc<Traffic>, heads: bool) -> Self {
        // Who connects to ask does so soon: the timer is then where a pause is looked for anyway.
        let due = session.quiet_since() + if heads { REST.min(session.limits.head) } else { session.limits.head };
        Self {
            timer: Box::pin(sleep_until(due)),
            registered: false,
            traffic,
            heads,
            rest: (0, 0),
            head_since: None,
            writes: 0,
            stuck: None,
            alert: false,
            awake: false,
            due,
            early: heads,
            asked: 0,
        }
    }

    /// Looks after each turn of the connection, which could rest if it is `awake`. Ready when the client was silent for
    /// too long: `SlowHead` in the middle of a head; `Idle` between requests; `Stalled` when it takes nothing of an
    /// answer. Ready, too, when the connection may rest; it is to be polled again after that.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, session: &Session, awake: bool) -> Poll<Turn> {
        if awake && !self.awake && self.due > session.quiet_since() + REST {
            // Armed for the end of a long pause, it would come too late to see the next one.
            self.arm_early(Instant::now() + REST);
        }
        self.awake = awake;
        self.note(session);
        if self.traffic.is_blocked() && !self.alert {
            // What it was armed for may be far away.
            self.alert = true;
            self.arm(Instant::now() + LOOK.min(session.limits.stall));
        }
        loop {
            if !self.registered {
                // Once after each arming; between, a look at a flag tells whether it fired. A task that has moved much
                // has used up its budget, and would be told `Pending` without being registered.
                self.registered = pin!(unconstrained(self.timer.as_mut())).poll(cx).is_pending();
            }
            if self.registered && !self.timer.is_elapsed() {
                return Poll::Pending;
            }
            let now = Instant::now();
            let limits = &session.limits;
            if self.early && session.is_busy() {
                // It came for a pause that is none. Who waits long for one answer is looked after a little later.
                match std::mem::replace(&mut self.asked, session.requests()) == session.requests() {
                    true => self.arm(now + limits.head),
                    false => self.arm_early(now + REST),
                }
                continue;
            }
            let moved = self.note_writes(now);
            self.alert = self.stuck.is_some();
            if self.stuck.is_some() || (!moved && session.is_busy()) {
                self.traffic.look.store(true, Relaxed);
                // hyper has had its turn: one more, to flush.
                cx.waker().wake_by_ref();
            }
            let (end, outcome) = match (self.head_since, self.stuck) {
                (Some(since), _) => (since + limits.head, Outcome::SlowHead),
                (None, Some((since, _))) => (since + limits.stall, Outcome::Stalled),
                // Looked at often enough to see when writes began to be stuck.
                (None, None) if session.is_busy() => (now + LOOK, Outcome::Idle),
                (None, None) if session.requests() == 0 => (session.quiet_since() + limits.head, Outcome::Idle),
                (None, None) => (session.quiet_since() + limits.keep_alive, Outcome::Idle),
            };
            if end <= now {
                return Poll::Ready(Turn::End(outcome));
            }
            let pause = session.quiet_since() + REST;
            if self.stuck.is_some() {
                self.arm(end.min(now + LOOK));
            } else if !self.may_rest(session) {
                self.arm(end);
            } else if pause > now {
                self.arm_early(end.min(pause));
            } else {
                self.arm(end);
                self.awake = false;
                return Poll::Ready(Turn::Rest);
            }
        }
    }

    /// Whether the connection is awake and between two requests: nothing is under way in either direction.
    fn may_rest(&self, session: &Session) -> bool {
        self.awake
            && self.head_since.is_none()
            && !session.is_busy()
            && !session.is_uploading()
            && !self.traffic.within.load(Relaxed)
            && !self.traffic.leaving.load(Relaxed)
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
            self.arm(now + session.limits.head);
        }
    }

    /// Notes whether the client takes too little although something waits to be written. True when the socket took
    /// something since the last time.
    fn note_writes(&mut self, now: Instant) -> bool {
        let writes = self.traffic.writes.load(Relaxed);
        let moved = writes != self.writes;
        self.writes = writes;
        let taken = self.traffic.taken.load(Relaxed);
        self.stuck = match self.stuck {
            _ if !self.traffic.is_blocked() => None,
            Some((since, mark)) if !moved && taken < mark.saturating_add(LEAST) => Some((since, mark)),
            _ => Some((now, taken)),
        };
        moved
    }

    fn arm_early(&mut self, end: Instant) {
        self.arm(end);
        self.early = true;
    }

    fn arm(&mut self, end: Instant) {
        self.timer.as_mut().reset(end);
        self.registered = false;
        self.due = end;
        self.early = false;
    }
}

/// A stream whose traffic is noted.
#[derive(Debug)]
pub(super) struct Watched<S> {
    /// The stream itself.
    pub(super) stream: S,
    traffic: Arc<Traffic>,
    half_closed: bool,
    // Bytes that came, and that the socket took, in all.
    read: u64,
    written: u64,
    // The kernel was told to let only so much wait.
    bounded: bool,
    // Where HTTP/1 is spoken.
    heads: Option<RawHeads>,
}

impl<S: Transport> Watched<S> {
    /// Watches a stream.
    pub(super) fn new(stream: S) -> Self {
        let traffic = Traffic { bare: stream.bare().is_some(), ..Traffic::default() };
        Self {
            stream,
            traffic: Arc::new(traffic),
            half_closed: false,
            read: 0,
            written: 0,
            bounded: false,
            heads: None,
        }
    }

    /// Watches a stream of HTTP/1 and looks at the heads that come on it.
    pub(super) fn following_heads(stream: S) -> Self {
        Self { heads: Some(RawHeads::default()), ..Self::new(stream) }
    }

    /// Bytes that came on it so far.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// What moved, to be looked at while hyper owns the stream.
    pub(super) fn traffic(&self) -> Arc<Traffic> {
        self.traffic.clone()
    }
}

impl Traffic {
    /// Whether the socket takes nothing more.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Relaxed)
    }

    /// Whether it is a socket in the clear.
    pub(super) fn is_bare(&self) -> bool {
        self.bare
    }

    /// What bodies flow through that are not seen on the stream.
    pub(super) fn siphon(&self) -> &Siphon {
        self.siphon.get_or_init(Box::default)
    }

    /// Whether a head came that could mean something else to others.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.ambiguous.load(Relaxed)
    }
}

fn bump(count: &AtomicU64) {
    count.store(count.load(Relaxed).wrapping_add(1), Relaxed);
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = into.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, into))?;
        let new = into.filled().get(before..).unwrap_or_default();
        if !new.is_empty() {
            this.read += new.len() as u64;
            bump(&this.traffic.reads);
            if let Some(heads) = &mut this.heads {
                let in_body = heads.is_in_body();
                if !heads.follow(new) {
                    this.traffic.ambiguous.store(true, Relaxed);
                    // Its head was taken, so all that is left to refuse is its end.
                    if in_body {
                        return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                    }
                }
                this.traffic.within.store(!heads.are_whole(), Relaxed);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Transport> Watched<S> {
    fn wrote(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Pending => {
                self.traffic.blocked.store(true, Relaxed);
                if !std::mem::replace(&mut self.bounded, true) {
                    self.stream.bound_unsent();
                }
                self.look()?;
            }
            Poll::Ready(Ok(bytes)) => {
                self.written += *bytes as u64;
                self.traffic.blocked.store(false, Relaxed);
                bump(&self.traffic.writes);
            }
            Poll::Ready(Err(_)) => {}
        }
        written
    }

    /// Writes the bytes that these slices begin with stand-ins for.
    fn pour(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        // Nobody may see a stand-in.
        let Some(socket) = self.stream.bare() else { return Poll::Ready(Err(io::ErrorKind::InvalidData.into())) };
        let poured = self.traffic.siphon().poll_pour(cx, slices, socket);
        self.wrote(poured)
    }

    /// Looks whether the client is still there and what it took, if it was told to.
    fn look(&mut self) -> io::Result<()> {
        if !self.traffic.look.load(Relaxed) {
            return Ok(());
        }
        self.traffic.look.store(false, Relaxed);
        if let Some(held) = self.stream.unacknowledged() {
            self.traffic.taken.store(self.written.saturating_sub(held as u64), Relaxed);
        }
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
        if is_stand_in(bytes) {
            return self.pour(cx, &[IoSlice::new(bytes)]);
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let slices = match before_stand_ins(slices) {
            0 if !slices.is_empty() => return self.pour(cx, slices),
            count => slices.get(..count).unwrap_or_default(),
        };
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.look()?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.traffic.leaving.store(flushed.is_pending(), Relaxed);
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.traffic.leaving.store(true, Relaxed);
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
