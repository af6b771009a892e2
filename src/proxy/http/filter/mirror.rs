//! Another pool hears requests too.

use hyper::Request;

use super::Filtering;
use crate::proxy::http::body::RequestBody;

/// The request for the backend, ready to be sent; the mirror gets a copy.
pub(super) fn hear(_filtering: &Filtering<'_>, request: Request<RequestBody>) -> Request<RequestBody> {
    request
}
