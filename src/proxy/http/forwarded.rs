//! Pure. What backends are told of the client, and whose word is taken for it.
//!
//! A proxy in front that the listener trusts has told something already: `X-Forwarded-For` then grows by the proxy's own
//! address, and what else it said stays. Of anybody else nothing of the kind comes this far.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::{self, HeaderName, HeaderValue};

use super::answer::X_REQUEST_ID;
use super::direct::write_field;
use crate::model::source::RangeSet;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The longest id of a request that is taken over from a trusted proxy, in bytes.
const ID: usize = 200;

/// The hop by which a request came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hop<'s> {
    /// Who connected.
    pub(super) peer: &'s HeaderValue,
    /// `http` or `https`.
    pub(super) proto: &'s HeaderValue,
    /// The port that was connected to.
    pub(super) port: &'s HeaderValue,
}

/// Tells the backend of a client that connected itself.
pub(super) fn tell(headers: &mut HeaderMap, hop: Hop<'_>, id: &HeaderValue) {
    if let Some(host) = headers.get(header::HOST).cloned() {
        headers.insert(&X_FORWARDED_HOST, host);
    }
    headers.insert(&X_FORWARDED_FOR, hop.peer.clone());
    headers.insert(&X_FORWARDED_PROTO, hop.proto.clone());
    headers.insert(&X_FORWARDED_PORT, hop.port.clone());
    headers.insert(&X_REAL_IP, hop.peer.clone());
    headers.insert(&X_REQUEST_ID, id.clone());
}

/// The same, written behind the fields of a head that has none of these.
pub(super) fn write(bytes: &mut Vec<u8>, headers: &HeaderMap, hop: Hop<'_>, id: &HeaderValue) {
    if let Some(host) = headers.get(header::HOST) {
        write_field(bytes, "x-forwarded-host", host);
    }
    write_field(bytes, "x-forwarded-for", hop.peer);
    write_field(bytes, "x-forwarded-proto", hop.proto);
    write_field(bytes, "x-forwarded-port", hop.port);
    write_field(bytes, "x-real-ip", hop.peer);
    write_field(bytes, "x-request-id", id);
}

/// Tells the backend of a client that came by a trusted proxy: what the proxy said stays, the rest is filled in.
pub(super) fn tell_on(headers: &mut HeaderMap, hop: Hop<'_>, client: IpAddr, id: &HeaderValue) {
    let so_far: Vec<&[u8]> = headers.get_all(&X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
    let list = [&so_far[..], &[hop.peer.as_bytes()]].concat().join(&b", "[..]);
    headers.insert(&X_FORWARDED_FOR, HeaderValue::from_bytes(&list).unwrap_or_else(|_| hop.peer.clone()));
    if let Some(host) = headers.get(header::HOST).cloned() {
        headers.entry(&X_FORWARDED_HOST).or_insert(host);
    }
    // By `Forwarded` too; and then our own port is not the one that the client asked.
    let (proto, port) = match is_https(headers) {
        Some(true) if hop.proto != "https" => (HeaderValue::from_static("https"), HeaderValue::from_static("443")),
        Some(false) if hop.proto != "http" => (HeaderValue::from_static("http"), HeaderValue::from_static("80")),
        _ => (hop.proto.clone(), hop.port.clone()),
    };
    headers.entry(&X_FORWARDED_PROTO).or_insert(proto);
    headers.entry(&X_FORWARDED_PORT).or_insert(port);
    if !headers.contains_key(&X_REAL_IP)
        && let Ok(client) = HeaderValue::from_str(&client.to_string())
    {
        headers.insert(&X_REAL_IP, client);
    }
    headers.insert(&X_REQUEST_ID, id.clone());
}

/// The client of a request that came from `peer`: each trusted hop is asked who was before it, from the last one on,
/// until one is not trusted or does not say. What stands left of that is anybody's invention.
pub(super) fn client_of(headers: &HeaderMap, peer: IpAddr, trusted: &RangeSet) -> IpAddr {
    let mut client = peer;
    for line in headers.get_all(&X_FORWARDED_FOR).iter().rev() {
        let Ok(line) = line.to_str() else { return client };
        for hop in line.rsplit(',') {
            if !trusted.contains(client) {
                return client;
            }
            let Some(before) = address(hop.trim()) else { return client };
            client = before;
        }
    }
    client
}

/// An address as proxies write it: bare, in brackets, with a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches('"');
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let ip: IpAddr = text.parse().ok().or_else(bare).or_else(|| text.parse::<SocketAddr>().ok().map(|a| a.ip()))?;
    Some(ip.to_canonical())
}

/// Whether the client of a trusted proxy came over https, if the proxy says how: by `X-Forwarded-Proto`, or else by
/// `Forwarded` (RFC 7239 §5.4). Of several hops the first is the client's. Some say of WebSockets `ws` and `wss`.
pub(super) fn is_https(headers: &HeaderMap) -> Option<bool> {
    let first = |name: &HeaderName| headers.get(name)?.to_str().ok()?.split(',').next().map(str::trim);
    let said = first(&X_FORWARDED_PROTO).or_else(|| {
        let mut pairs = first(&header::FORWARDED)?.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| name.eq_ignore_ascii_case("proto")).map(|(_, value)| value.trim_matches('"'))
    })?;
    let is_one_of = |words: [&str; 2]| words.iter().any(|word| said.eq_ignore_ascii_case(word));
    if is_one_of(["https", "wss"]) { Some(true) } else { is_one_of(["http", "ws"]).then_some(false) }
}

