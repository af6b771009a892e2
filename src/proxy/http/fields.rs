//! Pure. Header fields: which are for the next hop alone, which a client may not set, what one pass over them finds.

use hyper::HeaderMap;
use hyper::header::{self, HeaderName, HeaderValue};

use crate::proxy::tls::is_client_field;

/// From whom a message comes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    /// A request.
    Client,
    /// A request by a proxy that is believed what it says of the client.
    Proxy,
    /// An answer.
    Backend,
}

/// What one pass over the fields of a message found, so that nothing is looked up that is not there.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// How many `Host` fields.
    pub(super) hosts: usize,
    /// How many `Content-Length` fields.
    pub(super) lengths: usize,
    /// How many `Transfer-Encoding` fields.
    pub(super) codings: usize,
    /// How many `Cookie` fields.
    pub(super) cookies: usize,
    /// Whether `Accept` asks for JSON first.
    pub(super) json: bool,
    /// Whether there is an `Upgrade` field.
    pub(super) upgrade: bool,
    connection: bool,
    te: bool,
    // Others to be dropped.
    drop: Vec<HeaderName>,
}

impl Fields {
    /// Looks at each field once.
    pub(super) fn of(headers: &HeaderMap, side: Side) -> Self {
        let mut found = Self::default();
        for (name, value) in headers {
            match name.as_str() {
                "host" => found.hosts += 1,
                "content-length" => found.lengths += 1,
                "transfer-encoding" => found.codings += 1,
                "cookie" => found.cookies += 1,
                "accept" => found.json |= value.as_bytes().starts_with(b"application/json"),
                "connection" => found.connection = true,
                "upgrade" => found.upgrade = true,
                "te" => found.te = true,
                "keep-alive" | "proxy-connection" => found.drop.push(name.clone()),
                other if side == Side::Client && ends_here(other) => found.drop.push(name.clone()),
                other if side == Side::Proxy && ends_here(other) && !is_said_right(other) => {
                    found.drop.push(name.clone());
                }
                "proxy-authenticate" | "proxy-authentication-info" => found.drop.push(name.clone()),
                _ => {}
            }
        }
        found
    }

    /// Whether the client says, in so many words and no others, that it asks nothing more on its connection.
    pub(super) fn says_close(&self, headers: &HeaderMap) -> bool {
        let mut said = headers.get_all(header::CONNECTION).iter();
        self.connection
            && said.next().is_some_and(|said| said.as_bytes().eq_ignore_ascii_case(b"close"))
            && said.next().is_none()
    }

