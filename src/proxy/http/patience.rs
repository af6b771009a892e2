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
//! written between two firings, the stream (`watched`) is asked to look by itself.
//!
//! A socket that takes nothing more may still be emptied slowly, for its buffer is large. So it is what the client
//! acknowledged that counts, not what the socket took: [`LEAST`] in each stall time.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

use super::session::Session;
use super::watched::Traffic;
use crate::model::outcome::Outcome;

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
