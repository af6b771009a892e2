//! Requests that are malformed or could mean two things: answered with a 4xx, never forwarded.

use sluice::model::outcome::Outcome;

use crate::support::asked::web;
use crate::support::{Asked, Peer, Sluice, Wire, eventually};

#[tokio::test]
async fn malformed_requests_are_refused_and_never_forwarded() {
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(20_000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-A: b\r\n".repeat(200));
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX-A: {}\r\n\r\n", "b".repeat(70_000));
    let table: &[(&str, u16)] = &[
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a:http\r\n\r\n", 400),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405),
        ("GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /a/%2e%2e/b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /a/..%2fb HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /a\\..\\b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX-A: b\x00c\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX A: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX-A : b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n", 400),
        ("GET / HTTP/9.9\r\nHost: a\r\n\r\n", 400),
        ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhi", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\nhi", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\nh", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (&long, 414),
        (&many, 431),
        (&large, 431),
    ];
    let peer = Peer::named("never").await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    for (request, status) in table {
        let shown = &request[..request.len().min(80)];
        let mut client = Wire::to(sluice.address(web()).await).await;
        // The answer may come before all of it was taken.
        let _ = client.try_send(request).await;
        let answer = client.message().await.unwrap_or_else(|| panic!("no answer to {shown:?}"));
        assert_eq!(answer.status(), *status, "{shown:?}");
        assert_eq!(answer.field("server"), None);
        let after = client.rest().await;
        assert!(after.0.is_empty(), "the connection goes on after {shown:?}");
    }
    assert_eq!(peer.connections(), 0);
    let count = table.len() as u64;
    let malformed = || sluice.listener(web()).ended(Outcome::Malformed);
    eventually("each to be counted", || (malformed() == count).then_some(())).await;
}

#[tokio::test]
async fn a_length_beside_chunks_does_not_smuggle_a_request() {
    let peer = Peer::named("one").await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    let smuggled = "0\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n";
    client
        .send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n{smuggled}",
            smuggled.len()
        ))
        .await;
    client.message().await.unwrap();
    client.end().await;
    for request in peer.requests() {
        assert!(request.first_line().starts_with("POST / "), "{}", request.head);
        assert_eq!((request.field("content-length"), request.text()), (None, ""));
    }
}

#[tokio::test]
async fn bytes_that_are_no_request_never_panic() {
    let peer = Peer::named("one").await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let address = sluice.address(web()).await;
    // xorshift: the same bytes in each run.
    let mut state = 0x2545_f491_4f6c_dd1du64;
    for _ in 0..200 {
        let mut bytes = b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc".to_vec();
        for _ in 0..3 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = (state % bytes.len() as u64) as usize;
            bytes[at] = (state >> 32) as u8;
        }
        let mut client = Wire::to(address).await;
        let _ = client.try_send(&bytes).await;
        let _ = client.finish_quietly().await;
        client.end().await;
    }
    let mut client = Wire::to(address).await;
    assert_eq!(client.get("a", "/").await.status(), 200);
}
