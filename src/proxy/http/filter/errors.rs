//! Pages of our own in place of error answers.

use hyper::Response;

use super::{Filtering, Wanted};
use crate::proxy::http::body::ResponseBody;

/// The answer, or the page for its status.
pub(super) fn dress(
    _filtering: &Filtering<'_>,
    _wanted: &Wanted,
    answer: Response<ResponseBody>,
) -> Response<ResponseBody> {
    answer
}