/// The id that a trusted proxy gave the request, if it is one that can be written anywhere.
pub(super) fn id_of(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut ids = headers.get_all(&X_REQUEST_ID).iter();
    let (Some(id), None) = (ids.next(), ids.next()) else { return None };
    let fits = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'/' | b'+' | b'=');
    let text = id.as_bytes();
    (!text.is_empty() && text.len() <= ID && text.iter().all(fits)).then(|| id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    fn forwarded(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&X_FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    #[test]
    fn the_client_is_the_first_from_the_right_that_is_not_trusted() {
        let trusted = RangeSet::new(&["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        for (peer, lines, client) in [
            ("10.0.0.1", &["192.0.2.7"][..], "192.0.2.7"),
            ("10.0.0.1", &["6.6.6.6, 192.0.2.7, 10.0.0.2"], "192.0.2.7"),
            ("10.0.0.1", &["6.6.6.6", "192.0.2.7,10.0.0.2"], "192.0.2.7"),
            ("10.0.0.1", &["192.0.2.7:4711"], "192.0.2.7"),
            ("10.0.0.1", &["\"[2001:db8::1]:80\""], "2001:db8::1"),
            ("fd00::1", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", &["::ffff:192.0.2.7"], "192.0.2.7"),
            // All trusted: the first one said.
            ("10.0.0.1", &["10.0.0.9, 10.0.0.2"], "10.0.0.9"),
            // Whoever says nothing of use is the last that is known.
            ("10.0.0.1", &["192.0.2.7, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("192.0.2.1", &["10.0.0.1"], "192.0.2.1"),
        ] {
            let found = client_of(&forwarded(lines), peer.parse().unwrap(), &trusted);
            assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
        }
    }

    #[test]
    fn what_is_written_is_what_would_be_in_the_fields() {
        let value = HeaderValue::from_static;
        let (peer, proto, port) = (value("192.0.2.7"), value("https"), value("443"));
        let hop = Hop { peer: &peer, proto: &proto, port: &port };
        for host in [None, Some("a.test:443")] {
            let mut headers = HeaderMap::new();
            headers.extend(host.map(|host| (header::HOST, value(host))));
            let mut written = Vec::new();
            write(&mut written, &headers, hop, &value("id"));
            let mut told = HeaderMap::new();
            told.extend(host.map(|host| (header::HOST, value(host))));
            tell(&mut told, hop, &value("id"));
            told.remove(header::HOST);
            let mut expected: Vec<String> =
                told.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
            let written = String::from_utf8(written).unwrap();
            let mut written: Vec<&str> = written.split_terminator("\r\n").collect();
            expected.sort();
            written.sort_unstable();
            assert_eq!(written, expected);
        }
    }

    #[test]
    fn what_a_trusted_proxy_said_stays_and_the_rest_is_filled_in() {
        let value = HeaderValue::from_static;
        let (peer, proto, port) = (value("10.0.0.1"), value("http"), value("80"));
        let hop = Hop { peer: &peer, proto: &proto, port: &port };
        let mut headers = map(&[("host", "a.test"), ("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "https")]);
        tell_on(&mut headers, hop, "192.0.2.7".parse().unwrap(), &value("id"));
        let expected = map(&[
            ("host", "a.test"),
            ("x-forwarded-for", "192.0.2.7, 10.0.0.1"),
            ("x-forwarded-host", "a.test"),
            ("x-forwarded-port", "443"),
            ("x-forwarded-proto", "https"),
            ("x-real-ip", "192.0.2.7"),
            ("x-request-id", "id"),
        ]);
        assert_eq!(headers, expected);
    }

    #[test]
    fn how_the_client_came_is_what_the_first_proxy_says() {
        let (proto, by) = ("x-forwarded-proto", "forwarded");
        for (said, https) in [
            (&[(proto, "https")][..], Some(true)),
            (&[(proto, "HTTPS, http")], Some(true)),
            (&[(proto, "wss")], Some(true)),
            (&[(proto, "http"), (by, "proto=https")], Some(false)),
            (&[(proto, "ws")], Some(false)),
            (&[(by, "for=192.0.2.7;Proto=https;by=_x, for=10.0.0.1;proto=http")], Some(true)),
            (&[(by, "proto=\"http\"; for=x")], Some(false)),
            (&[(by, "for=192.0.2.7")], None),
            (&[(by, "for=192.0.2.7, proto=https")], None),
            (&[(proto, "")], None),
            (&[(proto, "gopher")], None),
            (&[], None),
        ] {
            assert_eq!(is_https(&map(said)), https, "{said:?}");
        }
    }

    #[test]
    fn an_id_is_taken_over_if_it_can_be_written_anywhere() {
        assert_eq!(id_of(&map(&[("x-request-id", "7f3a-1:b_c.d")])).unwrap(), "7f3a-1:b_c.d");
        let long = "x".repeat(ID + 1);
        for wrong in ["", "a b", "a\"b", "<b>", &long] {
            assert_eq!(id_of(&map(&[("x-request-id", wrong)])), None, "{wrong}");
        }
        let mut two = map(&[("x-request-id", "a")]);
        two.append(&X_REQUEST_ID, HeaderValue::from_static("b"));
        assert_eq!(id_of(&two), None);
    }
}
