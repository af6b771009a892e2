//! Both directions of a connection, in one task, until both ended, one broke or nothing moved for too long.
//!
//! Each direction is closed by itself when its source ends (half-close), so a client that has sent all still gets its
//! answer. Counts are told as bytes flow, not at the end, so a stream open for a week is seen.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep};

use super::copy::{Direction, Fault};

/// How a relay ended.
#[derive(Debug)]
pub enum End {
    /// Both sides ended in order.
    Done,
    /// No byte moved for the idle time.
    Idle,
    /// The first side (the client) failed.
    ClientFailed(io::Error),
    /// The second side (the backend) failed.
    BackendFailed(io::Error),
}

/// The idle time is watched in this many steps, so a connection ends between one and 1.25 idle times after its last
/// byte, and no byte costs a look at the clock.
const IDLE_STEPS: u32 = 4;

/// Moves bytes between `client` and `backend`. `moved(from_client, to_client)` is told of payload as it flows.
pub async fn relay<A, B>(client: &mut A, backend: &mut B, idle: Duration, mut moved: impl FnMut(u64, u64)) -> End
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut up, mut down) = (Direction::default(), Direction::default());
    let step = idle / IDLE_STEPS;
    let mut quiet = Quiet { steps: 0, timer: pin!(sleep(step)), step };
    poll_fn(|cx| {
        let sent = up.poll(cx, Pin::new(&mut *client), Pin::new(&mut *backend));
        let received = down.poll(cx, Pin::new(&mut *backend), Pin::new(&mut *client));
        let (from_client, to_client) = (up.take_moved(), down.take_moved());
        if from_client + to_client > 0 {
            moved(from_client, to_client);
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
