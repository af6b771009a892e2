//! Another server is asked whether a request may pass.

use bytes::Bytes;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request, Response};

use super::Filtering;
use crate::proxy::http::body::RequestBody;

/// Asks; gives the fields that the backend is given, or the answer to a request that may not pass.
pub(super) async fn ask(_filtering: &Filtering<'_>, _parts: &mut Parts) -> Result<HeaderMap, Response<Bytes>> {
    Ok(HeaderMap::new())
}

/// Puts what was granted into the request for the backend.
pub(super) fn grant(request: &mut Request<RequestBody>, granted: HeaderMap) {
    request.headers_mut().extend(granted);
}
