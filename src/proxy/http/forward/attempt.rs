//! One try at one backend: on a connection that waits, else on a fresh one.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;

use hyper::{Request, Response};
use tokio::time::Instant;

use super::shared::Kept;
use super::waiting::{Patience, awaited, exchange};
use super::{Failure, Lent, Load, Reach, RequestBody, Session, Unanswered, open};
use crate::model::snapshot::{BackendPlan, PoolPlan};
use crate::proxy::http::direct::{Direct, Lost, Plain, Theirs};

/// One try at one backend.
pub(super) struct Attempt<'a> {
    /// For whom.
    pub(super) session: &'a Session,
    /// The pool.
    pub(super) pool: &'a PoolPlan,
    /// The backend, one of the pool.
    pub(super) backend: &'a BackendPlan,
    /// Since when it is waited for.
    pub(super) started: Instant,
    /// What is kept of the request.
    pub(super) kept: Kept<'a>,
}

impl<'a> Attempt<'a> {
    /// Sends a head alone: on a connection that waits, else on a fresh one.
    pub(super) async fn send_plain(&self, plain: &Plain) -> Result<(Response<Theirs>, Lent), Unanswered<Load>> {
        let Self { session, pool, backend, started, kept } = self;
        let shelf = session.shelf(pool, backend.address);
        while let Some(direct) = shelf.take_direct() {
            match self.ask(&direct, plain, *started).await {
                Ok(response) => return Ok((response, Lent::Direct(direct, shelf))),
                // It was closed while it waited, which is no failure of its backend.
                Err(Unanswered { unsent: Some(_), .. }) => {}
                Err(unanswered) => {
                    // Closed as the request came to it, perhaps: a backend that is up is asked once more, afresh. One
                    // that began to answer had the request.
                    let may_repeat = match kept.reach {
                        Reach::Nowhere => false,
                        Reach::Same => backend.is_up() && !direct.borrow().has_spoken(),
                        Reach::Anywhere => backend.is_up(),
                    };
                    if unanswered.failure != Failure::Broke || !may_repeat {
                        return Err(unanswered);
                    }
                    break;
                }
            }
        }
        // Boxed, so that requests that need no fresh connection do not carry the room for one, and its handshake.
        let line = match Box::pin(open::line(session, pool, backend)).await {
            Ok(line) => line,
            Err(failure) => return Err(Unanswered { failure, unsent: Some(Load::Plain) }),
        };
        let direct = Rc::new(RefCell::new(Direct::new(line)));
        let response = self.ask(&direct, plain, Instant::now()).await?;
        Ok((response, Lent::Direct(direct, shelf)))
    }

    /// Asks on a connection that nobody else has.
    async fn ask(
        &self,
        direct: &Rc<RefCell<Direct>>,
        plain: &Plain,
        since: Instant,
    ) -> Result<Response<Theirs>, Unanswered<Load>> {
        let answer = poll_fn(|cx| direct.borrow_mut().poll_answer(cx, plain));
        match awaited(self.session, answer, None, self.patience(since)).await {
            Ok(Ok(head)) => Ok(head.map(|()| Theirs::on(direct))),
            Ok(Err(Lost::Unsent)) => Err(Unanswered { failure: Failure::Broke, unsent: Some(Load::Plain) }),
            Ok(Err(Lost::Broke)) => Err(Unanswered { failure: Failure::Broke, unsent: None }),
            Err(failure) => Err(Unanswered { failure, unsent: None }),
        }
    }

    /// Sends a request that has a body or asks to switch protocols, or any request by HTTP/2.
    pub(super) async fn send(&self, mut request: Request<RequestBody>) -> Result<(Response<Theirs>, Lent), Unanswered> {
        let Self { session, pool, backend, started, kept } = self;
        if let Some(speech) = pool.speech.as_ref().filter(|speech| speech.http2()) {
            return self.send_shared(speech, request).await;
        }
        if let Some(body) = kept.body {
            // Kept for HTTP/2, which the pool spoke when the request came.
            body.forget();
        }
        request.body_mut().goes_to(&backend.state);
        let shelf = session.shelf(pool, backend.address);
        while let Some(mut connection) = shelf.take() {
            let moved = request.body().upload();
            let sending = connection.sender.try_send_request(request);
            match exchange(session, sending, moved, self.patience(*started)).await {
                Ok(response) => return Ok((response, Lent::Own(connection))),
                // It was closed while it waited, which is no failure of its backend.
                Err(Unanswered { unsent: Some(unsent), .. }) => request = unsent,
                Err(unanswered) => {
                    // Closed as the request came to it, perhaps: a backend that is up is asked once more, afresh.
                    let broke = unanswered.failure == Failure::Broke && backend.is_up();
                    let Some(replay) = kept.repeatable().filter(|_| broke) else { return Err(unanswered) };
                    request = replay.request();
                    request.body_mut().goes_to(&backend.state);
                    break;
                }
            }
        }
        let sender = match open::http1(session, pool, backend).await {
            Ok(sender) => sender,
            Err(failure) => return Err(Unanswered { failure, unsent: Some(request) }),
        };
        let mut connection = shelf.lend(sender);
        let moved = request.body().upload();
        let sending = connection.sender.try_send_request(request);
        match exchange(session, sending, moved, self.patience(Instant::now())).await {
            Ok(response) => Ok((response, Lent::Own(connection))),
            Err(unanswered) => Err(unanswered),
        }
    }

    /// How long an answer is waited for since this moment.
    pub(super) fn patience(&self, since: Instant) -> Patience<'a> {
        let limit = self.pool.intent.timeouts.response;
        let may_leave = self.kept.is_safe() && self.pool.intent.retries > 0 && self.backend.is_up();
        let leave = may_leave.then_some((self.pool, self.backend));
        Patience { until: since + limit, limit, leave }
    }
}