    /// To which protocol the client asks to switch, by both fields that it takes (RFC 9110 §7.8). Only one protocol in
    /// one field, so that no backend reads another there; and never HTTP/2, since behind us the connection is another.
    pub(super) fn asks_upgrade(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if !self.upgrade || !self.connection {
            return None;
        }
        let mut named = headers.get_all(header::UPGRADE).iter();
        let (Some(protocol), None) = (named.next(), named.next()) else { return None };
        let token = protocol.to_str().ok()?;
        let is_one = !token.is_empty() && !token.contains([',', ' ', '\t']);
        let is_h2 = token.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("h2"));
        let wants = tokens(headers, &header::CONNECTION).any(|t| t.eq_ignore_ascii_case("upgrade"));
        (is_one && !is_h2 && wants).then(|| protocol.clone())
    }

    /// Drops the fields of a request that end here: hop-by-hop ones, those that `Connection` names, and forwarding
    /// fields that a client has no business to set. `Upgrade` stays if `upgrade`.
    pub(super) fn clean_request(&self, headers: &mut HeaderMap, upgrade: bool) {
        let trailers = self.te && tokens(headers, &header::TE).any(|t| t.eq_ignore_ascii_case("trailers"));
        self.drop_connection(headers);
        for name in &self.drop {
            headers.remove(name);
        }
        if self.te {
            headers.remove(header::TE);
        }
        if trailers {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        match (upgrade, trailers) {
            (true, _) => drop(headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"))),
            (false, true) => drop(headers.insert(header::CONNECTION, HeaderValue::from_static("te"))),
            (false, false) => {}
        }
        if self.upgrade && !upgrade {
            headers.remove(header::UPGRADE);
        }
    }

    fn drop_connection(&self, headers: &mut HeaderMap) {
        if !self.connection {
            return;
        }
        let named: Vec<HeaderName> = tokens(headers, &header::CONNECTION)
            .filter(|token| !is_kept(token))
            .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
            .collect();
        headers.remove(header::CONNECTION);
        for name in named {
            headers.remove(name);
        }
    }
}

/// Drops from trailers what frames, routes, authenticates or tells of the client: a backend that merges trailers into
/// its fields would believe them (RFC 9110 §6.5.1).
pub(super) fn clean_trailers(trailers: &mut HeaderMap) {
    let is_wrong = |name: &str| {
        ends_here(name)
            || name.starts_with("content-")
            || matches!(
                name,
                "authorization"
                    | "connection"
                    | "cookie"
                    | "host"
                    | "keep-alive"
                    | "set-cookie"
                    | "te"
                    | "trailer"
                    | "transfer-encoding"
                    | "upgrade"
            )
    };
    let wrong: Vec<HeaderName> = trailers
        .iter()
        .filter(|(name, value)| is_wrong(name.as_str()) || is_malformed(name, value))
        .map(|(n, _)| n.clone())
        .collect();
    for name in wrong {
        trailers.remove(name);
    }
}

/// Whether a field of HTTP/2 cannot be one of HTTP/1.1: its name is no token (the `http` crate takes quotes), or its
/// value begins or ends with white space, which would be taken off.
pub(super) fn is_malformed(name: &HeaderName, value: &HeaderValue) -> bool {
    let is_white = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_white(value.as_bytes().first()) || is_white(value.as_bytes().last()) || name.as_str().contains('"')
}

/// Drops the fields of an answer that end here. Those of a switch of protocols stay if `upgrade`.
pub(super) fn clean_response(headers: &mut HeaderMap, upgrade: bool) {
    let found = Fields::of(headers, Side::Backend);
    found.drop_connection(headers);
    if found.codings > 0 {
        // How the body is framed to the client is decided anew; with both, the coding holds (RFC 9112 §6.3).
        headers.remove(header::TRANSFER_ENCODING);
        headers.remove(header::CONTENT_LENGTH);
    } else if found.lengths > 1
        && let Some(length) = headers.get(header::CONTENT_LENGTH).cloned()
    {
        // Several that do not agree were refused when the answer was read.
        headers.insert(header::CONTENT_LENGTH, length);
    }
    for name in &found.drop {
        headers.remove(name);
    }
    if found.te {
        headers.remove(header::TE);
    }
    if upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    } else if found.upgrade {
        headers.remove(header::UPGRADE);
    }
}

/// The elements of a field that is a list, over all its lines.
fn tokens<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

/// Names that `Connection` may not take away: options of its own, and what decides where a message goes and ends.
fn is_kept(token: &str) -> bool {
    ["close", "content-length", "host", "keep-alive", "te", "transfer-encoding", "upgrade"]
        .iter()
        .any(|kept| token.eq_ignore_ascii_case(kept))
}

/// Whether a field of a request is for us alone, or not the client's to set. `Expect` is answered here: the 100 is sent
/// when the backend takes the body. `Proxy` would become a setting of CGI programs.
fn ends_here(name: &str) -> bool {
    matches!(name, "expect" | "http2-settings" | "proxy")
        || name.starts_with("proxy-")
        || is_forwarding(name)
        || is_client_field(name)
        || is_framing_alias(name)
}

/// Whether a field is one by which proxies tell backends of the client, in any spelling that a backend could take for
/// it (`X_Forwarded_For` becomes the same variable in CGI and WSGI).
fn is_forwarding(name: &str) -> bool {
    const EXACT: [&str; 3] = ["forwarded", "x-real-ip", "x-request-id"];
    const FAMILY: &str = "x-forwarded-";
    if !name.starts_with(['f', 'x']) {
        return false;
    }
    EXACT.iter().any(|ours| name.len() == ours.len() && is_spelling(name, ours))
        || name.get(..FAMILY.len()).is_some_and(|start| is_spelling(start, FAMILY))
}

