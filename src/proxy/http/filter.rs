//! What a route's filters do to a request before it is sent to a backend, and to the answer on its way back.
//!
//! The order is fixed, as the cheapest refusal comes first and nobody who may not pass costs a backend anything: source
//! ranges, rate, body size, CORS preflight, basic auth, forward auth, canary; then the request is made for the backend,
//! its path, host and fields are edited, its body is bounded, and the mirror hears it; of the answer the places it
//! names, the error page, fields, HSTS, CORS and, last, the compression. Answers that are made here are edited like
//! those of backends. A route without filters never comes here.
//!
//! Each step is a room of its own, called from this file alone.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use tracing::debug;

use super::answer::Asker;
use super::body::{ResponseBody, Underway};
use super::exchange::{own, prepare, tell};
use super::fields::Fields;
use super::forward::{Outgoing, forward};
use super::session::Session;
use crate::model::filter::FilterPlan;
use crate::model::intent::filter::Coding;
use crate::model::snapshot::PoolPlan;

use forward_auth::{Denied, Granted};

mod auth;
mod body;
mod canary;
mod compress;
mod cors;
mod errors;
mod forward_auth;
mod mirror;
mod rate;
pub(super) mod redirect;
mod renames;
mod rewrite;

pub(super) use forward_auth::take_away;
pub(super) use mirror::Copying;
pub(in crate::proxy) use mirror::Mirrors;

/// One request of a route with filters.
pub(super) struct Filtering<'r> {
    /// The client's connection.
    pub(super) session: &'r Rc<Session>,
    /// What is done.
    pub(super) plan: &'r FilterPlan,
    /// Makes answers.
    pub(super) asker: &'r Asker,
    /// The request went to the canary.
    pub(super) is_canary: Cell<bool>,
}

/// Where a request goes that may pass.
pub(super) enum Leads {
    /// To a backend of this pool.
    To(Arc<PoolPlan>),
    /// Nowhere: this is the answer.
    Answer(Response<Bytes>),
}

/// What of a request the edits of its answer look at.
struct Wanted {
    /// The origin of the script that asks.
    origin: Option<HeaderValue>,
    /// How the answer may be compressed.
    coding: Option<Coding>,
    /// Whether the answer has no body.
    is_head: bool,
    /// Whether the client came over https.
    is_https: bool,
}

impl Wanted {
    fn of(session: &Session, plan: &FilterPlan, parts: &Parts) -> Self {
        let compress = plan.asked.compress.as_ref();
        Self {
            origin: parts.headers.get(header::ORIGIN).cloned(),
            coding: compress.and_then(|asked| compress::chosen(asked, &parts.headers, parts.version)),
            is_head: parts.method == Method::HEAD,
            is_https: session.is_https(&parts.headers),
        }
    }
}

impl Filtering<'_> {
    /// Serves a request: the answer is the one for the client.
    pub(super) async fn serve(
        &self,
        leads: Leads,
        mut parts: Parts,
        incoming: Incoming,
        fields: &Fields,
        underway: Underway,
    ) -> Response<ResponseBody> {
        let wanted = Wanted::of(self.session, self.plan, &parts);
        let now = underway.started().duration_since(self.session.worker.epoch);
        let answer = match (self.passes(&parts, now), leads) {
            (Err(refusal), _) => own(refusal, underway),
            (Ok(()), Leads::Answer(answer)) => own(answer, underway),
            (Ok(()), Leads::To(pool)) => match self.known(&mut parts, fields).await {
                Err(Denied::Own(answer)) => own(answer, underway),
                Err(Denied::Theirs(answer)) => answer.map(|body| body.answers(underway)),
                Ok(granted) => self.send(pool, granted, parts, incoming, fields, underway).await,
            },
        };
        self.finish(&wanted, answer)
    }

    /// Whether a client of another range may pass for its name, as it is asked for one.
    fn may_say_who(&self) -> bool {
        let asked = &self.plan.asked;
        asked.satisfy_any && (asked.basic_auth.is_some() || asked.forward_auth.is_some())
    }

    /// Judges a request by its head: the answer to one that may not pass.
    fn passes(&self, parts: &Parts, now: Duration) -> Result<(), Response<Bytes>> {
        if !self.plan.sources.admits_ip(self.asker.client) && !self.may_say_who() {
            debug!(peer = %self.session.peer, client = %self.asker.client, "refused by the ranges of a route");
            return Err(self.asker.answer(StatusCode::FORBIDDEN, "this address may not use this route"));
        }
        rate::judge(self, parts, now)?;
        body::judge(self, parts)?;
        cors::judge(self, parts)
    }

    /// Judges who sent it. Only of what goes to a backend: nobody is to tell a password for a redirect to https.
    async fn known(&self, parts: &mut Parts, fields: &Fields) -> Result<Granted, Denied> {
        let asked = &self.plan.asked;
        if asked.satisfy_any && !asked.sources.allow.is_empty() && self.plan.sources.admits_ip(self.asker.client) {
            // What only who is asked may say the client must not say in its stead.
            asked.forward_auth.iter().for_each(|auth| take_away(auth, &mut parts.headers));
            return Ok(Granted::default());
        }
        auth::judge(self, parts).await.map_err(Denied::Own)?;
        forward_auth::ask(self, parts, fields).await
    }

    /// Sends a request that may pass to a backend.
    async fn send(
        &self,
        pool: Arc<PoolPlan>,
        mut granted: Granted,
        parts: Parts,
        incoming: Incoming,
        fields: &Fields,
        underway: Underway,
    ) -> Response<ResponseBody> {
        let pool = canary::choose(self, &parts, pool);
        let (mut request, upgrade) = prepare(self.session, parts, incoming, fields);
        tell(self.session, request.headers_mut(), self.asker);
        granted.give(&mut request);
        if self.plan.asked.forward_auth.is_some() {
            request.body_mut().withhold(&self.plan.asked);
        }
        if let Err(refusal) = rewrite::edit(self, &mut request) {
            return own(refusal, underway);
        }
        if let Some(edits) = &self.plan.request_headers {
            edits.apply(request.headers_mut());
        }
        let is_over = body::limit(self, &mut request);
        let request = mirror::hear(self, request);
        let outgoing = Outgoing { request, upgrade, underway, client: self.asker.client, untold: None };
        let mut answer = match forward(self.session, pool, outgoing).await {
            Ok(mut answer) => {
                renames::edit(&self.plan.asked.renames, answer.headers_mut());
                answer
            }
            Err((.., underway)) if is_over.is_some_and(|is_over| is_over.get()) => own(body::refusal(self), underway),
            Err((status, reason, underway)) => own(self.asker.answer(status, reason), underway),
        };
        granted.tell(&mut answer);
        answer
    }

    /// Makes of an answer the one for the client.
    fn finish(&self, wanted: &Wanted, answer: Response<ResponseBody>) -> Response<ResponseBody> {
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return answer;
        }
        let mut answer = errors::dress(self, wanted, answer);
        if let Some(edits) = &self.plan.response_headers {
            edits.apply(answer.headers_mut());
        }
        // Said in the clear it could be anybody's word (RFC 6797 §7.2).
        if let Some(hsts) = self.plan.hsts.as_ref().filter(|_| wanted.is_https) {
            let _ = answer.headers_mut().try_insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
        cors::edit(self, wanted, answer.headers_mut());
        compress::shrink(self, wanted, answer)
    }
}
