//! What a route's filters do to a request before it is sent to a backend, and to the answer on its way back.
//!
//! The order is fixed, as the cheapest refusal comes first and nobody who may not pass costs a backend anything: source
//! ranges, rate, body size, CORS preflight, basic auth, forward auth, canary, mirror; then the request is made for the
//! backend and its path, host and fields are edited; of the answer the error page, fields, HSTS, CORS and, last, the
//! compression. A route without filters never comes here.

use bytes::Bytes;
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use super::answer::Asker;
use super::session::Session;
use crate::model::filter::FilterPlan;

/// One request of a route with filters.
pub(super) struct Filtering<'r> {
    /// The client's connection.
    pub(super) session: &'r Session,
    /// What is done.
    pub(super) plan: &'r FilterPlan,
    /// Makes answers.
    pub(super) asker: &'r Asker,
}

impl Filtering<'_> {
    /// The answer to a request that may not pass, judged by its head; `None`: it may.
    pub(super) fn refuses(&self, _parts: &Parts) -> Option<Response<Bytes>> {
        if !self.plan.sources.admits(self.session.peer) {
            return Some(self.asker.answer(StatusCode::FORBIDDEN, "this address may not use this route"));
        }
        None
    }
}
