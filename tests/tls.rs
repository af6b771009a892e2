//! HTTPS through a whole proxy: certificates, protocols, and what a swap keeps.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

#[path = "tls/clients.rs"]
mod clients;
#[path = "tls/misdirected.rs"]
mod misdirected;
#[path = "tls/policies.rs"]
mod policies;
#[path = "tls/swaps.rs"]
mod swaps;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2::SendRequest;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use sluice::model::intent::{Cert, Protocol, SameSite, Sticky, StickyCookie};
use sluice::model::outcome::Outcome;
use support::asked::{pool, route, web};
use support::peer::{answer, ok};
use support::tls::{Client, cert, showed};
use support::{Asked, PATIENCE, Peer, Reply, Sluice, Wire, eventually, soon};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, std::io::Error>;

/// An HTTPS listener with these certificates before one backend.
fn secure(certs: &[(&str, &Cert)], peer: &Peer) -> Asked {
    let routes = vec![route("*", "/", "site")];
    let asked = Asked::default().listener(web(), "web", Protocol::Https, routes).pool("site", pool(&[peer.address]));
    certs.iter().fold(asked, |asked, (name, cert)| asked.cert(web(), name, (*cert).clone()))
}

fn full(bytes: &'static str) -> Body {
    Full::new(Bytes::from_static(bytes.as_bytes())).map_err(|never| match never {}).boxed_unsync()
}

/// An HTTP/2 client on a connection of its own.
async fn h2(sluice: &Sluice) -> SendRequest<Body> {
    let stream = Client::offering(&["h2"]).connect(sluice.address(web()).await, "a.test").await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let made = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = made.unwrap();
    hyper::rt::Executor::execute(&TokioExecutor::new(), async move {
        // How it ends is seen by the requests on it.
        let _ = connection.await;
    });
    sender
}

