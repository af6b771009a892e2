//! A request at its backend: pick, send on a waiting connection or a fresh one, and again at another backend while that
//! is safe.
//!
//! Safe to send again: what was not sent at all, whatever it is; and what was sent without an answer, if it has no body
//! and its method allows it (see [`Reach`]), as long as the pool's budget lasts. Anything else may have been done by the
//! backend that fell silent. A pool may ask that answers with some statuses are taken for none, too.
//! Such a request also leaves a backend that checks find down while it waits there: a host without power sends no reset,
//! and the client should not have to wait for the response timeout.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::{self, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, Request, Response, StatusCode, Version};
use tokio::time::Instant;
use tracing::debug;

use super::affinity::{self, Wish};
use super::body::{RequestBody, ResponseBody, Underway};
use super::clients::Lent;
use super::direct::{Plain, Theirs};
use super::exchange::hop;
use super::fields::clean_response;
use super::forwarded;
use super::replay::{Reach, Replay};
use super::session::Session;
use super::tunnel::Tunnel;
use crate::model::balance::{Picked, Tried};
use crate::model::blame::Fault;
use crate::model::intent::Balance;
use crate::model::outcome::Outcome;
use crate::model::snapshot::PoolPlan;
use crate::proxy::limit::queue;
use crate::proxy::relay;
use attempt::Attempt;
use shared::Kept;

mod attempt;
mod open;
mod shared;
mod waiting;

/// A request ready for a backend.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// What is sent.
    pub(super) request: Request<RequestBody>,
    /// The switch of protocols that the client asks for.
    pub(super) upgrade: Option<Upgrade>,
    /// What it holds until its answer has ended.
    pub(super) underway: Underway,
    /// Who asks, which picks may go by.
    pub(super) client: IpAddr,
    /// The request's id, where its fields do not tell of the client yet.
    pub(super) untold: Option<HeaderValue>,
}

/// A switch of protocols that was asked for.
#[derive(Debug)]
pub(super) struct Upgrade {
    /// The client's side.
    pub(super) client: OnUpgrade,
    /// To which protocol.
    pub(super) protocol: HeaderValue,
}

/// Why no backend answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Failure {
    NoBackend,
    /// Every backend was at its limit, and so was the queue.
    QueueFull,
    /// Every backend stayed at its limit for the queue's whole time.
    QueueTimeout,
    Connect,
    Broke,
    TooSlow,
    /// The backend says that it did not begin the request.
    Unbegun,
    /// The client did not send the body that it promised.
    Client,
    /// It sent it too slowly.
    SlowBody,
}

impl Failure {
    /// What the client is told.
    fn answer(self, underway: Underway) -> Unserved {
        let (status, reason) = match self {
            Self::NoBackend => (StatusCode::SERVICE_UNAVAILABLE, "no backend is available"),
            Self::QueueFull => (StatusCode::SERVICE_UNAVAILABLE, "every backend is busy and the queue is full"),
            Self::QueueTimeout => (StatusCode::SERVICE_UNAVAILABLE, "every backend was busy for too long"),
            Self::Connect => (StatusCode::SERVICE_UNAVAILABLE, "no backend could be reached"),
            Self::Broke => (StatusCode::BAD_GATEWAY, "the backend broke off before it answered"),
            Self::TooSlow => (StatusCode::GATEWAY_TIMEOUT, "the backend did not answer in time"),
            Self::Unbegun => (StatusCode::SERVICE_UNAVAILABLE, "the backend takes no more requests now"),
            Self::Client => (StatusCode::BAD_REQUEST, "the body ended early"),
            Self::SlowBody => (StatusCode::REQUEST_TIMEOUT, "the body came too slowly"),
        };
        (status, reason, underway)
    }
}

/// Why a request for another protocol has no answer.
const NO_UPGRADE: &str = "the backend speaks HTTP/2, which cannot switch protocols";

/// An answer that says that it is none, kept while another backend is asked.
struct Spare {
    pool: Arc<PoolPlan>,
    answer: (Response<Theirs>, Lent),
    picked: Picked,
}

/// A request without an answer; with the request, if it was not sent.
struct Unanswered<R = Request<RequestBody>> {
    failure: Failure,
    unsent: Option<R>,
}

impl Unanswered {
    fn whole(self) -> Unanswered<Load> {
        Unanswered { failure: self.failure, unsent: self.unsent.map(|request| Load::Whole(request.into())) }
    }
}

