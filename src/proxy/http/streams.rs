//! The streams of a client's HTTP/2 connection: each a task on the connection's thread, and given up when its client
//! takes nothing of the answer.
//!
//! Theory: an answer is pulled through its stream piece by piece; when a stream holds a piece and waits, it waits for the
//! client's window. Only then is it watched, by the thread's wheel, so a stream that is never kept waiting costs nothing.
//! A client that opens its window for one stream and not for another is seen, which the connection's own clock
//! (`patience`) cannot see. Where the whole connection is slow its streams share what it has: time passes at a quarter
//! of its speed while the socket takes nothing.
//!
//! What is dropped resets the stream (CANCEL) and lets go of the backend's connection, which still carries the rest.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::session::Session;
use super::watched::Traffic;
use crate::model::outcome::Outcome;
use crate::net::wheel::{self, Watch, Watched};

/// So many looks in the time a stream has.
const LOOKS: u32 = 4;
/// While the connection takes nothing, a stream waits so much longer.
const SHARED: u32 = 4;

/// No more than so many are remembered to wait, more than can be open at once: a client that takes nothing may open and
/// reset streams meanwhile.
const WAITING: usize = 256;

/// Where a stream is, between it and the body of its answer. One stream runs at a time, so one place for all is enough.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Turn {
    /// The body was not asked.
    #[default]
    Elsewhere,
    /// The body was asked, and has nothing yet.
    Asked,
    /// The body gave a piece, and was not asked for the next.
    Gave,
}

/// Whether the connection takes nothing, and which streams wait with their next piece until it does.
///
/// What a stream gives meanwhile waits in h2, which counts its bytes but keeps some 330 more with each frame: an answer
/// that comes a few bytes at a time, read by nobody, would take a hundred times what it is long.
#[derive(Debug, Default)]
pub(super) struct Shut {
    is: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl Shut {
    /// Notes whether it takes nothing; wakes who waits when it does again, or has ended.
    pub(super) fn follow(&self, is: bool) {
        self.is.set(is);
        if !is {
            self.waiting.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Ready when it takes something.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.is.get() {
            return Poll::Ready(());
        }
        // Some are of streams that were reset meanwhile; who is still there comes again.
        if self.waiting.borrow().len() >= WAITING {
            self.waiting.take().into_iter().for_each(Waker::wake);
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// Runs the streams of one connection.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    session: Rc<Session>,
    traffic: Arc<Traffic>,
}

impl Streams {
    /// The streams of this client, whose connection's traffic is noted there.
    pub(super) fn of(session: Rc<Session>, traffic: Arc<Traffic>) -> Self {
        Self { session, traffic }
    }
}

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let Self { session, traffic } = self.clone();
        tokio::task::spawn_local(async move {
            let mut stream = pin!(stream);
            let mut stall: Option<Stall> = None;
            poll_fn(|cx| {
                session.turn.set(Turn::Elsewhere);
                if stream.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                match (session.turn.get(), &stall) {
                    (Turn::Elsewhere, _) | (Turn::Asked, None) => {}
                    (Turn::Asked, Some(stall)) => stall.marks.waits.set(false),
                    (Turn::Gave, Some(stall)) => stall.marks.gave(),
                    (Turn::Gave, None) => stall = Some(Stall::new(session.limits.stall, traffic.clone())),
                }
                if stall.as_ref().is_some_and(|stall| stall.is_over(cx)) {
                    session.outcome.set(Outcome::Stalled);
                    return Poll::Ready(());
                }
                Poll::Pending
            })
            .await;
        });
    }
}

/// Watches one stream that was kept waiting.
struct Stall {
    marks: Rc<Marks>,
    _watch: Watch,
}

struct Marks {
    limit: Duration,
    traffic: Arc<Traffic>,
    // A piece waits for the client.
    waits: Cell<bool>,
    // The client took one since the last look.
    moved: Cell<bool>,
    waited: Cell<Duration>,
    looked: Cell<Duration>,
    over: Cell<bool>,
    task: RefCell<Option<Waker>>,
}

impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Marks").field("waits", &self.waits).field("waited", &self.waited).finish_non_exhaustive()
    }
}

impl Stall {
    fn new(limit: Duration, traffic: Arc<Traffic>) -> Self {
        let now = wheel::now();
        let marks = Rc::new(Marks {
            limit,
            traffic,
            waits: Cell::new(true),
            moved: Cell::default(),
            waited: Cell::default(),
            looked: Cell::new(now),
            over: Cell::default(),
            task: RefCell::default(),
        });
        let watch = wheel::watch(marks.clone(), now, now + limit / LOOKS);
        Self { marks, _watch: watch }
    }

    /// Whether the stream must end; if not, its task is woken as soon as it must.
    fn is_over(&self, cx: &Context<'_>) -> bool {
        let over = self.marks.over.get();
        if !over {
            let mut task = self.marks.task.borrow_mut();
            if !task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
                *task = Some(cx.waker().clone());
            }
        }
        over
    }
}

impl Marks {
    fn gave(&self) {
        self.waits.set(true);
        self.moved.set(true);
    }
}

impl Watched for Marks {
    fn look(&self, now: Duration) -> Option<Duration> {
        let passed = now.saturating_sub(self.looked.replace(now));
        let waited = match (self.waits.get(), self.moved.take()) {
            (true, false) if self.traffic.is_blocked() => self.waited.get() + passed / SHARED,
            (true, false) => self.waited.get() + passed,
            _ => Duration::ZERO,
        };
        self.waited.set(waited);
        if waited < self.limit {
            return Some(now + self.limit / LOOKS);
        }
        self.over.set(true);
        if let Some(task) = self.task.take() {
            task.wake();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn who_waits_is_woken_and_who_left_is_forgotten() {
        let shut = Shut::default();
        shut.follow(true);
        let task = Arc::new(Woken::default());
        let waker = Waker::from(task.clone());
        for _ in 0..3 {
            assert!(shut.poll(&Context::from_waker(&waker)).is_pending());
        }
        assert_eq!(shut.waiting.borrow().len(), 1, "once a task");
        for _ in 0..10 * WAITING {
            assert!(shut.poll(&Context::from_waker(&Waker::from(Arc::<Woken>::default()))).is_pending());
            assert!(shut.waiting.borrow().len() <= WAITING);
        }
        assert_eq!(task.0.load(Relaxed), 1, "to come again");
        assert!(shut.poll(&Context::from_waker(&waker)).is_pending());
        shut.follow(false);
        assert_eq!(task.0.load(Relaxed), 2);
        assert!(shut.poll(&Context::from_waker(&waker)).is_ready());
    }
}
