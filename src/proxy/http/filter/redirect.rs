//! Clients are sent elsewhere.

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use crate::model::filter::FilterPlan;
use crate::model::intent::filter::Scheme;
use crate::proxy::http::answer::Asker;
use crate::proxy::http::session::Session;

/// The answer that a route with a redirect gives to a request for this host.
pub(in crate::proxy::http) fn answer(
    session: &Session,
    asker: &Asker,
    plan: Option<&FilterPlan>,
    host: Option<&str>,
    parts: &Parts,
) -> Response<Bytes> {
    let Some(redirect) = plan.and_then(|plan| plan.redirect.as_ref()) else {
        return asker.answer(StatusCode::SERVICE_UNAVAILABLE, "no backend serves this");
    };
    let scheme = if session.is_https(&parts.headers) { Scheme::Https } else { Scheme::Http };
    let location = redirect.location(scheme, host, parts.uri.path(), parts.uri.query());
    let Some(location) = location.and_then(|location| HeaderValue::try_from(location).ok()) else {
        return asker.answer(StatusCode::BAD_REQUEST, "Host is missing");
    };
    let code = StatusCode::from_u16(redirect.code()).unwrap_or(StatusCode::PERMANENT_REDIRECT);
    let mut answer = asker.answer(code, "this is found elsewhere");
    answer.headers_mut().remove(header::CACHE_CONTROL);
    answer.headers_mut().insert(header::LOCATION, location);
    answer
}