async fn text(response: Response<hyper::body::Incoming>) -> String {
    String::from_utf8(soon("the body", response.into_body().collect()).await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn a_cookie_given_over_https_comes_back_over_https_alone() {
    let (peer, cert) = (Peer::named("one").await, cert(&["a.test"]));
    let mut site = pool(&[peer.address]);
    let (name, same_site) = ("SRV".into(), SameSite::default());
    site.sticky = Some(Sticky::Cookie(StickyCookie { name, ttl: None, secure: None, same_site, key: None }));
    let asked = Asked::default().listener(web(), "web", Protocol::Https, vec![route("*", "/", "site")]);
    let sluice = Sluice::start(asked.pool("site", site).cert(web(), "a", cert)).await;
    let stream = Client::offering(&["http/1.1"]).connect(sluice.address(web()).await, "a.test").await;
    let answer = Wire::new(stream).get("a.test", "/").await;
    assert!(answer.field("set-cookie").is_some_and(|cookie| cookie.contains("; Secure")), "{}", answer.head);
}

#[tokio::test]
async fn the_name_picks_the_certificate() {
    let peer = Peer::named("one").await;
    let (first, exact, wild) = (cert(&["first.test"]), cert(&["a.wild.test"]), cert(&["*.wild.test"]));
    let sluice = Sluice::start(secure(&[("first", &first), ("exact", &exact), ("wild", &wild)], &peer)).await;
    let address = sluice.address(web()).await;
    let client = Client::offering(&[]);
    for (name, expected) in [
        ("first.test", &first),
        ("a.wild.test", &exact),
        ("B.Wild.test", &wild),
        ("a.b.wild.test", &first),
        ("unknown.test", &first),
        ("127.0.0.1", &first),
    ] {
        let stream = client.connect(address, name).await;
        assert!(showed(&stream, expected), "{name}");
        let mut wire = Wire::new(stream);
        assert_eq!(wire.get(name, "/").await.text(), "one");
    }
    let request = &peer.requests()[0];
    assert_eq!(request.field("x-forwarded-proto"), Some("https"));
    assert_eq!(request.field("x-forwarded-port"), Some(address.port().to_string().as_str()));
}

#[tokio::test]
async fn a_strict_listener_refuses_names_it_has_no_certificate_for() {
    let peer = Peer::named("one").await;
    let asked =
        secure(&[("a", &cert(&["a.test"]))], &peer).change_listener(web(), |listener| listener.strict_sni = true);
    let sluice = Sluice::start(asked).await;
    let address = sluice.address(web()).await;
    let client = Client::offering(&[]);
    client.connect(address, "a.test").await;
    for name in ["b.test", "127.0.0.1"] {
        assert!(client.try_connect(address, name).await.is_err(), "{name}");
    }
    let failed = || sluice.listener(web()).ended(Outcome::TlsFailed);
    eventually("both to be counted", || (failed() == 2).then_some(())).await;
}

#[tokio::test]
async fn what_is_not_tls_is_counted_and_harms_nobody() {
    let peer = Peer::named("one").await;
    let sluice = Sluice::start(secure(&[("a", &cert(&["a.test"]))], &peer)).await;
    let address = sluice.address(web()).await;
    let mut wire = Wire::to(address).await;
    wire.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    wire.end().await;
    let failed = || sluice.listener(web()).ended(Outcome::TlsFailed);
    eventually("it to be counted", || (failed() == 1).then_some(())).await;
    let mut wire = Wire::new(Client::offering(&["http/1.1"]).connect(address, "a.test").await);
    assert_eq!(wire.get("a.test", "/").await.status(), 200);
}

#[tokio::test]
async fn the_protocol_is_the_best_that_both_speak() {
    let peer = Peer::named("one").await;
    let sluice = Sluice::start(secure(&[("a", &cert(&["a.test"]))], &peer)).await;
    let address = sluice.address(web()).await;
    for (offered, chosen) in
        [(&["h2", "http/1.1"][..], Some(&b"h2"[..])), (&["http/1.1"], Some(b"http/1.1")), (&[], None)]
    {
        let stream = Client::offering(offered).connect(address, "a.test").await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen);
    }
    assert!(Client::offering(&["spdy/3"]).try_connect(address, "a.test").await.is_err());
}

#[tokio::test]
async fn http2_requests_reach_a_backend_that_speaks_http1() {
    let peer = Peer::http(|request| ok(&format!("{}:{}", request.first_line(), request.text()))).await;
    let sluice = Sluice::start(secure(&[("a", &cert(&["a.test"]))], &peer)).await;
    let mut client = h2(&sluice).await;
    let request =
        Request::get("https://a.test/x?y").header("cookie", "a=1").header("cookie", "b=2").header("te", "trailers");
    let response = soon("an answer", client.send_request(request.body(full("")).unwrap())).await.unwrap();
    assert_eq!((response.status(), text(response).await), (StatusCode::OK, "GET /x?y HTTP/1.1:".into()));
    let got = peer.request();
    assert_eq!(got.field("host"), Some("a.test"));
    assert_eq!(got.field("cookie"), Some("a=1; b=2"));
    assert_eq!((got.field("te"), got.field("connection")), (Some("trailers"), Some("te")));
    assert_eq!((got.field("x-forwarded-host"), got.field("x-forwarded-proto")), (Some("a.test"), Some("https")));

    // A body of unknown length goes in chunks, with a method too that seldom has one.
    for method in ["POST", "GET"] {
        let frames = ["one ", "two"].map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes()))));
        let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
        let request = Request::builder().method(method).uri("https://a.test/").body(body).unwrap();
        let response = soon("an answer", client.send_request(request)).await.unwrap();
        assert_eq!(text(response).await, format!("{method} / HTTP/1.1:one two"));
    }
    let refused = Request::get("https://a.test/a/../b").body(full("")).unwrap();
    assert_eq!(soon("an answer", client.send_request(refused)).await.unwrap().status(), StatusCode::BAD_REQUEST);
    let after = Request::head("https://a.test/").body(full("")).unwrap();
    assert_eq!(soon("an answer", client.send_request(after)).await.unwrap().status(), StatusCode::OK);
    assert_eq!(sluice.listener(web()).accepted(), 1);
}

#[tokio::test]
async fn many_http2_streams_at_once_share_one_connection() {
    let peer = Peer::http(|request| ok(request.first_line())).await;
    let sluice = Sluice::start(secure(&[("a", &cert(&["a.test"]))], &peer)).await;
    let client = h2(&sluice).await;
    let requests = (0..200).map(|n| {
        let mut client = client.clone();
        async move {
            let request = Request::get(format!("https://a.test/{n}")).body(full("")).unwrap();
            let response = soon("an answer", client.send_request(request)).await.unwrap();
            assert_eq!(text(response).await, format!("GET /{n} HTTP/1.1"));
        }
    });
    futures_util::future::join_all(requests).await;
    assert_eq!(sluice.listener(web()).accepted(), 1);
    assert_eq!(sluice.answers("web", Some("site"), "200"), 200);
}

