//! Pure. A request for a backend in the words of the version that is spoken to it. It is made for HTTP/1.1 first; HTTP/2
//! says the host in `:authority`, frames bodies by itself and has no fields of the connection (RFC 9113 §8.2.2).

use std::net::SocketAddr;

use hyper::header::{self, HeaderValue};
use hyper::http::uri::{Authority, Parts, PathAndQuery, Scheme};
use hyper::{Request, Uri, Version};

/// Turns a request for HTTP/1.1 into one for HTTP/2. What names no host is for the backend's address.
pub(super) fn to_http2<B>(request: &mut Request<B>, is_sealed: bool, backend: SocketAddr) {
    let headers = request.headers_mut();
    let host = headers.remove(header::HOST);
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE] {
        headers.remove(name);
    }
    let named = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let authority = named.or_else(|| Authority::try_from(backend.to_string()).ok());
    let path = request.uri().path_and_query().cloned();
    let mut parts = Parts::default();
    parts.scheme = Some(if is_sealed { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = authority;
    parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    // All three are there, which is what it asks for.
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    *request.version_mut() = Version::HTTP_2;
}

/// Turns a request for HTTP/2 back into one for HTTP/1.1.
pub(super) fn to_http1<B>(request: &mut Request<B>, has_body: bool) {
    let host = request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers_mut();
    if let Some(host) = host {
        headers.insert(header::HOST, host);
    }
    if headers.contains_key(header::TE) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    if has_body && !headers.contains_key(header::CONTENT_LENGTH) {
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_it_is_the_same_request() {
        let make = || {
            Request::post("/x?y")
                .header("te", "trailers")
                .header("x-mine", "1")
                .header("host", "a.test:8080")
                .header("connection", "te")
                .header("transfer-encoding", "chunked")
                .body(())
                .unwrap()
        };
        let mut request = make();
        to_http2(&mut request, true, "192.0.2.1:80".parse().unwrap());
        assert_eq!(request.uri(), "https://a.test:8080/x?y");
        let mut left: Vec<_> = request.headers().keys().map(|name| name.as_str()).collect();
        left.sort_unstable();
        assert_eq!((left, request.version()), (vec!["te", "x-mine"], Version::HTTP_2));
        to_http1(&mut request, true);
        assert_eq!((request.uri(), request.headers()), (make().uri(), make().headers()));
    }

    #[test]
    fn what_names_no_host_is_for_the_address() {
        let mut request = Request::get("/").header("host", "").body(()).unwrap();
        to_http2(&mut request, false, "[2001:db8::1]:80".parse().unwrap());
        assert_eq!(request.uri(), "http://[2001:db8::1]:80/");
    }
}
