//! Which other origins' scripts may use a route: the CORS protocol of the Fetch standard.
//!
//! Preflights are answered here. Where a route has rules, what the backend says of the matter is dropped: two answers to
//! one question are none, and the rules that stand in the configuration are the ones that were meant.

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

use super::{Filtering, Wanted};
use crate::model::filter::cors::Grant;
use crate::proxy::http::answer::X_REQUEST_ID;

static PREFLIGHT_VARY: &str = "access-control-request-method, access-control-request-headers";

/// The answer to a preflight, which goes no further. Whoever is not granted is told nothing, and the browser makes of
/// that what it should. The origin itself is named by [`edit`], as on every answer.
pub(super) fn judge(filtering: &Filtering<'_>, parts: &Parts) -> Result<(), Response<Bytes>> {
    let Some(cors) = &filtering.plan.cors else { return Ok(()) };
    let asked = parts.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD);
    let (Some(_), Some(origin), true) = (asked, parts.headers.get(header::ORIGIN), parts.method == Method::OPTIONS)
    else {
        return Ok(());
    };
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    headers.insert(X_REQUEST_ID.clone(), filtering.asker.id.clone());
    headers.insert(header::VARY, HeaderValue::from_static(PREFLIGHT_VARY));
    if cors.grant(Some(origin)) != Grant::None {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, cors.methods.clone());
        let granted = cors.headers.as_ref().or_else(|| parts.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS));
        if let Some(granted) = granted {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, granted.clone());
        }
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, cors.max_age.clone());
    }
    Err(answer)
}

/// Says in an answer which origin may read it.
pub(super) fn edit(filtering: &Filtering<'_>, wanted: &Wanted, headers: &mut HeaderMap) {
    let Some(cors) = &filtering.plan.cors else { return };
    headers.remove(header::ACCESS_CONTROL_ALLOW_ORIGIN);
    headers.remove(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
    headers.remove(header::ACCESS_CONTROL_EXPOSE_HEADERS);
    let origin = match cors.grant(wanted.origin.as_ref()) {
        Grant::Any => Some(HeaderValue::from_static("*")),
        grant => {
            let _ = headers.try_append(header::VARY, HeaderValue::from_static("origin"));
            match grant {
                Grant::One(origin) => Some(origin),
                Grant::Any | Grant::None => None,
            }
        }
    };
    let Some(origin) = origin else { return };
    let _ = headers.try_insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if cors.credentials {
        let _ = headers.try_insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    if let Some(expose) = &cors.expose {
        let _ = headers.try_insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
    }
}
