//! HTTP/2 connections to backends, each shared by many requests (*trunks*), and the places on them (*seats*).
//!
//! A request takes a seat on the first trunk with one free; a new trunk is opened when all are full, by one request at a
//! time, while those that come meanwhile wait for it: a burst must not open a connection each. They are let in when the
//! backend has spoken, since its first word says how many it takes at once. A trunk that the backend leaves (GOAWAY),
//! that closed, or on which an answer was late takes nobody new, and ends with its last seat.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http2::SendRequest;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::body::RequestBody;

/// The most requests at a time on one trunk, whatever the backend would take: what else shares a lost packet, and how
/// much a connection's window must hold.
pub(super) const SEATS: usize = 100;
/// The most requests that one trunk carries in its life, far below the number of streams that HTTP/2 can count.
const CARRIES: u32 = 1 << 28;

/// The trunks to one backend.
#[derive(Debug, Default)]
pub(super) struct Trunks {
    open: RefCell<Vec<Rc<Trunk>>>,
    opening: RefCell<Option<Rc<Opening>>>,
}

/// One connection.
pub(super) struct Trunk {
    sender: SendRequest<RequestBody>,
    // How many the backend takes, as it said last.
    takes: Box<dyn Fn() -> usize>,
    // How many we put there at most, lower once it refused some.
    seats: Cell<usize>,
    taken: Cell<usize>,
    carried: Cell<u32>,
    is_left: Cell<bool>,
    quiet_since: Cell<Instant>,
}

/// A place on a trunk, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Seat(Rc<Trunk>);

/// A trunk that is being opened, and why it could not be.
#[derive(Debug, Default)]
struct Opening {
    over: Notify,
    failed: Cell<bool>,
}

/// What a request got that asked for a seat.
pub(super) enum Got {
    /// A seat on a trunk that was there.
    Seat(Seat),
    /// The task to open one.
    Turn(Turn),
    /// Who opened one for it could not, or took too long.
    Nothing,
}

/// The right to open the next trunk: nobody else does while this lives.
#[derive(Debug)]
pub(super) struct Turn {
    trunks: Rc<Trunks>,
    opening: Rc<Opening>,
}

impl Trunks {
    /// Takes a seat, or the task to open a trunk; waits at most until `until` while somebody else opens one.
    pub(super) async fn get(self: &Rc<Self>, until: Instant) -> Got {
        loop {
            if let Some(seat) = self.take() {
                return Got::Seat(seat);
            }
            let Some(opening) = self.opening.borrow().clone() else {
                let opening = Rc::new(Opening::default());
                self.opening.replace(Some(opening.clone()));
                return Got::Turn(Turn { trunks: self.clone(), opening });
            };
            // On one thread: nothing happens between the look above and the wait.
            if timeout_at(until, opening.over.notified()).await.is_err() || opening.failed.get() {
                return Got::Nothing;
            }
        }
    }

    /// A seat on the first trunk that has one: the others become idle and are closed.
    fn take(&self) -> Option<Seat> {
        let mut open = self.open.borrow_mut();
        open.retain(|trunk| !trunk.is_over());
        open.iter().find(|trunk| trunk.has_room()).map(Seat::on)
    }

    /// Closes the trunks that carried nothing for `idle`; whether any is left or asked for.
    pub(super) fn sweep(&self, now: Instant, idle: Duration) -> bool {
        let mut open = self.open.borrow_mut();
        open.retain(|trunk| !trunk.is_over() && (trunk.taken.get() > 0 || now - trunk.quiet_since.get() < idle));
        !open.is_empty() || self.opening.borrow().is_some()
    }
}

impl Turn {
    /// The trunk is open: a seat on it, whatever the backend will say of how many it takes. The turn goes on until it
    /// is dropped, and then those who wait look again.
    pub(super) fn opened(&self, sender: SendRequest<RequestBody>, takes: Box<dyn Fn() -> usize>, now: Instant) -> Seat {
        let trunk = Rc::new(Trunk {
            sender,
            takes,
            seats: Cell::new(SEATS),
            taken: Cell::new(0),
            carried: Cell::new(0),
            is_left: Cell::new(false),
            quiet_since: Cell::new(now),
        });
        self.trunks.open.borrow_mut().push(trunk.clone());
        Seat::on(&trunk)
    }

    /// It could not be opened, and those who wait for it need not try by themselves.
    pub(super) fn fail(self) {
        self.opening.failed.set(true);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.trunks.opening.borrow_mut().take_if(|opening| Rc::ptr_eq(opening, &self.opening));
        self.opening.over.notify_waiters();
    }
}

impl Trunk {
    fn is_over(&self) -> bool {
        self.is_left.get() || self.carried.get() >= CARRIES || self.sender.is_closed()
    }

    fn has_room(&self) -> bool {
        self.taken.get() < self.seats.get().min((self.takes)())
    }
}

impl fmt::Debug for Trunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trunk").field("taken", &self.taken).field("is_left", &self.is_left).finish_non_exhaustive()
    }
}

impl Seat {
    fn on(trunk: &Rc<Trunk>) -> Self {
        trunk.taken.set(trunk.taken.get() + 1);
        trunk.carried.set(trunk.carried.get() + 1);
        Self(trunk.clone())
    }

    /// Sends one request.
    pub(super) fn sender(&self) -> SendRequest<RequestBody> {
        self.0.sender.clone()
    }

    /// Nobody else gets on.
    pub(super) fn leave(&self) {
        self.0.is_left.set(true);
    }

    /// The backend refused a request for now: it gets fewer at a time.
    pub(super) fn crowded(&self) {
        self.0.seats.set(self.0.taken.get().saturating_sub(1).max(1));
    }

    /// The answer ended.
    pub(super) fn give_back(self, now: Instant) {
        self.0.quiet_since.set(now);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.taken.set(self.0.taken.get().saturating_sub(1));
    }
}
