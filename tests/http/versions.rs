//! What must be the same whichever version a client speaks: answers without a body, interim ones, early ones, broken ones.

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Body, Frame};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use sluice::model::intent::Protocol;

use crate::support::asked::{pool, route, web};
use crate::support::peer::{answer, ok};
use crate::support::tls::{Client, cert};
use crate::support::{Asked, Peer, Reply, Sluice, Wire, eventually, soon};

type Any = http_body_util::combinators::UnsyncBoxBody<Bytes, std::io::Error>;

fn body(bytes: impl Body<Data = Bytes, Error = std::convert::Infallible> + Send + 'static) -> Any {
    bytes.map_err(|never| match never {}).boxed_unsync()
}

/// A proxy that ends TLS before one backend, and an HTTP/2 client of it.
async fn h2(peer: &Peer) -> (Sluice, SendRequest<Any>) {
    let asked = Asked::default()
        .listener(web(), "web", Protocol::Https, vec![route("*", "/", "site")])
        .pool("site", pool(&[peer.address]))
        .cert(web(), "own", cert(&["a.test"]));
    let sluice = Sluice::start(asked).await;
    let stream = Client::offering(&["h2"]).connect(sluice.address(web()).await, "a.test").await;
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    hyper::rt::Executor::execute(&TokioExecutor::new(), async move {
        // How it ends is seen by the requests on it.
        let _ = connection.await;
    });
    (sluice, sender)
}

async fn ask(client: &mut SendRequest<Any>, method: &str, path: &str, sent: Any) -> Response<hyper::body::Incoming> {
    let request = Request::builder().method(method).uri(format!("https://a.test{path}")).body(sent).unwrap();
    soon("an answer", client.send_request(request)).await.unwrap()
}

async fn text(response: Response<hyper::body::Incoming>) -> Result<String, hyper::Error> {
    let whole = soon("the body", response.into_body().collect()).await?;
    Ok(String::from_utf8(whole.to_bytes().to_vec()).unwrap())
}

