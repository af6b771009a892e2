//! Names and passwords (RFC 7617).

use bytes::Bytes;
use hyper::Response;
use hyper::http::request::Parts;

use super::Filtering;

/// The answer to a request without a right name and password.
pub(super) async fn judge(_filtering: &Filtering<'_>, _parts: &mut Parts) -> Result<(), Response<Bytes>> {
    Ok(())
}
