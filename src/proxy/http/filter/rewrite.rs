//! The path and the host that the backend sees. The query stays as it is.

use bytes::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};

use super::Filtering;
use crate::model::filter::PathPlan;
use crate::model::path::{PathRules, Slashes, normal};
use crate::proxy::http::body::RequestBody;
use crate::proxy::http::path::with_target;

/// By which backends know what to put before the links they make.
static X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Edits the request for the backend, or gives the answer where no path that may be forwarded comes of it.
pub(super) fn edit(filtering: &Filtering<'_>, request: &mut Request<RequestBody>) -> Result<(), Response<Bytes>> {
    if let Some(host) = &filtering.plan.rewrite_host {
        request.headers_mut().insert(header::HOST, host.clone());
    }
    let Some(edit) = &filtering.plan.rewrite_path else { return Ok(()) };
    let Some(uri) = edited(request.uri(), edit) else {
        let reason = "the path cannot be rewritten to one that may be forwarded";
        return Err(filtering.asker.answer(StatusCode::BAD_REQUEST, reason));
    };
    *request.uri_mut() = uri;
    if let Some(prefix) = edit.stripped().and_then(|prefix| HeaderValue::from_str(prefix).ok()) {
        request.headers_mut().insert(&X_FORWARDED_PREFIX, prefix);
    }
    Ok(())
}

fn edited(uri: &Uri, edit: &PathPlan) -> Option<Uri> {
    // Slashes were merged where that is asked for.
    let rules = PathRules { slashes: Slashes::Keep, ..PathRules::default() };
    let path = normal(&edit.apply(uri.path()), &rules).ok()?.path.into_owned();
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    with_target(uri, target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::intent::PathMatch;
    use crate::model::intent::filter::PathEdit;

    #[test]
    fn what_comes_out_is_as_safe_as_what_may_come_in() {
        let regex = |find: &str, put: &str| PathEdit::Regex { find: find.into(), put: put.into() };
        let plan = |edit: &PathEdit| PathPlan::of(edit, &PathMatch::Prefix("/api".into())).unwrap();
        let edited = |edit: &PathEdit, uri: &str| edited(&uri.parse().unwrap(), &plan(edit)).map(|uri| uri.to_string());
        let strip = PathEdit::Prefix("/".into());
        assert_eq!(edited(&strip, "/api/x?a=/api").as_deref(), Some("/x?a=/api"));
        assert_eq!(edited(&strip, "/api?").as_deref(), Some("/?"));
        assert_eq!(edited(&strip, "/api//b.test/").as_deref(), Some("/b.test/"));
        assert_eq!(edited(&strip, "/api/gr%2Foup").as_deref(), Some("/gr%2Foup"));
        // Two halves that were harmless apart.
        assert_eq!(edited(&regex("^/api/(.)x(.)", "/$1$2"), "/api/.x./etc"), None);
        assert_eq!(edited(&regex("^/api/", "/%2"), "/api/e./x").as_deref(), None);
    }
}