fn bodiless() -> impl Future<Output = Peer> {
    Peer::http(|request| match request.first_line().split(' ').nth(1) {
        // Both lengths are wrong, and backends send them.
        Some("/204") => Reply::Send(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n".to_vec()),
        Some("/204-chunked") => Reply::Send(b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()),
        Some("/304") => Reply::Send(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n".to_vec()),
        Some("/interim") => Reply::Send(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\
              Content-Length: 2\r\n\r\nok"
                .to_vec(),
        ),
        _ if request.first_line().starts_with("HEAD") => {
            Reply::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec())
        }
        _ => ok("hello"),
    })
}

#[tokio::test]
async fn answers_without_a_body_have_none_and_interim_ones_are_not_final() {
    let peer = bodiless().await;
    let (_sluice, mut client) = h2(&peer).await;
    for _ in 0..2 {
        for (method, path, status, length, sent) in [
            ("HEAD", "/", 200, Some("5"), ""),
            ("GET", "/204", 204, None, ""),
            ("GET", "/204-chunked", 204, None, ""),
            ("GET", "/304", 304, Some("5"), ""),
            ("GET", "/interim", 200, Some("2"), "ok"),
            ("GET", "/", 200, Some("5"), "hello"),
        ] {
            let response = ask(&mut client, method, path, body(Empty::new())).await;
            let found = response.headers().get("content-length").map(|length| length.to_str().unwrap().to_owned());
            assert_eq!((response.status().as_u16(), found.as_deref()), (status, length), "{method} {path}");
            assert_eq!(text(response).await.unwrap(), sent, "{method} {path}");
        }
    }
    let plain = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(plain.address(web()).await).await;
    for (path, status) in [("/204", 204), ("/204-chunked", 204), ("/304", 304)] {
        let answer = client.get("a", path).await;
        // hyper leaves the length out of a 304, which it may.
        assert_eq!((answer.status(), answer.field("content-length")), (status, None), "{path}");
        assert_eq!(answer.field("transfer-encoding"), None, "{path}");
    }
    assert_eq!(client.get("a", "/interim").await.text(), "ok");
    assert_eq!(client.get("a", "/").await.text(), "hello", "the connection goes on");
}

#[tokio::test]
async fn a_body_that_is_shorter_than_its_length_is_an_error_in_http2_too() {
    let peer = Peer::http(|request| match request.first_line().split(' ').nth(1) {
        Some("/closed") => Reply::Last(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart".to_vec()),
        Some("/reset") => Reply::Break(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart".to_vec()),
        _ => ok("whole"),
    })
    .await;
    let (_sluice, mut client) = h2(&peer).await;
    for path in ["/closed", "/reset"] {
        let request = Request::get(format!("https://a.test{path}")).body(body(Empty::new())).unwrap();
        // A reset may overtake the head.
        match soon("an answer", client.send_request(request)).await {
            Ok(response) if response.status() == 200 => assert!(text(response).await.is_err(), "{path}"),
            Ok(response) => assert_eq!(response.status(), 502),
            Err(error) => panic!("{error}"),
        }
        assert_eq!(text(ask(&mut client, "GET", "/", body(Empty::new())).await).await.unwrap(), "whole");
    }
}

#[tokio::test]
async fn a_client_that_expects_to_be_asked_for_its_body_is_served_in_http2() {
    let peer = Peer::http(|request| ok(request.text())).await;
    let (_sluice, mut client) = h2(&peer).await;
    let request = Request::post("https://a.test/").header("expect", "100-continue");
    let request = request.body(body(Full::new(Bytes::from_static(b"hi")))).unwrap();
    let response = soon("an answer", client.send_request(request)).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "hi");
    assert_eq!(peer.request().field("expect"), None);
}

/// Answers `/early` as soon as its head was read, and says on which of its connections each request came.
async fn hasty() -> Peer {
    let count = std::sync::atomic::AtomicUsize::new(0);
    Peer::serving(move |mut wire| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        async move {
            while let Some(head) = wire.head().await {
                wire.send(answer("413 Content Too Large", &format!("connection {number}"))).await;
                if head.first_line().contains("/early") {
                    // A second request on this connection would be one that is read out of a body.
                    let rest = String::from_utf8_lossy(&wire.rest().await.0).into_owned();
                    assert!(!rest.contains("HTTP/1.1"), "{rest}");
                    return;
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn after_an_answer_to_half_a_request_no_connection_is_used_again() {
    let peer = hasty().await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let address = sluice.address(web()).await;
    for framing in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
        let mut client = Wire::to(address).await;
        client.send(format!("POST /early HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n5\r\nhello\r\n")).await;
        let early = client.message().await.unwrap();
        assert_eq!(early.status(), 413);
        // What looks like a request is the rest of the body.
        let _ = client.try_send("GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.finish_quietly().await.ok();
        assert_eq!(client.rest().await.0, b"", "nothing follows an early answer");
        let mut other = Wire::to(address).await;
        assert_ne!(other.get("a", "/").await.text(), early.text(), "the backend's connection is used again");
    }
    eventually("the leases", || {
        let current = sluice.snapshots.current();
        let pool = current.pools.values().next().unwrap();
        (pool.backends[0].state.active() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_early_answer_ends_its_stream_alone_in_http2() {
    let peer = hasty().await;
    let (_sluice, mut client) = h2(&peer).await;
    let first = futures_util::stream::once(async { Ok(Frame::data(Bytes::from_static(b"hello"))) });
    let endless = StreamBody::new(first.chain(futures_util::stream::pending())).boxed_unsync();
    let early = ask(&mut client, "POST", "/early", endless).await;
    assert_eq!(early.status(), 413);
    let early = text(early).await.unwrap();
    let next = ask(&mut client, "GET", "/", body(Empty::new())).await;
    assert_ne!(text(next).await.unwrap(), early, "the backend's connection is used again");
}
