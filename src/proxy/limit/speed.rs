//! Bandwidth of one connection and of a listener: what is over it waits.
//!
//! Theory: a relay asks for an allowance before it reads and is given a *grant*: a packet at first, then [`GROWTH`]
//! times the last one, up to a *quantum*, some milliseconds' worth. It is paid for when it is given, at the connection's
//! own rate and at the listener's (`model::live::quota`), and whoever pays in the future waits until that has come.
//! Because the first is so small, those who connect and send nothing take next to nothing from those who do. So each of
//! many that share a rate has its turn in the order it asked, is woken once a turn, and together they get what the rate
//! says, whatever their number. What was not used of a grant stays with the connection, and is given back at its end.

use std::fmt;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use crate::model::intent::Limits;
use crate::model::live::ListenerState;
use crate::model::live::quota::{Bandwidth, Flow};
use crate::net::relay::{Pace, Side};
use crate::proxy::Worker;

/// What a quantum is worth at its rate.
const TURN: Duration = Duration::from_millis(20);
/// The least quantum: a packet, since a slow rate in fewer bytes would wake for each of them.
const LEAST: u64 = 1460;
/// A grant that was used up is followed by one so many times as large. So a newcomer has its full share after two or
/// three turns; doubled, it lags behind those who stream by six of theirs.
const GROWTH: u64 = 8;
/// The largest quantum.
const MOST: u64 = 256 * 1024;
/// What was not used in this time is made up for: a timer that was late costs no bandwidth, a quiet hour gives none.
const SLACK: Duration = Duration::from_millis(100);

/// The bandwidth of one connection, for all that it relays at a time.
#[derive(Debug)]
pub(in crate::proxy) struct Speed {
    own: Option<(NonZeroU64, Bandwidth)>,
    all: Option<(NonZeroU64, Arc<ListenerState>)>,
    epoch: Instant,
    quantum: u64,
}

impl Speed {
    /// What a listener asks of each connection. `None`: it may go as fast as it can.
    pub(in crate::proxy) fn of(worker: &Worker, limits: &Limits, state: &Arc<ListenerState>) -> Option<Rc<Self>> {
        Self::at(worker.epoch, limits, state)
    }

    fn at(epoch: Instant, limits: &Limits, state: &Arc<ListenerState>) -> Option<Rc<Self>> {
        let slower = limits.connection_bandwidth.into_iter().chain(limits.bandwidth).min()?;
        let own = limits.connection_bandwidth.map(|rate| (rate, Bandwidth::default()));
        let all = limits.bandwidth.map(|rate| (rate, state.clone()));
        let worth = u128::from(slower.get()) * TURN.as_millis() / 1000;
        let quantum = u64::try_from(worth).unwrap_or(MOST).clamp(LEAST, MOST);
        Some(Rc::new(Self { own, all, epoch, quantum }))
    }

    /// A pace for one relay, or one body.
    pub(in crate::proxy) fn pace(self: &Rc<Self>) -> Box<dyn Pace> {
        Box::new(Paced { speed: self.clone(), up: Lane::default(), down: Lane::default() })
    }

    /// Pays for so many bytes; how long to wait before they may go.
    fn pay(&self, from: Side, bytes: u64) -> Duration {
        let now = self.epoch.elapsed();
        self.flows(from).map(|(rate, flow)| flow.pay(rate, bytes, SLACK, now)).max().unwrap_or_default()
    }

    fn give_back(&self, from: Side, bytes: u64) {
        self.flows(from).for_each(|(rate, flow)| flow.give_back(rate, bytes));
    }

    fn flows(&self, from: Side) -> impl Iterator<Item = (NonZeroU64, &Flow)> {
        let own = self.own.as_ref().map(|(rate, used)| (*rate, used));
        let all = self.all.as_ref().map(|(rate, state)| (*rate, state.bandwidth()));
        own.into_iter().chain(all).map(move |(rate, used)| match from {
            Side::Client => (rate, &used.inward),
            Side::Backend => (rate, &used.outward),
        })
    }
}

/// One relay's pace.
#[derive(Debug)]
struct Paced {
    speed: Rc<Speed>,
    up: Lane,
    down: Lane,
}

/// One direction: what it may still send, as soon as its time has come.
#[derive(Default)]
struct Lane {
    /// The last grant, and what is left of it.
    grant: u64,
    left: u64,
    waits: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Lane {
    fn wait(&mut self, time: Duration) {
        if time.is_zero() {
            return;
        }
        self.waits = true;
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(Instant::now() + time),
            None => self.timer = Some(Box::pin(sleep(time))),
        }
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("left", &self.left).field("waits", &self.waits).finish()
    }
}

impl Paced {
    fn lane(&mut self, from: Side) -> &mut Lane {
        match from {
            Side::Client => &mut self.up,
            Side::Backend => &mut self.down,
        }
    }
}

impl Pace for Paced {
    fn allowance(&mut self, from: Side, cx: &mut Context<'_>) -> Poll<usize> {
        let speed = self.speed.clone();
        let lane = self.lane(from);
        loop {
            if lane.waits
                && let Some(timer) = &mut lane.timer
            {
                ready!(timer.as_mut().poll(cx));
                lane.waits = false;
            }
            if lane.left > 0 {
                return Poll::Ready(usize::try_from(lane.left).unwrap_or(usize::MAX));
            }
            lane.grant = (GROWTH * lane.grant).clamp(LEAST, speed.quantum);
            lane.left = lane.grant;
            lane.wait(speed.pay(from, lane.grant));
        }
    }

    fn spent(&mut self, from: Side, bytes: usize) {
        let speed = self.speed.clone();
        let (lane, bytes) = (self.lane(from), bytes as u64);
        match lane.left.checked_sub(bytes) {
            Some(left) => lane.left = left,
            // Bodies come in the sizes they come in: what is over is paid for too, and waited for before the next.
            None => {
                let more = bytes - lane.left;
                lane.left = 0;
                lane.wait(speed.pay(from, more));
            }
        }
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        self.speed.give_back(Side::Client, self.up.left);
        self.speed.give_back(Side::Backend, self.down.left);
    }
}

#[cfg(test)]
mod tests;
