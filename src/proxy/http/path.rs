//! The path of a request, brought into the form that decides its route and that its backend gets.

use hyper::Uri;
use hyper::http::uri::PathAndQuery;

use super::head::{Refusal, bad};
use super::session::Session;
use crate::model::path::is_plain;

/// What is said of a path that belongs to one route as it is, and to another as some backends read it.
const AMBIGUOUS: Refusal = bad("the path can be read in two ways that belong to different routes");

/// Brings the path of a request to `host` into its normal form by the rules of the session's listener. Nearly every one
/// is in it; that costs one look at its bytes.
pub(super) fn normalize(session: &Session, host: Option<&str>, uri: &mut Uri) -> Result<(), Refusal> {
    if is_plain(uri.path()) {
        return Ok(());
    }
    let form = session.worker.reader.read(|snapshot| {
        let (form, agrees) = snapshot.normal(&session.key, host, uri.path()).map_err(|fault| bad(fault.reason()))?;
        if !agrees {
            return Err(AMBIGUOUS);
        }
        Ok((form != uri.path()).then(|| form.into_owned()))
    })?;
    if let Some(mut target) = form {
        if let Some(query) = uri.query() {
            target.push('?');
            target.push_str(query);
        }
        *uri = with_target(uri, target).ok_or(AMBIGUOUS)?;
    }
    Ok(())
}

/// The URI with another path and query; `None` when it cannot be one.
pub(super) fn with_target(uri: &Uri, target: String) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}

/// What of the URI is said to its own server (RFC 9112 §3.2.1). Never empty: of a target as `http://host#part` nothing
/// is left but a `/`.
pub(super) fn origin_form(uri: &Uri) -> Uri {
    // `http` shows an empty path as `/` for as long as there is a scheme; the URI by default is one.
    let target = uri.path_and_query().filter(|target| target.as_str() != "/");
    target.cloned().map_or_else(Uri::default, Uri::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_path_leaves_the_rest_of_the_uri() {
        for (uri, expected) in [("/a?b", "/c?b"), ("http://h:1/a?b", "http://h:1/c?b")] {
            assert_eq!(with_target(&uri.parse().unwrap(), "/c?b".to_owned()).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn what_a_server_of_its_own_is_asked_for_is_never_empty() {
        for (uri, expected) in [
            ("http://a#x", "/"),
            ("http://a", "/"),
            ("http://a/", "/"),
            ("http://a/b?c#d", "/b?c"),
            ("http://a?b", "/?b"),
        ] {
            assert_eq!(origin_form(&uri.parse().unwrap()).to_string(), expected, "{uri}");
        }
    }
}
