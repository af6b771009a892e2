//! A request at its backend: pick, send on a waiting connection or a fresh one, and again at another backend while that
//! is safe.
//!
//! Safe to send again: what was not sent at all, whatever it is; and what was sent without an answer, if its method
//! only asks (RFC 9110 §9.2.1) and it has no body. Anything else may have been done by the backend that fell silent.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tracing::debug;

use super::body::{RequestBody, ResponseBody, Underway};
use super::clients::Borrowed;
use super::fields::clean_response;
use super::replay::Replay;
use super::session::Session;
use super::tunnel::Tunnel;
use crate::model::balance::Tried;
use crate::model::outcome::Outcome;
use crate::model::snapshot::{BackendPlan, PoolPlan};
use crate::proxy::connect;

/// A request ready for a backend.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// What is sent.
    pub(super) request: Request<RequestBody>,
    /// The client's side, if it asks to switch protocols.
    pub(super) upgrade: Option<OnUpgrade>,
    /// What it holds until its answer has ended.
    pub(super) underway: Underway,
}

/// Why no backend answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Failure {
    NoBackend,
    Connect,
    Broke,
    TooSlow,
    /// The client did not send the body that it promised.
    Client,
}

impl Failure {
    /// What the client is told.
    fn answer(self, underway: Underway) -> Unserved {
        let (status, reason) = match self {
            Self::NoBackend => (StatusCode::SERVICE_UNAVAILABLE, "no backend is available"),
            Self::Connect => (StatusCode::SERVICE_UNAVAILABLE, "no backend could be reached"),
            Self::Broke => (StatusCode::BAD_GATEWAY, "the backend broke off before it answered"),
            Self::TooSlow => (StatusCode::GATEWAY_TIMEOUT, "the backend did not answer in time"),
            Self::Client => (StatusCode::BAD_REQUEST, "the body ended early"),
        };
        (status, reason, underway)
    }
}

/// A request without an answer; with the request, if it was not sent.
struct Unanswered {
    failure: Failure,
    unsent: Option<Request<RequestBody>>,
}