/// What is sent of a request.
enum Load {
    /// A head alone, kept beside.
    Plain,
    /// All of it.
    Whole(Box<Request<RequestBody>>),
}

/// What to tell the client when there is no answer: the status, why, and what its request holds.
type Unserved = (StatusCode, &'static str, Underway);

/// Sends a request to a backend of `pool` and gives its answer, or what to tell the client instead.
pub(super) async fn forward(
    session: &Session,
    mut pool: Arc<PoolPlan>,
    outgoing: Outgoing,
) -> Result<Response<ResponseBody>, Unserved> {
    let Outgoing { mut request, upgrade, mut underway, client, mut untold } = outgoing;
    underway.pool = Some(pool.state.clone());
    let shares = pool.speech.as_ref().is_some_and(|speech| speech.http2());
    if shares && upgrade.is_some() {
        return Err((StatusCode::BAD_GATEWAY, NO_UPGRADE, underway));
    }
    let is_whole = request.body().is_none();
    let reach = if is_whole { Reach::of(request.method()) } else { Reach::Nowhere };
    let is_plain = is_whole && !shares && upgrade.is_none();
    let goes_by_fields = matches!(pool.intent.balance, Balance::HashHeader(_));
    if let Some(id) = untold.take_if(|_| !is_plain || goes_by_fields) {
        forwarded::tell(request.headers_mut(), hop(session), &id);
    }
    let wish = affinity::read(&pool, client, session.proto == "https", &mut request);
    let body = if shares { request.body_mut().keep() } else { None };
    let replay =
        (!is_plain && (shares || reach != Reach::Nowhere)).then(|| Replay::of(&request, session.buffer.take()));
    let (plain, mut load) = if is_plain {
        let more = |headers: &HeaderMap, bytes: &mut Vec<u8>| {
            if let Some(id) = &untold {
                forwarded::write(bytes, headers, hop(session), id);
            }
        };
        (Some(Plain::of(request, session.buffer.take(), more)), Load::Plain)
    } else {
        (None, Load::Whole(request.into()))
    };
    let kept = Kept { plain: plain.as_ref(), replay: replay.as_ref(), body: body.as_ref(), is_whole, reach };
    pool.state.asked(session.second(underway.started()));
    let mut tried = Tried::default();
    let mut failure = Failure::NoBackend;
    // Boxed, so that connections do not carry the room for it through their lives.
    let mut spare: Option<Box<Spare>> = None;
    for attempt in 0..=pool.intent.retries {
        let is_again = attempt > 0;
        let picked = match &spare {
            // What it holds is not kept from others while it waits.
            Some(_) => queue::pick_now(&session.worker, &pool, &wish.client, &tried).ok_or(Outcome::NoBackend),
            None => queue::pick(&session.worker, &mut pool, &wish.client, &mut tried, is_again).await,
        };
        let picked = match picked {
            Ok(picked) => picked,
            Err(Outcome::QueueFull) => return Err(Failure::QueueFull.answer(underway)),
            Err(Outcome::QueueTimeout) => return Err(Failure::QueueTimeout.answer(underway)),
            Err(_) => break,
        };
        if is_again {
            pool.state.retried();
        }
        // Time in the queue is not the backend's, nor is another's.
        let is_late = is_again || pool.intent.max_connections > 0;
        let started = if is_late { Instant::now() } else { underway.started() };
        // While the request waited its pool may have become another, which speaks otherwise.
        if pool.speech.as_ref().is_some_and(|speech| speech.http2()) {
            if upgrade.is_some() {
                return Err((StatusCode::BAD_GATEWAY, NO_UPGRADE, underway));
            }
            if is_plain {
                return Err((StatusCode::SERVICE_UNAVAILABLE, "the pool began to speak HTTP/2 meanwhile", underway));
            }
        }
        let backend = &pool.backends[picked.index];
        let tries = Attempt { session, pool: &pool, backend, started, kept };
        let sent = match (load, kept.plain) {
            (Load::Whole(request), _) => Box::pin(tries.send(*request)).await.map_err(Unanswered::whole),
            (Load::Plain, Some(plain)) => tries.send_plain(plain).await,
            (Load::Plain, None) => break,
        };
        let unanswered = match sent {
            Ok(answer) => {
                let status = answer.0.status().as_u16();
                pool.judge(backend, status);
                let is_none = attempt < pool.intent.retries && pool.intent.retry_on.contains(&status);
                let again = if is_none && kept.is_safe() && may_repeat(session, &pool) { kept.load() } else { None };
                match again {
                    None => {
                        let plain = plain.map(Plain::into_buffer);
                        session.buffer.set(plain.or_else(|| replay.map(Replay::into_buffer)).unwrap_or_default());
                        return deliver(session, &wish, &tried, Spare { pool, answer, picked }, upgrade, underway);
                    }
                    Some(again) => {
                        tried.add(picked.index);
                        load = again;
                        spare = Some(Box::new(Spare { pool: pool.clone(), answer, picked }));
                        continue;
                    }
                }
            }
            Err(unanswered) => unanswered,
        };
        failure = unanswered.failure;
        match failure {
            Failure::Broke => pool.blame(backend, Fault::Broke),
            // Of a body that stopped coming it may be the client who is slow.
            Failure::TooSlow if is_whole => pool.blame(backend, Fault::Slow),
            _ => {}
        }
        debug!(pool = %pool.name, backend = %backend.address, ?failure, "no answer");
        tried.add(picked.index);
        let is_left = attempt < pool.intent.retries && failure == Failure::Broke;
        let again = || if is_left && kept.is_safe() && may_repeat(session, &pool) { kept.load() } else { None };
        match unanswered.unsent.or_else(again) {
            Some(unsent) => load = unsent,
            None => break,
        }
    }
    if let Some(spare) = spare {
        return deliver(session, &wish, &tried, *spare, upgrade, underway);
    }
    match failure {
        Failure::Client => session.outcome.set(Outcome::ClientGone),
        Failure::SlowBody => session.outcome.set(Outcome::SlowBody),
        _ => {}
    }
    Err(failure.answer(underway))
}

/// Whether the pool's budget allows that a request is sent again which a backend may have seen.
fn may_repeat(session: &Session, pool: &PoolPlan) -> bool {
    pool.intent.retry_budget.is_none_or(|percent| pool.state.may_repeat(session.second(Instant::now()), percent))
}

/// Gives an answer to the client, with what it has to know of its backend.
fn deliver(
    session: &Session,
    wish: &Wish,
    tried: &Tried,
    from: Spare,
    upgrade: Option<Upgrade>,
    mut underway: Underway,
) -> Result<Response<ResponseBody>, Unserved> {
    let Spare { pool, answer: (response, connection), picked } = from;
    underway.lease = Some(picked.lease);
    underway.connection = Some(connection);
    let mut response = pass_on(session, &pool, response, upgrade, underway)?;
    if pool.tokens.is_some() {
        wish.tell(&pool, tried, picked.index, response.headers_mut());
    }
    Ok(response)
}

/// Whether the body's framing is one we pass on: a coding other than chunked would be lost with the field that names it.
fn is_framed_right(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    codings.all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
}

/// Makes of a backend's answer the one to the client.
fn pass_on(
    session: &Session,
    pool: &PoolPlan,
    response: Response<Theirs>,
    upgrade: Option<Upgrade>,
    mut underway: Underway,
) -> Result<Response<ResponseBody>, Unserved> {
    let (mut parts, theirs) = response.into_parts();
    parts.version = Version::HTTP_11;
    if !is_framed_right(&parts.headers) {
        underway.connection = None;
        return Err(Failure::Broke.answer(underway));
    }
    if parts.status != StatusCode::SWITCHING_PROTOCOLS {
        clean_response(&mut parts.headers, false);
        if parts.status == StatusCode::NO_CONTENT {
            // Has no body, whatever it says (RFC 9110 §8.6).
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        return Ok(Response::from_parts(parts, ResponseBody::passed(theirs, underway)));
    }
    underway.connection = None;
    // Only to the protocol that was asked for (RFC 9110 §7.8).
    let asked = upgrade.filter(|upgrade| {
        let to = parts.headers.get(header::UPGRADE).map(HeaderValue::as_bytes);
        to.is_some_and(|to| to.eq_ignore_ascii_case(upgrade.protocol.as_bytes()))
    });
    let sides = asked.map(|upgrade| upgrade.client).zip(parts.extensions.remove::<OnUpgrade>());
    let (Some((client, backend)), Some(lease)) = (sides, underway.lease.take()) else {
        // A switch that nobody asked for.
        return Err(Failure::Broke.answer(underway));
    };
    session.tunnel.replace(Some(Tunnel { client, backend, lease, times: relay::times(&pool.intent.timeouts) }));
    clean_response(&mut parts.headers, true);
    Ok(Response::from_parts(parts, ResponseBody::own(None, underway)))
}
