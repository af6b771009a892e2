//! Pages of our own in place of error answers. The status stays, and so do the fields that say what to do next.

use hyper::Response;
use hyper::header::{self, HeaderName, HeaderValue};

use super::{Filtering, Wanted};
use crate::proxy::http::body::ResponseBody;

/// What a backend says of a body that nobody gets.
static OF_BODY: [HeaderName; 13] = [
    header::ACCEPT_RANGES,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LOCATION,
    header::CONTENT_RANGE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::TRAILER,
    // Of its bytes (RFC 9530, and what was there before).
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("repr-digest"),
];

/// The answer, or the page for its status.
pub(super) fn dress(
    filtering: &Filtering<'_>,
    wanted: &Wanted,
    mut answer: Response<ResponseBody>,
) -> Response<ResponseBody> {
    let Some(page) = filtering.plan.asked.errors.get(&answer.status().as_u16()) else { return answer };
    if !page.backends && !answer.body().is_own() {
        return answer;
    }
    let Ok(content_type) = HeaderValue::from_str(&page.content_type) else { return answer };
    let headers = answer.headers_mut();
    for name in &OF_BODY {
        headers.remove(name);
    }
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CONTENT_LENGTH, page.body.len().into());
    answer.body_mut().replace((!wanted.is_head).then(|| page.body.clone()));
    answer
}
