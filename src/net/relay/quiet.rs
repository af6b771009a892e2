//! When a relay was silent for too long.
//!
//! Theory: the relay marks what it did with flags; no clock is read. The wheel looks at them a few times within the
//! shortest of the relay's times, so a mark stands for some moment since the last look, and counts from this one: a
//! relay ends late by up to the time between two looks, never early.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use super::{Side, Times};
use crate::net::wheel::{self, Watch, Watched};

/// So many looks in the shortest time. With the wheel's own coarseness a relay ends within 1.25 of its time.
const LOOKS: u32 = 6;

/// Why a relay must end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Over {
    /// Both sides were silent.
    Idle,
    /// The side that is still open was.
    HalfClosed,
    /// Bytes of this side waited.
    Stalled(Side),
}

/// The relay's end of the watch. Nothing is watched any more when it is dropped.
#[derive(Debug)]
pub(super) struct Quiet {
    marks: Rc<Marks>,
    _watch: Watch,
}

/// What a relay did since the last look, and what looks made of it.
#[derive(Debug)]
struct Marks {
    times: Times,
    // Since the last look, of each side's bytes: some were moved.
    moved: [Cell<bool>; 2],
    // Now: some of this side wait for the other to take them.
    wait: [Cell<bool>; 2],
    // Now: the pace lets none of this side be read.
    paced: [Cell<bool>; 2],
    ended: Cell<bool>,
    silent_since: Cell<Duration>,
    stuck_since: [Cell<Option<Duration>>; 2],
    over: Cell<Option<Over>>,
    // Whether the first look was, and whether that was told.
    age: Cell<Age>,
    task: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Age {
    Young,
    Aged,
    Told,
}

impl Quiet {
    /// Begins to watch. Reads the clock, once.
    pub(super) fn new(times: Times) -> Self {
        let now = wheel::now();
        let marks = Rc::new(Marks::new(times, now));
        let watch = wheel::watch(marks.clone(), now, now + marks.pause());
        Self { marks, _watch: watch }
    }

    /// Whether bytes of this side were moved, whether more of them wait for the other to take them, and whether it is
    /// the pace that lets none be read: then the silence is ours.
    pub(super) fn mark(&self, from: Side, moved: bool, wait: bool, paced: bool) {
        if moved {
            self.marks.moved[from as usize].set(true);
        }
        self.marks.wait[from as usize].set(wait);
        self.marks.paced[from as usize].set(paced);
    }

    /// One side has ended. The time of the other counts from now.
    pub(super) fn half_closed(&self) {
        self.marks.ended.set(true);
        self.marks.moved[Side::Client as usize].set(true);
    }

    /// Whether the relay has lived until the first look: true once. Its task is woken then.
    pub(super) fn has_aged(&self) -> bool {
        let aged = self.marks.age.get() == Age::Aged;
        if aged {
            self.marks.age.set(Age::Told);
        }
        aged
    }

    /// Why the relay must end, if it must; if not, its task is woken as soon as it must.
    pub(super) fn is_over(&self, cx: &Context<'_>) -> Option<Over> {
        let over = self.marks.over.get();
        if over.is_none() {
            let mut task = self.marks.task.borrow_mut();
            if !task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
                *task = Some(cx.waker().clone());
            }
        }
        over
    }
}

impl Marks {
    fn new(times: Times, now: Duration) -> Self {
        Self {
            times,
            moved: Default::default(),
            wait: Default::default(),
            paced: Default::default(),
            ended: Cell::new(false),
            silent_since: Cell::new(now),
            stuck_since: Default::default(),
            over: Cell::new(None),
            age: Cell::new(Age::Young),
            task: RefCell::default(),
        }
    }

    /// From one look to the next.
    fn pause(&self) -> Duration {
        let Times { idle, half_closed, stall } = self.times;
        idle.min(half_closed).min(stall) / LOOKS
    }

    /// The first reason to end that has come by `now`, or when to look again.
    fn judge(&self, now: Duration) -> Result<Duration, Over> {
        let mut next = now + self.pause();
        let mut wait = |since: Duration, time: Duration, over: Over| {
            let end = since.saturating_add(time);
            next = next.min(end);
            if end <= now { Err(over) } else { Ok(()) }
        };
        for from in [Side::Client, Side::Backend] {
            let (moved, stuck) = (self.moved[from as usize].take(), &self.stuck_since[from as usize]);
            if moved || self.paced[from as usize].get() {
                self.silent_since.set(now);
            }
            let since = stuck.get().filter(|_| !moved).unwrap_or(now);
            stuck.set(self.wait[from as usize].get().then_some(since));
            if stuck.get().is_some() {
                wait(since, self.times.stall, Over::Stalled(from))?;
            }
        }
        let since = self.silent_since.get();
        match self.ended.get() {
            true => wait(since, self.times.half_closed, Over::HalfClosed)?,
            false => wait(since, self.times.idle, Over::Idle)?,
        }
        Ok(next)
    }
}

impl Watched for Marks {
    fn look(&self, now: Duration) -> Option<Duration> {
        let judged = self.judge(now);
        let is_first = self.age.get() == Age::Young;
        if is_first {
            self.age.set(Age::Aged);
        }
        self.over.set(judged.err());
        if is_first || judged.is_err() {
            let task = self.task.take();
            task.into_iter().for_each(Waker::wake);
        }
        judged.ok()
    }
}

#[cfg(test)]
mod tests;
