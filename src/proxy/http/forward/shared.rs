//! A request on a connection that it shares with others: HTTP/2 to a backend.
//!
//! What the backend says that it never began (a refused stream, one beyond its GOAWAY) was not sent, whatever the method
//! is: it is sent once more to the same backend, on another trunk where there is one, and after that to another backend.

use std::error::Error as _;
use std::sync::Arc;

use hyper::{Request, Response};
use tokio::time::Instant;

use super::attempt::Attempt;
use super::waiting::exchange;
use super::{Failure, Lent, Load, Plain, Reach, Replay, RequestBody, Session, Theirs, Unanswered, open};
use crate::model::speech::SpeechPlan;
use crate::proxy::http::rewind::Rewind;
use crate::proxy::http::trunks::Got;
use crate::proxy::http::version::{to_http1, to_http2};

/// What is kept of a request that may be sent again.
#[derive(Clone, Copy)]
pub(super) struct Kept<'r> {
    /// All of it, where it is a head alone and is sent without hyper.
    pub(super) plain: Option<&'r Plain>,
    /// Its head, and its body where that is empty.
    pub(super) replay: Option<&'r Replay>,
    /// Its body, if it has one.
    pub(super) body: Option<&'r Rewind>,
    /// Whether it has no body, so that its head is all of it.
    pub(super) is_whole: bool,
    /// How far it may be sent again where it may have been begun.
    pub(super) reach: Reach,
}

impl<'r> Kept<'r> {
    /// Its head, where it may be sent to the same backend again though that may have begun it.
    pub(super) fn repeatable(&self) -> Option<&'r Replay> {
        self.replay.filter(|_| self.is_whole && self.reach != Reach::Nowhere)
    }

    /// Whether it may be sent to any backend though one may have begun it.
    pub(super) fn is_safe(&self) -> bool {
        self.reach == Reach::Anywhere
    }

    /// It from its beginning, where it has no body.
    pub(super) fn load(&self) -> Option<Load> {
        match self.plain {
            Some(_) => Some(Load::Plain),
            None => self.replay.filter(|_| self.is_whole).map(|replay| Load::Whole(replay.request().into())),
        }
    }

    /// The request from its beginning, as for HTTP/1.1.
    fn again(&self, session: &Session) -> Option<Request<RequestBody>> {
        let mut request: Request<RequestBody> = self.replay?.request();
        match self.body {
            Some(body) => *request.body_mut() = RequestBody::again(body, session)?,
            // A body that was not kept is gone: that of a mirror's copy, or of a pool that spoke otherwise before.
            None if !self.is_whole => return None,
            None => {}
        }
        Some(request)
    }
}

impl Attempt<'_> {
    /// Sends a request on a trunk.
    pub(super) async fn send_shared(
        &self,
        speech: &Arc<SpeechPlan>,
        mut request: Request<RequestBody>,
    ) -> Result<(Response<Theirs>, Lent), Unanswered> {
        let Self { session, pool, backend, started, kept } = self;
        let trunks = session.trunks(pool, backend.address, speech);
        let mut again = true;
        loop {
            let until = Instant::now() + pool.intent.timeouts.connect;
            let (seat, is_fresh) = match trunks.get(until).await {
                Got::Seat(seat) => (Ok(seat), false),
                Got::Turn(turn) => (Box::pin(open::trunk(session, pool, backend, speech, turn)).await, true),
                Got::Nothing => (Err(Failure::Connect), true),
            };
            let seat = match seat {
                Ok(seat) => seat,
                Err(failure) => return Err(Unanswered { failure, unsent: Some(request) }),
            };
            request.body_mut().goes_to(&backend.state);
            to_http2(&mut request, speech.tls.is_some(), backend.address);
            let moved = request.body().upload();
            let since = if is_fresh { Instant::now() } else { *started };
            let mut sender = seat.sender();
            let answer = exchange(session, sender.try_send_request(request), moved, self.patience(since)).await;
            let unanswered = match answer {
                Ok(response) => {
                    if let Some(body) = kept.body {
                        body.forget();
                    }
                    return Ok((response, Lent::Shared(seat)));
                }
                Err(unanswered) => unanswered,
            };
            // hyper's word for it is the same whether the client's body broke or the connection.
            let failure = match (unanswered.failure, kept.body.is_some_and(Rewind::client_broke)) {
                (Failure::Broke | Failure::Client, true) => Failure::Client,
                (Failure::Client, false) => Failure::Broke,
                (failure, _) => failure,
            };
            let unsent = unanswered.unsent.map(|mut unsent| {
                let has_body = !unsent.body().is_none();
                to_http1(&mut unsent, has_body);
                unsent
            });
            // One that closed while it waited took nothing, which is no failure of its backend.
            let was_closed = unsent.is_some() && !is_fresh;
            let repeat = match failure {
                Failure::TooSlow => {
                    // Whatever holds it up may hold up the others.
                    seat.leave();
                    None
                }
                // It closed before it took the request.
                _ if unsent.is_some() => {
                    seat.leave();
                    unsent
                }
                Failure::Unbegun => {
                    seat.crowded();
                    kept.again(session)
                }
                // Closed as the request came to it, perhaps: a backend that is up is asked once more, afresh.
                Failure::Broke if kept.repeatable().is_some() && !is_fresh && backend.is_up() => kept.again(session),
                _ => None,
            };
            match repeat {
                Some(repeat) if was_closed => request = repeat,
                Some(repeat) if again => (request, again) = (repeat, false),
                repeat => return Err(Unanswered { failure, unsent: repeat }),
            }
        }
    }
}

/// Whether a backend said that it did not begin the request (RFC 9113 §8.7).
pub(super) fn is_unbegun(error: &hyper::Error) -> bool {
    let Some(error) = error.source().and_then(|source| source.downcast_ref::<h2::Error>()) else { return false };
    let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    error.is_remote() && (refused || error.is_go_away())
}
