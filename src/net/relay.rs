//! Both directions of a connection, in one task, until both ended, one broke or nothing moved for too long.
//!
//! Each direction is closed by itself when its source ends (half-close), so a client that has sent all still gets its
//! answer. Counts are told as bytes flow, not at the end, so a stream open for a week is seen.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use self::direction::Direction;
use self::quiet::{Over, Quiet};
use super::copy::Fault;
use super::socket;

mod direction;
mod quiet;

/// One side of a relay.
pub trait Leg: AsyncRead + AsyncWrite + Unpin {
    /// The socket, where what is on the wire is the payload itself and nothing waits in user space: such bytes may stay
    /// in the kernel. `None` for TLS and for whatever else changes or buffers bytes.
    fn bare(&self) -> Option<&TcpStream> {
        None
    }
}

impl Leg for TcpStream {
    fn bare(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

/// The side of a relay that bytes come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The first.
    Client,
    /// The second.
    Backend,
}

/// How long a relay may be silent. A relay ends between one and 1.25 times the time after its last byte.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Without a byte in either direction, while both sides are open.
    pub idle: Duration,
    /// The same once one side has ended.
    pub half_closed: Duration,
    /// While bytes wait for a side that takes none.
    pub stall: Duration,
}

/// Says how fast a relay may go.
pub trait Pace: fmt::Debug {
    /// How many bytes may be read from this side now, at least one. Pending: none; the task is woken when some may.
    fn allowance(&mut self, from: Side, cx: &mut Context<'_>) -> Poll<usize>;
    /// So many were read from this side: never more than the last allowance said.
    fn spent(&mut self, from: Side, bytes: usize);
}

/// What a relay is told beside its two sides.
#[derive(Debug)]
pub struct Options {
    /// How long it may be silent.
    pub times: Times,
    /// Bytes of the client that were read already; they go to the backend first.
    pub from_client: Vec<u8>,
    /// Bytes of the backend that were read already; they go to the client first.
    pub from_backend: Vec<u8>,
    /// How fast it may go; `None`: as fast as it can.
    pub pace: Option<Box<dyn Pace>>,
}

impl Options {
    /// Nothing read ahead, no limit of speed.
    pub fn new(times: Times) -> Self {
        Self { times, from_client: Vec::new(), from_backend: Vec::new(), pace: None }
    }
}

/// Payload that one turn of a relay moved, in bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Moved {
    /// From the client to the backend, through user space.
    pub copied_up: u64,
    /// From the backend to the client, through user space.
    pub copied_down: u64,
    /// From the client to the backend, inside the kernel.
    pub spliced_up: u64,
    /// From the backend to the client, inside the kernel.
    pub spliced_down: u64,
}

impl Moved {
    /// All that came from the client.
    pub fn up(&self) -> u64 {
        self.copied_up + self.spliced_up
    }

    /// All that went to the client.
    pub fn down(&self) -> u64 {
        self.copied_down + self.spliced_down
    }
}

/// How a relay ended.
#[derive(Debug)]
pub enum End {
    /// Both sides ended in order.
    Done,
    /// No byte moved for the idle time.
    Idle,
    /// One side had ended, and no byte of the other came for the half-closed time.
    HalfClosed,
    /// Bytes of this side waited, and the other took none for the stall time, or for a shorter one that was over before.
    Stalled(Side),
    /// The first side (the client) failed.
    ClientFailed(io::Error),
    /// The second side (the backend) failed.
    BackendFailed(io::Error),
}

/// Both directions of a connection, under way. A future of its own making, since what waits in it is what an idle
/// connection costs.
#[derive(Debug)]
#[must_use = "nothing moves until it is awaited"]
pub struct Relay<'legs, A, B, M> {
    client: &'legs mut A,
    backend: &'legs mut B,
    up: Direction,
    down: Direction,
    pace: Option<Box<dyn Pace>>,
    quiet: Quiet,
    heard: bool,
    moved: M,
}

