//! What a route's filters do to a request before it is sent to a backend, and to the answer on its way back.
//!
//! The order is fixed, as the cheapest refusal comes first and nobody who may not pass costs a backend anything: source
//! ranges, rate, body size, CORS preflight, basic auth, forward auth, canary; then the request is made for the backend,
//! its path, host and fields are edited, and the mirror hears it; of the answer the error page, fields, HSTS, CORS and,
//! last, the compression. Answers that are made here are edited like those of backends. A route without filters never
//! comes here.
//!
//! Each step is a room of its own, called from this file alone.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use tracing::debug;

use super::answer::Asker;
use super::body::{ResponseBody, Underway};
use super::exchange::{own, prepare};
use super::fields::Fields;
use super::forward::{Outgoing, forward};
use super::session::Session;
use crate::model::filter::FilterPlan;
use crate::model::snapshot::PoolPlan;

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
mod rewrite;

/// One request of a route with filters.
pub(super) struct Filtering<'r> {
    /// The client's connection.
    pub(super) session: &'r Rc<Session>,
    /// What is done.
    pub(super) plan: &'r FilterPlan,
    /// Makes answers.
    pub(super) asker: &'r Asker,
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
    /// The codings that the client takes.
    codings: Option<HeaderValue>,
    /// Whether the answer has no body.
    is_head: bool,
}

impl Wanted {
    fn of(parts: &Parts) -> Self {
        Self {
            origin: parts.headers.get(header::ORIGIN).cloned(),
            codings: parts.headers.get(header::ACCEPT_ENCODING).cloned(),
            is_head: parts.method == Method::HEAD,
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
        let wanted = Wanted::of(&parts);
        let now = underway.started().duration_since(self.session.worker.epoch);
        let answer = match self.passes(&mut parts, now).await {
            Err(refusal) => own(refusal, underway),
            Ok(granted) => match leads {
                Leads::Answer(answer) => own(answer, underway),
                Leads::To(pool) => self.send(pool, granted, parts, incoming, fields, underway).await,
            },
        };
        self.finish(&wanted, answer)
    }

    /// Judges a request by its head: the fields that its backend is given beside its own, or the answer to a request
    /// that may not pass.
    async fn passes(&self, parts: &mut Parts, now: Duration) -> Result<HeaderMap, Response<Bytes>> {
        if !self.plan.sources.admits_ip(self.asker.client) {
            debug!(peer = %self.session.peer, client = %self.asker.client, "refused by the ranges of a route");
            return Err(self.asker.answer(StatusCode::FORBIDDEN, "this address may not use this route"));
        }
        rate::judge(self, parts, now)?;
        body::judge(self, parts)?;
        cors::judge(self, parts)?;
        auth::judge(self, parts).await?;
        forward_auth::ask(self, parts).await
    }

    /// Sends a request that may pass to a backend.
    async fn send(
        &self,
        pool: Arc<PoolPlan>,
        granted: HeaderMap,
        parts: Parts,
        incoming: Incoming,
        fields: &Fields,
        underway: Underway,
    ) -> Response<ResponseBody> {
        let pool = canary::choose(self, &parts, pool);
        let (mut request, upgrade) = prepare(self.session, parts, incoming, fields, self.asker);
        forward_auth::grant(&mut request, granted);
        if let Err(refusal) = rewrite::edit(self, &mut request) {
            return own(refusal, underway);
        }
        if let Some(edits) = &self.plan.request_headers {
            edits.apply(request.headers_mut());
        }
        let is_over = body::limit(self, &mut request);
        let request = mirror::hear(self, request);
        match forward(self.session, pool, Outgoing { request, upgrade, underway, client: self.asker.client }).await {
            Ok(answer) => answer,
            Err((.., underway)) if is_over.is_some_and(|is_over| is_over.get()) => own(body::refusal(self), underway),
            Err((status, reason, underway)) => own(self.asker.answer(status, reason), underway),
        }
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
        if let Some(hsts) = self.plan.hsts.as_ref().filter(|_| self.session.proto == "https") {
            let _ = answer.headers_mut().try_insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
        cors::edit(self, wanted, answer.headers_mut());
        compress::shrink(self, wanted, answer)
    }
}
