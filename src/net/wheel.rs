//! Coarse timers of one thread: looks after things that are rarely late, such as silent connections.
//!
//! Theory: whoever is watched marks its activity with a flag, which costs no clock and no timer; the wheel looks at it
//! now and then, and is told when to look again. One sleeping task serves all of a thread, and only while something is
//! watched. A look is late by at most an eighth of what it was asked for, so thousands of connections share few wakes.
//! The order of buckets is the pure core `core`; this is the task and the clock around it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker, ready};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use self::core::{Key, Wheel};

mod core;

/// Something that is looked after.
pub trait Watched: fmt::Debug {
    /// Looks. `now` counts from the thread's first watch. The time of the next look, or none.
    fn look(&self, now: Duration) -> Option<Duration>;
}

thread_local! {
    static SHELL: Shell = Shell::default();
}

#[derive(Default)]
struct Shell {
    wheel: RefCell<Wheel<Rc<dyn Watched>>>,
    epoch: Cell<Option<Instant>>,
    // The task, while it waits, and what it waits for.
    task: Cell<Option<Waker>>,
    due: Cell<Option<u64>>,
    running: Cell<bool>,
}

/// Something is watched while this lives.
#[derive(Debug)]
pub struct Watch(Key);

/// The time as looks are told it. Reads the clock.
pub fn now() -> Duration {
    SHELL.with(Shell::now)
}

/// Looks after `watched` from `now` on, first at `first` or a little later.
///
/// # Panics
/// Outside of a tokio `LocalSet`, whose tasks all of a data thread are.
pub fn watch(watched: Rc<dyn Watched>, now: Duration, first: Duration) -> Watch {
    SHELL.with(|shell| {
        let key = shell.wheel.borrow_mut().insert(watched, millis(now), millis_up(first));
        if !shell.running.replace(true) {
            tokio::task::spawn_local(turn(Running));
        } else if shell.wheel.borrow().first() < shell.due.get()
            && let Some(task) = shell.task.take()
        {
            task.wake();
        }
        Watch(key)
    })
}

impl Drop for Watch {
    fn drop(&mut self) {
        // A thread that ends has no wheel any more.
        let removed = SHELL.try_with(|shell| shell.wheel.borrow_mut().remove(self.0));
        drop(removed);
    }
}

impl Shell {
    fn now(&self) -> Duration {
        let now = Instant::now();
        let epoch = self.epoch.get().unwrap_or_else(|| {
            self.epoch.set(Some(now));
            now
        });
        now.saturating_duration_since(epoch)
    }

    /// Looks at all that is due.
    fn look(&self) {
        let now = self.now();
        loop {
            let Some((key, watched)) = self.wheel.borrow_mut().pop(millis(now)) else { return };
            if let Some(next) = watched.look(now) {
                self.wheel.borrow_mut().again(key, millis(now), millis_up(next));
            }
        }
    }
}

/// The task runs while this lives. With a runtime that ends goes its task; the thread's next runtime starts anew.
struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        let _ = SHELL.try_with(|shell| {
            shell.running.set(false);
            shell.task.set(None);
            shell.due.set(None);
        });
    }
}

/// Looks until nothing is watched any more.
async fn turn(running: Running) {
    let mut timer = pin!(sleep_until(Instant::now()));
    poll_fn(|cx| {
        SHELL.with(|shell| {
            loop {
                let due = shell.wheel.borrow().first();
                let (Some(at), Some(epoch)) = (due, shell.epoch.get()) else { return Poll::Ready(()) };
                if shell.due.replace(due) != due {
                    timer.as_mut().reset(epoch + Duration::from_millis(at));
                }
                shell.task.set(Some(cx.waker().clone()));
                ready!(timer.as_mut().poll(cx));
                shell.look();
                // The next may be of the same time.
                shell.due.set(None);
            }
        })
    })
    .await;
    drop(running);
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Rounded up, so that nothing is looked at too early.
fn millis_up(time: Duration) -> u64 {
    millis(time.saturating_add(Duration::from_nanos(999_999)))
}

#[cfg(test)]
mod tests;
