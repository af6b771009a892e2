//! Pure. The head of a request, checked before anything is decided by it: what is malformed or could mean two things
//! is refused, so that routes and backends never disagree about it.

use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{Method, StatusCode, Uri, Version, header};

use super::fields::{Fields, is_malformed};
use crate::model::path::PathFault;

/// Why a request is not served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Refusal {
    /// The status of the answer.
    pub(super) status: StatusCode,
    /// What is wrong, for the client.
    pub(super) reason: &'static str,
}

/// A request that is malformed.
pub(super) const fn bad(reason: &'static str) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, reason }
}

/// What is said of a host that is none.
pub(super) const BAD_HOST: Refusal = bad("Host must be a name or an address, with a port or without");

/// What is said of a head whose bytes could mean something else to others.
pub(super) const AMBIGUOUS: Refusal =
    bad("the request can be read in two ways: lines end in CR LF, and one field says how long the body is");

/// What is said of a host that belongs to another connection.
pub(super) const MISDIRECTED: Refusal = Refusal {
    status: StatusCode::MISDIRECTED_REQUEST,
    reason: "this connection was opened for another host's certificate; ask on one of its own",
};

/// The longest request target, in bytes.
const TARGET: usize = 16 * 1024;

/// Checks the head and gives the authority that the request names: host, and port if there is one. `None` only for
/// HTTP/1.0, which need not name any. The path is looked at later. What hyper hides of a head in HTTP/1, as
/// `Content-Length` beside `Transfer-Encoding`, was looked for in its bytes: see `raw`.
pub(super) fn check<'h>(parts: &'h Parts, fields: &Fields) -> Result<Option<&'h str>, Refusal> {
    if parts.method == Method::CONNECT {
        return Err(Refusal { status: StatusCode::METHOD_NOT_ALLOWED, reason: "CONNECT is not served here" });
    }
    // Its answer would show what proxies add to requests.
    if parts.method == Method::TRACE {
        return Err(Refusal { status: StatusCode::METHOD_NOT_ALLOWED, reason: "TRACE is not served here" });
    }
    if parts.uri.path_and_query().is_some_and(|target| target.as_str().len() > TARGET) {
        return Err(Refusal { status: StatusCode::URI_TOO_LONG, reason: "the request target is too long" });
    }
    check_framing(parts, fields)?;
    // `:path` begins with `/` (RFC 9113 §8.3.1). In HTTP/1.1 this may be of `http://host?query`.
    if parts.version == Version::HTTP_2 && parts.uri.path_and_query().is_some_and(|target| !begins_with_slash(target)) {
        return Err(bad(PathFault::Relative.reason()));
    }
    // Such fields are malformed in HTTP/2 (RFC 9113 §8.2.1). In HTTP/1.1 the white space is not part of the value, and
    // hyper refuses such names.
    if parts.version == Version::HTTP_2 && parts.headers.iter().any(|(name, value)| is_malformed(name, value)) {
        return Err(bad("a field has no token for its name, or begins or ends with white space"));
    }
    if parts.uri.query().is_some_and(|query| !query.is_ascii()) {
        return Err(bad("the query has bytes that must be percent-encoded"));
    }
    if !parts.uri.path().starts_with('/') {
        return Err(bad(PathFault::Relative.reason()));
    }
    if parts.uri.scheme_str().is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
        return Err(bad("the scheme must be http or https"));
    }
    authority(parts, fields)
}

/// Whether a path is there and begins with `/`. Of one that is a fragment alone nothing is left, which `http` shows as
/// `/` as long as there is a scheme.
fn begins_with_slash(target: &PathAndQuery) -> bool {
    match target.as_str() {
        "/" => !Uri::from(target.clone()).path().is_empty(),
        target => target.starts_with('/'),
    }
}

fn check_framing(parts: &Parts, fields: &Fields) -> Result<(), Refusal> {
    if fields.codings > 0 {
        let coding = parts.headers.get(header::TRANSFER_ENCODING).map(|value| value.as_bytes());
        if fields.codings > 1 || !coding.is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked")) {
            return Err(bad("the only Transfer-Encoding understood is chunked, once"));
        }
        if fields.lengths > 0 {
            return Err(bad("Content-Length and Transfer-Encoding exclude each other"));
        }
    }
    if fields.lengths > 1 {
        return Err(bad("there must be one Content-Length"));
    }
    if fields.lengths == 1 {
        let length = parts.headers.get(header::CONTENT_LENGTH).map(|value| value.as_bytes());
        if !length.is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)) {
            return Err(bad("Content-Length must be a number"));
        }
    }
    Ok(())
}

fn authority<'h>(parts: &'h Parts, fields: &Fields) -> Result<Option<&'h str>, Refusal> {
    if fields.hosts > 1 {
        return Err(bad("there must be one Host"));
    }
    let target = parts.uri.authority().map(|authority| authority.as_str());
    if target.is_some_and(|authority| authority.contains('@')) {
        return Err(bad("the request target must not name a user"));
    }
    let host = match parts.headers.get(header::HOST) {
        Some(host) => Some(host.to_str().map_err(|_| bad("Host must be a name or an address"))?),
        None => None,
    };
    match (target, host) {
        (Some(target), Some(host)) if !target.eq_ignore_ascii_case(host) => {
            Err(bad("Host and the request target name different hosts"))
        }
        // HTTP/1.1 must send Host, even when the target is absolute (RFC 9112 §3.2).
        (_, None) if parts.version == Version::HTTP_11 => Err(bad("Host is missing")),
        (None, None) if parts.version == Version::HTTP_2 => Err(bad(":authority is missing")),
        (target, host) => Ok(host.or(target)),
    }
}

