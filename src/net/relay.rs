//! Both directions of a connection, in one task, until both ended, one broke or nothing moved for too long.
//!
//! Each direction is closed by itself when its source ends (half-close), so a client that has sent all still gets its
//! answer. Counts are told as bytes flow, not at the end, so a stream open for a week is seen.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use super::copy::{Direction, Fault};

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
    /// Bytes of this side waited, and the other took none for the stall time.
    Stalled(Side),
    /// The first side (the client) failed.
    ClientFailed(io::Error),
    /// The second side (the backend) failed.
    BackendFailed(io::Error),
}

/// The idle time is watched in this many steps, so a connection ends between one and 1.25 idle times after its last
/// byte, and no byte costs a look at the clock.
const IDLE_STEPS: u32 = 4;

/// Moves bytes between `client` and `backend`. `moved` is told of payload as it flows.
pub async fn relay<A: Leg, B: Leg>(
    client: &mut A,
    backend: &mut B,
    options: Options,
    mut moved: impl FnMut(Moved),
) -> End {
    let Options { times, from_client, from_backend, mut pace } = options;
    let (mut up, mut down) = (Direction::new(Side::Client, from_client), Direction::new(Side::Backend, from_backend));
    let step = times.idle / IDLE_STEPS;
    let mut quiet = Quiet { steps: 0, timer: pin!(sleep(step)), step };
    poll_fn(|cx| {
        let sent = up.poll(cx, Pin::new(&mut *client), Pin::new(&mut *backend), pace.as_deref_mut());
        let received = down.poll(cx, Pin::new(&mut *backend), Pin::new(&mut *client), pace.as_deref_mut());
        let (from_client, to_client) = (up.take_moved(), down.take_moved());
        if from_client + to_client > 0 {
            moved(Moved { copied_up: from_client, copied_down: to_client, ..Moved::default() });
            quiet.steps = 0;
        }
        match (sent, received) {
            (Poll::Ready(Err(fault)), _) => return Poll::Ready(end(fault, End::ClientFailed, End::BackendFailed)),
            (_, Poll::Ready(Err(fault))) => return Poll::Ready(end(fault, End::BackendFailed, End::ClientFailed)),
            _ if up.is_finished() && down.is_finished() => return Poll::Ready(End::Done),
            _ => {}
        }
        if quiet.is_over(cx) { Poll::Ready(End::Idle) } else { Poll::Pending }
    })
    .await
}

fn end(fault: Fault, source: fn(io::Error) -> End, sink: fn(io::Error) -> End) -> End {
    match fault {
        Fault::Source(error) => source(error),
        Fault::Sink(error) => sink(error),
    }
}

struct Quiet<'t> {
    steps: u32,
    step: Duration,
    timer: Pin<&'t mut Sleep>,
}

impl Quiet<'_> {
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        while self.timer.as_mut().poll(cx).is_ready() {
            self.steps += 1;
            if self.steps > IDLE_STEPS {
                return true;
            }
            self.timer.as_mut().reset(Instant::now() + self.step);
        }
        false
    }
}

#[cfg(test)]
mod tests;