#[tokio::test]
async fn a_large_answer_passes_http2_whole() {
    let peer = Peer::http(|_| ok(&"d".repeat(5_000_000))).await;
    let sluice = Sluice::start(secure(&[("a", &cert(&["a.test"]))], &peer)).await;
    let mut client = h2(&sluice).await;
    let request = Request::get("https://a.test/").body(full("")).unwrap();
    let response = soon("an answer", client.send_request(request)).await.unwrap();
    assert_eq!(response.headers()["content-length"], "5000000");
    assert_eq!(text(response).await.len(), 5_000_000);
}

#[tokio::test]
async fn an_answer_that_breaks_off_resets_its_stream_alone() {
    let peer = Peer::http(|request| match request.first_line() {
        "GET /whole HTTP/1.1" => ok("whole"),
        _ => Reply::Last(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n".to_vec()),
    })
    .await;
    let sluice = Sluice::start(secure(&[("a", &cert(&["a.test"]))], &peer)).await;
    let mut client = h2(&sluice).await;
    let request = Request::get("https://a.test/part").body(full("")).unwrap();
    let response = soon("an answer", client.send_request(request)).await.unwrap();
    assert!(soon("the end", response.into_body().collect()).await.is_err());
    let request = Request::get("https://a.test/whole").body(full("")).unwrap();
    let response = soon("an answer", client.send_request(request)).await.unwrap();
    assert_eq!(text(response).await, "whole");
}

#[tokio::test]
async fn a_stream_that_is_given_up_gives_its_lease_back() {
    let peer = Peer::http(|_| Reply::Hang).await;
    let sluice = Sluice::start(secure(&[("a", &cert(&["a.test"]))], &peer)).await;
    let mut client = h2(&sluice).await;
    let request = Request::get("https://a.test/").body(full("")).unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(50), client.send_request(request));
    let pool = sluice.snapshots.current().pools.values().next().unwrap().clone();
    assert!(waiting.await.is_err());
    eventually("the lease", || (pool.backends[0].state.active() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_drain_lets_http2_streams_finish() {
    let go = Arc::new(Notify::new());
    let wait = go.clone();
    let peer = Peer::serving(move |mut wire| {
        let wait = wait.clone();
        async move {
            wire.message().await.unwrap();
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").await;
            wait.notified().await;
            wire.send("half").await;
            wire.end().await;
        }
    })
    .await;
    let mut sluice = Sluice::start(secure(&[("a", &cert(&["a.test"]))], &peer)).await;
    let mut client = h2(&sluice).await;
    let request = Request::get("https://a.test/").body(full("")).unwrap();
    let response = soon("an answer", client.send_request(request)).await.unwrap();
    let drained = sluice.drain(PATIENCE);
    go.notify_one();
    assert_eq!(text(response).await, "halfhalf");
    assert!(soon("the drain", drained).await.unwrap());
    assert_eq!(sluice.listener(web()).active(), 0);
}

#[tokio::test]
async fn a_websocket_passes_tls() {
    let peer = Peer::serving(|wire| async move {
        let mut socket = tokio_tungstenite::accept_async(wire.stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                socket.send(message).await.unwrap();
            }
        }
    })
    .await;
    let sluice = Sluice::start(secure(&[("a", &cert(&["a.test"]))], &peer)).await;
    let stream = Client::offering(&["http/1.1"]).connect(sluice.address(web()).await, "a.test").await;
    let (mut socket, _) = soon("the switch", tokio_tungstenite::client_async("wss://a.test/", stream)).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(soon("the echo", socket.next()).await.unwrap().unwrap(), Message::text("hello"));
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_old_ones_live_on() {
    let peer = Peer::http(|_| Reply::Send(answer("200 OK", "one"))).await;
    let (old, new) = (cert(&["a.test"]), cert(&["a.test"]));
    let sluice = Sluice::start(secure(&[("a", &old)], &peer)).await;
    let address = sluice.address(web()).await;
    let client = Client::offering(&["http/1.1"]);
    let stream = client.connect(address, "a.test").await;
    assert!(showed(&stream, &old));
    let mut living = Wire::new(stream);
    assert_eq!(living.get("a.test", "/").await.status(), 200);
    sluice.publish(&secure(&[("a", &new)], &peer).into());
    let stream = Client::offering(&["http/1.1"]).connect(address, "a.test").await;
    assert!(showed(&stream, &new));
    assert_eq!(living.get("a.test", "/").await.status(), 200);
}