/// The host of an authority, without its port.
pub(super) fn host_of(authority: &str) -> Result<&str, Refusal> {
    let (host, port) = match authority.rsplit_once(':') {
        // The colons of a bracketed address are its own.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_port =
        |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && (port.is_empty() || port.parse::<u16>().is_ok());
    if port.is_some_and(|port| !is_port(port)) || host.contains(':') != host.starts_with('[') {
        return Err(BAD_HOST);
    }
    Ok(host)
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use hyper::header::HeaderName;
    use hyper::http::request::Builder;

    use super::*;
    use crate::proxy::http::fields::Side;

    fn checked(build: impl FnOnce(Builder) -> Builder) -> Result<Option<String>, u16> {
        let (parts, ()) = build(Request::builder()).body(()).unwrap().into_parts();
        let fields = Fields::of(&parts.headers, Side::Client);
        check(&parts, &fields).map(|authority| authority.map(str::to_owned)).map_err(|refusal| refusal.status.as_u16())
    }

    #[test]
    fn a_head_that_means_one_thing_passes() {
        assert_eq!(checked(|r| r.uri("/").header("host", "a.test:80")), Ok(Some("a.test:80".into())));
        assert_eq!(checked(|r| r.uri("http://A.test/x").header("host", "a.test")), Ok(Some("a.test".into())));
        assert_eq!(checked(|r| r.version(Version::HTTP_10).uri("/")), Ok(None));
        assert_eq!(checked(|r| r.version(Version::HTTP_2).uri("https://a.test/")), Ok(Some("a.test".into())));
        assert_eq!(
            checked(|r| r.uri("/").header("host", "a").header("transfer-encoding", "Chunked")),
            Ok(Some("a".into()))
        );
    }

    #[test]
    fn a_head_that_could_mean_two_things_is_refused() {
        assert_eq!(checked(|r| r.uri("/")), Err(400));
        assert_eq!(checked(|r| r.uri("/").header("host", "a").header("host", "a")), Err(400));
        assert_eq!(checked(|r| r.uri("http://b.test/").header("host", "a.test")), Err(400));
        assert_eq!(checked(|r| r.uri("http://u@a/").header("host", "u@a")), Err(400));
        assert_eq!(checked(|r| r.uri("ftp://a/").header("host", "a")), Err(400));
        assert_eq!(checked(|r| r.method("OPTIONS").uri("*").header("host", "a")), Err(400));
        assert_eq!(checked(|r| r.method("CONNECT").uri("a:1").header("host", "a:1")), Err(405));
        assert_eq!(checked(|r| r.method("TRACE").uri("/").header("host", "a")), Err(405));
        assert_eq!(checked(|r| r.version(Version::HTTP_2).uri("/")), Err(400));
        for path in ["?v", "#v", "#"] {
            let mut without_slash = Request::new(()).into_parts().0;
            without_slash.version = Version::HTTP_2;
            let target = Uri::builder().scheme("https").authority("a").path_and_query(path);
            without_slash.uri = target.build().unwrap();
            let fields = Fields::of(&without_slash.headers, Side::Client);
            assert_eq!(check(&without_slash, &fields), Err(bad(PathFault::Relative.reason())), "{path}");
        }
        assert_eq!(checked(|r| r.version(Version::HTTP_2).uri("https://a/#v")), Ok(Some("a".to_owned())));
        assert_eq!(checked(|r| r.uri("/?v=ю").header("host", "a")), Err(400));
        // As HPACK's reader makes it.
        let quoted = HeaderName::from_lowercase(b"\"x").unwrap();
        assert_eq!(checked(|r| r.version(Version::HTTP_2).uri("https://a/").header(quoted, "y")), Err(400));
        for value in [" x", "x ", "x\t", " "] {
            assert_eq!(checked(|r| r.version(Version::HTTP_2).uri("https://a/").header("x", value)), Err(400));
        }
        let coding =
            |value: &'static str| checked(|r| r.uri("/").header("host", "a").header("transfer-encoding", value));
        assert_eq!(coding("gzip, chunked"), Err(400));
        assert_eq!(coding("xchunked"), Err(400));
        let lengths = |a: &'static str, b: &'static str| {
            checked(|r| r.uri("/").header("host", "a").header("content-length", a).header("content-length", b))
        };
        assert_eq!(lengths("1", "2"), Err(400));
        assert_eq!(checked(|r| r.uri("/").header("host", "a").header("content-length", "+1")), Err(400));
    }

    #[test]
    fn the_port_is_taken_off_and_only_a_port() {
        for (authority, host) in
            [("a.test", "a.test"), ("a.test:8080", "a.test"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("a:", "a")]
        {
            assert_eq!(host_of(authority).unwrap(), host);
        }
        for authority in ["a:b", "a:1:2", "::1", "a:99999", "[::1]:x"] {
            assert!(host_of(authority).is_err(), "{authority}");
        }
    }
}
