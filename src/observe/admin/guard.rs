//! Pure. Which requests are meant for the admin port. A web page whose own name was made to point at loopback (DNS
//! rebinding) still names itself in `Host`; such requests are turned away.

use std::net::{IpAddr, SocketAddr};

use hyper::header::HOST;
use hyper::{Request, Version};

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stranger {
    /// HTTP/1.1 without a `Host`, or with several: 400.
    NoHost,
    /// It names another host: 403.
    OtherHost,
}

/// Whether the request names this host: `localhost` or a loopback address, with any port, since the port may be
/// forwarded. HTTP/1.0 may name none: browsers, which alone can be tricked, do not speak it.
pub(super) fn names_us<B>(request: &Request<B>) -> Result<(), Stranger> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().map_err(|_| Stranger::NoHost)?,
        (None, _) if request.version() == Version::HTTP_10 => return Ok(()),
        _ => return Err(Stranger::NoHost),
    };
    let in_target = request.uri().authority().is_none_or(|authority| is_local(authority.as_str()));
    if is_local(host) && in_target { Ok(()) } else { Err(Stranger::OtherHost) }
}

fn is_local(host: &str) -> bool {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().to_canonical().is_loopback();
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return ip.to_canonical().is_loopback();
    }
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let port_is_one = port.bytes().all(|b| b.is_ascii_digit());
    port_is_one && name.strip_suffix('.').unwrap_or(name).eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_by_address_or_as_localhost_is_us() {
        for host in ["localhost", "LocalHost:9650", "localhost.", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:80"] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "",
            "evil.test",
            "evil.test:9650",
            "localhost.evil.test",
            "127.0.0.1.evil.test",
            "192.0.2.1",
            "[2001:db8::1]:80",
            "0.0.0.0:9650",
            "user@localhost",
            "localhost:80@evil.test",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn host_is_asked_of_http_1_1_and_must_agree_with_the_target() {
        let request = |version, uri: &str, hosts: &[&str]| {
            let mut request = Request::builder().version(version).uri(uri);
            for host in hosts {
                request = request.header(HOST, *host);
            }
            names_us(&request.body(()).unwrap())
        };
        assert_eq!(request(Version::HTTP_11, "/", &["localhost"]), Ok(()));
        assert_eq!(request(Version::HTTP_10, "/", &[]), Ok(()));
        assert_eq!(request(Version::HTTP_10, "/", &["evil.test"]), Err(Stranger::OtherHost));
        assert_eq!(request(Version::HTTP_11, "/", &[]), Err(Stranger::NoHost));
        assert_eq!(request(Version::HTTP_11, "/", &["localhost", "evil.test"]), Err(Stranger::NoHost));
        assert_eq!(request(Version::HTTP_11, "http://evil.test/", &["localhost"]), Err(Stranger::OtherHost));
    }
}