/// Whether it is one of the fields by which proxies tell of the client, spelled as it should be.
fn is_said_right(name: &str) -> bool {
    matches!(name, "forwarded" | "x-real-ip" | "x-request-id") || name.starts_with("x-forwarded-")
}

/// Whether a backend could take the field for one that frames the message, though it is spelled with `_` or `.`.
fn is_framing_alias(name: &str) -> bool {
    const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];
    name.starts_with(['c', 't']) && FRAMING.iter().any(|framing| name != *framing && is_spelling(name, framing))
}

fn is_spelling(name: &str, of: &str) -> bool {
    let hyphen = |b: u8| if matches!(b, b'_' | b'.') { b'-' } else { b };
    name.bytes().map(hyphen).eq(of.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_is_for_this_hop_ends_here() {
        let mut headers = map(&[
            ("connection", "keep-alive, X-Secret, host"),
            ("connection", "x-other"),
            ("x-secret", "1"),
            ("x-other", "1"),
            ("host", "a"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic eA=="),
            ("proxy", "http://evil.test"),
            ("te", "gzip, trailers"),
            ("upgrade", "h2c"),
            ("x-mine", "1"),
        ]);
        let found = Fields::of(&headers, Side::Client);
        assert_eq!(found.asks_upgrade(&headers), None, "h2c");
        found.clean_request(&mut headers, false);
        assert_eq!(names(&headers), ["connection", "host", "te", "x-mine"]);
        assert_eq!(headers["te"], "trailers");
        assert_eq!(headers["connection"], "te");
    }

    #[test]
    fn an_upgrade_takes_its_two_fields_along() {
        let mut headers = map(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        let found = Fields::of(&headers, Side::Client);
        assert_eq!(found.asks_upgrade(&headers).unwrap(), "websocket");
        found.clean_request(&mut headers, true);
        assert_eq!(headers["connection"], "upgrade");
        assert_eq!(headers["upgrade"], "websocket");
    }

    #[test]
    fn forwarding_fields_are_known_in_every_spelling() {
        for name in ["forwarded", "x-real-ip", "x_real_ip", "x.request.id", "x_forwarded-for", "x-forwarded-user"] {
            assert!(is_forwarding(name), "{name}");
        }
        for name in ["x-real-ipv6", "x-forwarded", "forwarded-by", "x-requested-with", "from"] {
            assert!(!is_forwarding(name), "{name}");
        }
    }

    #[test]
    fn a_trusted_proxy_is_believed_what_it_spells_right() {
        let mut headers = map(&[
            ("forwarded", "for=192.0.2.7"),
            ("proxy", "x"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-prefix", "/x"),
            ("x_forwarded_for", "6.6.6.6"),
            ("x-forwarded_for", "6.6.6.6"),
            ("x.real.ip", "6.6.6.6"),
            ("x-request-id", "1"),
        ]);
        Fields::of(&headers, Side::Proxy).clean_request(&mut headers, false);
        assert_eq!(names(&headers), ["forwarded", "x-forwarded-for", "x-forwarded-prefix", "x-request-id"]);
    }

    #[test]
    fn an_answer_with_two_framings_keeps_neither() {
        let mut headers = map(&[
            ("transfer-encoding", "chunked"),
            ("content-length", "3"),
            ("proxy-status", "x"),
            ("server", "x"),
            ("x-request-id", "theirs"),
        ]);
        clean_response(&mut headers, false);
        assert_eq!(names(&headers), ["proxy-status", "server", "x-request-id"]);
        let mut headers = map(&[("content-length", "3"), ("content-length", "3")]);
        clean_response(&mut headers, false);
        assert_eq!(headers.get_all("content-length").iter().count(), 1);
    }
}
