//! A future beside the main one, polled only when it asks for it.
//!
//! A connection's task is woken several times a request; the drain it also waits for comes once. Polling that each time
//! would take a lock that all threads share.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use std::task::{Context, Poll, Wake, Waker};

/// A future that is left alone until it wakes the task itself.
pub(super) struct Aside<'f, F> {
    future: Pin<&'f mut F>,
    bell: Option<Arc<Bell>>,
}

struct Bell {
    rung: AtomicBool,
    task: Waker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Release);
        self.task.wake_by_ref();
    }
}

impl<'f, F: Future> Aside<'f, F> {
    /// Puts a future aside.
    pub(super) fn new(future: Pin<&'f mut F>) -> Self {
        Self { future, bell: None }
    }

    /// Polls it if it woke the task, or the task is another one. Not to be called again once it was ready.
    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<F::Output> {
        let bell = match &self.bell {
            Some(bell) if bell.task.will_wake(cx.waker()) => {
                if !bell.rung.load(Acquire) {
                    return Poll::Pending;
                }
                // Before the poll, so that what comes during it is not lost.
                bell.rung.store(false, Release);
                bell.clone()
            }
            _ => Arc::new(Bell { rung: AtomicBool::new(false), task: cx.waker().clone() }),
        };
        self.bell = Some(bell.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&Waker::from(bell)))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn it_is_polled_when_it_asks_and_not_otherwise() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let polls = Cell::new(0);
        let mut receiver = pin!(receiver);
        let mut counted = pin!(poll_fn(|cx| {
            polls.set(polls.get() + 1);
            receiver.as_mut().poll(cx)
        }));
        let mut aside = Aside::new(counted.as_mut());
        for _ in 0..5 {
            assert!(poll_fn(|cx| Poll::Ready(aside.poll(cx))).await.is_pending());
        }
        assert_eq!(polls.get(), 1);
        sender.send(7).unwrap();
        assert_eq!(poll_fn(|cx| aside.poll(cx)).await, Ok(7));
        assert_eq!(polls.get(), 2);
    }
}
