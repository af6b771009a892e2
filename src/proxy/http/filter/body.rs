//! How large the body of a request may be.
//!
//! One that says its length is refused before a byte of it is read. Of others the bytes are counted as they pass; the
//! one too many breaks off the request, which is answered with 413 as long as the backend has not answered.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};

use super::Filtering;
use crate::model::outcome::Outcome;
use crate::proxy::http::body::RequestBody;

/// The answer to a request that says it is too large.
pub(super) fn judge(filtering: &Filtering<'_>, parts: &Parts) -> Result<(), Response<Bytes>> {
    let Some(most) = filtering.plan.asked.max_body else { return Ok(()) };
    let Some(length) = parts.headers.get(header::CONTENT_LENGTH) else { return Ok(()) };
    // The head was checked: what is not a number here is one that is too long to be counted.
    let length = length.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
    if length > most { Err(refusal(filtering)) } else { Ok(()) }
}

/// Limits the body of a request on its way; the cell says later whether it was too large.
pub(super) fn limit(filtering: &Filtering<'_>, request: &mut Request<RequestBody>) -> Option<Rc<Cell<bool>>> {
    request.body_mut().limit(filtering.plan.asked.max_body?)
}

/// The answer to a request that is too large. The rest of its body is not worth its way, so the connection ends.
pub(super) fn refusal(filtering: &Filtering<'_>) -> Response<Bytes> {
    let session = filtering.session;
    let mut answer = filtering.asker.answer(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than this route takes");
    if !session.h2.get() {
        session.outcome.set(Outcome::Done);
        session.lingers.set(true);
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}
