//! The wait for the head of an answer: how long it lasts, and when it is better spent elsewhere.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::{Request, Response};
use tokio::task::unconstrained;
use tokio::time::Instant;

use super::{Failure, RequestBody, Session, Unanswered, shared};
use crate::model::snapshot::{BackendPlan, PoolPlan};
use crate::proxy::http::direct::Theirs;
use crate::proxy::http::upload::Upload;

/// How long the head of an answer is waited for.
pub(super) struct Patience<'p> {
    /// Until then.
    pub(super) until: Instant,
    /// What is added while the request's body still flows, since then the backend is not late.
    pub(super) limit: Duration,
    /// The pool and backend, where the request may go elsewhere when the backend is found down meanwhile.
    pub(super) leave: Option<(&'p PoolPlan, &'p BackendPlan)>,
}

impl Patience<'_> {
    /// Whether the backend went down while others of its pool are up. Where none is, the checks may be what is wrong.
    fn should_leave(&self) -> bool {
        self.leave.is_some_and(|(pool, backend)| !backend.is_up() && pool.is_up())
    }

    /// When to look, after `now`.
    fn next(&self, now: Instant) -> Instant {
        if self.leave.is_some() { self.until.min(now + LOOK) } else { self.until }
    }
}

/// How often a request that may go elsewhere looks whether its backend is still up.
const LOOK: Duration = Duration::from_millis(500);

/// Waits for the head of the answer to a request that is being sent through hyper. `moved`: how much of its body was.
pub(super) async fn exchange(
    session: &Session,
    sending: impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>>,
    moved: Option<Rc<Upload>>,
    patience: Patience<'_>,
) -> Result<Response<Theirs>, Unanswered> {
    let sent = awaited(session, sending, moved.as_deref(), patience).await;
    let sent = sent.map_err(|failure| Unanswered { failure, unsent: None })?;
    if let (Some(upload), Ok(_)) = (&moved, &sent) {
        upload.unhurried();
    }
    let sent = sent.map_err(|mut error| {
        let unsent = error.take_message();
        let failure = match (&moved, error.error()) {
            (Some(upload), _) if upload.is_slow() => Failure::SlowBody,
            (_, error) if error.is_user() => Failure::Client,
            (_, error) if shared::is_unbegun(error) => Failure::Unbegun,
            _ => Failure::Broke,
        };
        Unanswered { failure, unsent }
    })?;
    Ok(sent.map(Theirs::Hyper))
}

/// Waits for an answer as long as `patience` lasts. `moved`: how much of the request's body was sent.
pub(super) async fn awaited<T>(
    session: &Session,
    sending: impl Future<Output = T>,
    moved: Option<&Upload>,
    mut patience: Patience<'_>,
) -> Result<T, Failure> {
    let mut seen = 0;
    let mut sending = pin!(sending);
    let mut alarm = session.alarm(patience.next(patience.until - patience.limit));
    let sent = poll_fn(|cx| {
        if let Poll::Ready(sent) = sending.as_mut().poll(cx) {
            return Poll::Ready(Ok(sent));
        }
        // Who sends without end uses up the task's budget each time, and would keep the alarm from being heard.
        while pin!(unconstrained(alarm.as_mut())).poll(cx).is_ready() {
            if patience.should_leave() {
                return Poll::Ready(Err(Failure::Broke));
            }
            let now = Instant::now();
            if now >= patience.until {
                match moved {
                    Some(moved) if moved.get() != seen => seen = moved.get(),
                    _ => return Poll::Ready(Err(Failure::TooSlow)),
                }
                patience.until = now + patience.limit;
            }
            alarm.as_mut().reset(patience.next(now));
        }
        Poll::Pending
    })
    .await;
    session.keep_alarm(alarm);
    sent
}