/// Moves bytes between `client` and `backend`, within the kernel where both are bare sockets and a direction streams.
/// `moved` is told of payload as it flows. Where bytes were lost, the coming close of both sides is made a reset: a
/// clean end would hide the loss.
///
/// # Panics
/// Outside of a tokio `LocalSet`, where the task lives that watches the times.
pub fn relay<'legs, A: Leg, B: Leg, M: FnMut(Moved)>(
    client: &'legs mut A,
    backend: &'legs mut B,
    options: Options,
    moved: M,
) -> Relay<'legs, A, B, M> {
    let Options { times, from_client, from_backend, pace } = options;
    let (up, down) = (Direction::new(Side::Client, from_client), Direction::new(Side::Backend, from_backend));
    Relay { client, backend, up, down, pace, quiet: Quiet::new(times), heard: false, moved }
}

impl<A: Leg, B: Leg, M: FnMut(Moved) + Unpin> Future for Relay<'_, A, B, M> {
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let this = self.get_mut();
        let end = ready!(this.poll_both(cx));
        if matches!(end, End::Stalled(_) | End::ClientFailed(_) | End::BackendFailed(_)) {
            [this.client.bare(), this.backend.bare()].into_iter().flatten().for_each(socket::abort_on_close);
        }
        Poll::Ready(end)
    }
}

impl<A, B, M> Relay<'_, A, B, M> {
    /// Whether the backend has sent a byte.
    pub fn has_heard_backend(&self) -> bool {
        self.heard
    }
}

impl<A: Leg, B: Leg, M: FnMut(Moved)> Relay<'_, A, B, M> {
    fn poll_both(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let Self { client, backend, up, down, pace, quiet, heard, moved } = self;
        let was_open = !up.has_ended() && !down.has_ended();
        let sent = up.poll(cx, *client, *backend, pace.as_deref_mut(), down.is_finished());
        let received = down.poll(cx, *backend, *client, pace.as_deref_mut(), up.is_finished());
        let ((copied_up, spliced_up), (copied_down, spliced_down)) = (up.take_moved(), down.take_moved());
        let now = Moved { copied_up, copied_down, spliced_up, spliced_down };
        if now != Moved::default() {
            *heard |= now.down() > 0;
            moved(now);
        }
        match (sent, received) {
            (Poll::Ready(Err(fault)), _) => return Poll::Ready(end(fault, End::ClientFailed, End::BackendFailed)),
            (_, Poll::Ready(Err(fault))) => return Poll::Ready(end(fault, End::BackendFailed, End::ClientFailed)),
            _ if up.is_finished() && down.is_finished() => return Poll::Ready(End::Done),
            _ => {}
        }
        quiet.mark(Side::Client, now.up() > 0, up.waits(), up.is_paced());
        quiet.mark(Side::Backend, now.down() > 0, down.waits(), down.is_paced());
        if was_open && (up.has_ended() || down.has_ended()) {
            quiet.half_closed();
        }
        if quiet.has_aged()
            && let Some(backend) = backend.bare()
        {
            socket::keep_alive(backend);
        }
        match quiet.is_over(cx) {
            None => Poll::Pending,
            // With bytes that wait it is no end in order, whichever time is over first.
            Some(Over::Idle | Over::HalfClosed) if up.waits() => Poll::Ready(End::Stalled(Side::Client)),
            Some(Over::Idle | Over::HalfClosed) if down.waits() => Poll::Ready(End::Stalled(Side::Backend)),
            Some(Over::Idle) => Poll::Ready(End::Idle),
            Some(Over::HalfClosed) => Poll::Ready(End::HalfClosed),
            Some(Over::Stalled(from)) => Poll::Ready(End::Stalled(from)),
        }
    }
}

fn end(fault: Fault, source: fn(io::Error) -> End, sink: fn(io::Error) -> End) -> End {
    match fault {
        Fault::Source(error) => source(error),
        Fault::Sink(error) => sink(error),
    }
}

#[cfg(test)]
mod tests;
