//! How the body of a request comes: whether its client keeps its backend waiting.
//!
//! Theory: bytes are counted as they pass. When the backend waits for more and there is none, the wheel looks now and
//! then how much came: less than [`LEAST`] in the time a client has for it, and the upload is given up. What the backend
//! or a limit of bandwidth holds up is not the client's fault and not counted. When the backend answers it has what it
//! wants, and from then on nobody is hurried; nor is gRPC, where both sides speak when they have something to say.

use std::cell::{Cell, RefCell};
use std::task::{Context, Waker};
use std::time::Duration;

use crate::net::wheel::Watched;

/// What must come in the time that a client has for it, in bytes.
const LEAST: u64 = 1024;
/// So many looks in that time.
pub(super) const LOOKS: u32 = 4;

/// The body of one request on its way.
#[derive(Debug)]
pub(super) struct Upload {
    limit: Duration,
    moved: Cell<u64>,
    // The backend wants more than there is.
    waits: Cell<bool>,
    // How much had come when the time began that runs now.
    mark: Cell<u64>,
    since: Cell<Duration>,
    unhurried: Cell<bool>,
    slow: Cell<bool>,
    task: RefCell<Option<Waker>>,
}

impl Upload {
    /// A body of which [`LEAST`] must come in each `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            moved: Cell::default(),
            waits: Cell::default(),
            mark: Cell::default(),
            since: Cell::default(),
            unhurried: Cell::default(),
            slow: Cell::default(),
            task: RefCell::default(),
        }
    }

    /// Bytes passed on so far.
    pub(super) fn get(&self) -> u64 {
        self.moved.get()
    }

    /// So many came.
    pub(super) fn passed(&self, bytes: u64) {
        self.waits.set(false);
        self.moved.set(self.moved.get() + bytes);
    }

    /// It may take its time from now on.
    pub(super) fn unhurried(&self) {
        self.unhurried.set(true);
    }

    /// Whether it is to be watched.
    pub(super) fn is_hurried(&self) -> bool {
        !self.unhurried.get()
    }

    /// Whether it was given up.
    pub(super) fn is_slow(&self) -> bool {
        self.slow.get()
    }

    /// The backend waits, and there is nothing. The task is woken when the client took too long.
    pub(super) fn awaits(&self, cx: &Context<'_>) {
        self.waits.set(true);
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
    }

    /// Time runs from `now`. When to look first.
    pub(super) fn begin(&self, now: Duration) -> Duration {
        self.since.set(now);
        self.mark.set(self.moved.get());
        now + self.limit / LOOKS
    }
}

impl Watched for Upload {
    fn look(&self, now: Duration) -> Option<Duration> {
        if self.unhurried.get() {
            return None;
        }
        let next = now + self.limit / LOOKS;
        if !self.waits.get() || self.moved.get() - self.mark.get() >= LEAST {
            self.begin(now);
            return Some(next);
        }
        if now.saturating_sub(self.since.get()) < self.limit {
            return Some(next);
        }
        self.slow.set(true);
        if let Some(task) = self.task.take() {
            task.wake();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn waiting() -> Upload {
        let upload = Upload::new(20 * SECOND);
        assert_eq!(upload.begin(Duration::ZERO), 5 * SECOND);
        upload.awaits(&Context::from_waker(Waker::noop()));
        upload
    }

    /// Looks every five seconds, with `bytes` before each look. When it was given up.
    fn dripping(upload: &Upload, bytes: u64) -> Option<u32> {
        (1..100).find(|look| {
            upload.passed(bytes);
            upload.awaits(&Context::from_waker(Waker::noop()));
            upload.look(5 * *look * SECOND).is_none()
        })
    }

    #[test]
    fn drips_are_given_up_and_a_trickle_is_not() {
        for bytes in [0, 1, 200] {
            let upload = waiting();
            assert_eq!(dripping(&upload, bytes), Some(4), "{bytes}");
            assert!(upload.is_slow());
        }
        for bytes in [256, 5000] {
            let upload = waiting();
            assert_eq!(dripping(&upload, bytes), None, "{bytes}");
            assert!(!upload.is_slow());
        }
    }

    #[test]
    fn nobody_is_hurried_while_the_backend_takes_nothing_or_once_it_answers() {
        let upload = waiting();
        upload.passed(1);
        assert!((1..100).all(|look| upload.look(5 * look * SECOND).is_some()));
        let upload = waiting();
        upload.unhurried();
        assert_eq!((upload.look(100 * SECOND), upload.is_slow()), (None, false));
    }
}