/// What to tell the client when there is no answer: the status, why, and what its request holds.
type Unserved = (StatusCode, &'static str, Underway);

/// Sends a request to a backend of `pool` and gives its answer, or what to tell the client instead.
pub(super) async fn forward(
    session: &Session,
    pool: Arc<PoolPlan>,
    outgoing: Outgoing,
) -> Result<Response<ResponseBody>, Unserved> {
    let Outgoing { mut request, upgrade, mut underway } = outgoing;
    underway.pool = Some(pool.state.clone());
    let replay = is_safe(&pool, &request).then(|| Replay::of(&request, session.buffer.take()));
    let mut tried = Tried::default();
    let mut failure = Failure::NoBackend;
    for attempt in 0..=pool.intent.retries {
        let Some(picked) = pool.pick(&tried, session.worker.draw()) else { break };
        if attempt > 0 {
            pool.state.retried();
        }
        let backend = &pool.backends[picked.index];
        let unanswered = match send(session, &pool, backend, request, underway.started()).await {
            Ok((response, connection)) => {
                underway.lease = Some(picked.lease);
                underway.connection = Some(connection);
                session.buffer.set(replay.map(Replay::into_buffer).unwrap_or_default());
                return pass_on(session, &pool, response, upgrade, underway);
            }
            Err(unanswered) => unanswered,
        };
        failure = unanswered.failure;
        debug!(pool = %pool.name, backend = %backend.address, ?failure, "no answer");
        tried.add(picked.index);
        let again = || replay.as_ref().filter(|_| failure == Failure::Broke).map(Replay::request);
        match unanswered.unsent.or_else(again) {
            Some(unsent) => request = unsent,
            None => break,
        }
    }
    if failure == Failure::Client {
        session.outcome.set(Outcome::ClientGone);
    }
    Err(failure.answer(underway))
}

/// Whether a request may be sent a second time when its backend may have seen the first.
fn is_safe(pool: &PoolPlan, request: &Request<RequestBody>) -> bool {
    let only_asks = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    only_asks && request.body().is_none() && pool.intent.retries > 0
}

/// Sends a request to one backend: on a connection that waits, else on a fresh one.
async fn send(
    session: &Session,
    pool: &PoolPlan,
    backend: &BackendPlan,
    mut request: Request<RequestBody>,
    started: Instant,
) -> Result<(Response<Incoming>, Borrowed), Unanswered> {
    request.body_mut().goes_to(&backend.state);
    let limit = pool.intent.timeouts.response;
    let shelf = session.worker.clients.of(backend.address);
    while let Some(mut connection) = shelf.take() {
        match exchange(session, &mut connection, request, started, limit).await {
            Ok(response) => return Ok((response, connection)),
            // It was closed while it waited, which is no failure of its backend.
            Err(Unanswered { unsent: Some(unsent), .. }) => request = unsent,
            Err(unanswered) => return Err(unanswered),
        }
    }
    let Ok(stream) = connect::dial(pool, backend).await else {
        return Err(Unanswered { failure: Failure::Connect, unsent: Some(request) });
    };
    let Ok((sender, connection)) = http1::Builder::new().handshake(TokioIo::new(stream)).await else {
        return Err(Unanswered { failure: Failure::Broke, unsent: Some(request) });
    };
    // Its errors come to the request that it carries; one that waits just ends. It ends at the latest with its sender.
    tokio::task::spawn_local(connection.with_upgrades());
    let mut connection = shelf.lend(sender);
    match exchange(session, &mut connection, request, Instant::now(), limit).await {
        Ok(response) => Ok((response, connection)),
        Err(unanswered) => Err(unanswered),
    }
}

/// Sends on a connection and waits for the head of the answer until `limit` after `since`; longer while the request's
/// body still flows, since then the backend is not late.
async fn exchange(
    session: &Session,
    connection: &mut Borrowed,
    request: Request<RequestBody>,
    since: Instant,
    limit: Duration,
) -> Result<Response<Incoming>, Unanswered> {
    let moved = request.body().moved();
    let mut seen = 0;
    let mut sending = pin!(connection.sender.try_send_request(request));
    let mut alarm = session.alarm(since + limit);
    let sent = poll_fn(|cx| {
        if let Poll::Ready(sent) = sending.as_mut().poll(cx) {
            return Poll::Ready(Some(sent));
        }
        while alarm.as_mut().poll(cx).is_ready() {
            match &moved {
                Some(moved) if moved.get() != seen => seen = moved.get(),
                _ => return Poll::Ready(None),
            }
            alarm.as_mut().reset(Instant::now() + limit);
        }
        Poll::Pending
    })
    .await;
    session.keep_alarm(alarm);
    let Some(sent) = sent else { return Err(Unanswered { failure: Failure::TooSlow, unsent: None }) };
    sent.map_err(|mut error| {
        let unsent = error.take_message();
        let failure = if error.error().is_user() { Failure::Client } else { Failure::Broke };
        Unanswered { failure, unsent }
    })
}

/// Makes of a backend's answer the one to the client.
fn pass_on(
    session: &Session,
    pool: &PoolPlan,
    response: Response<Incoming>,
    upgrade: Option<OnUpgrade>,
    mut underway: Underway,
) -> Result<Response<ResponseBody>, Unserved> {
    let (mut parts, incoming) = response.into_parts();
    parts.version = Version::HTTP_11;
    if parts.status != StatusCode::SWITCHING_PROTOCOLS {
        clean_response(&mut parts.headers, false);
        return Ok(Response::from_parts(parts, ResponseBody::passed(incoming, underway)));
    }
    underway.connection = None;
    let sides = upgrade.zip(parts.extensions.remove::<OnUpgrade>());
    let (Some((client, backend)), Some(lease)) = (sides, underway.lease.take()) else {
        // A switch that nobody asked for.
        return Err(Failure::Broke.answer(underway));
    };
    session.tunnel.replace(Some(Tunnel { client, backend, lease, idle: pool.intent.timeouts.idle }));
    clean_response(&mut parts.headers, true);
    Ok(Response::from_parts(parts, ResponseBody::own(None, underway)))
}
