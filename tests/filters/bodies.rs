//! How large bodies of requests may be.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use sluice::model::intent::{Filters, Protocol};

use crate::started;
use crate::support::asked::{pool, route, web};
use crate::support::tls::{Client, cert};
use crate::support::{Asked, Peer, Sluice, Wire, soon};

fn most(bytes: u64) -> Filters {
    Filters { max_body: Some(bytes), ..Filters::default() }
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_refused_unread() {
    let peer = Peer::named("app").await;
    let (sluice, mut client) = started(&peer, most(10)).await;
    let fits = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789").await;
    assert_eq!(fits.status(), 200);
    // Nothing of the body was sent: the answer does not wait for it.
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n").await;
    let refused = client.message().await.unwrap();
    assert_eq!((refused.status(), refused.field("connection")), (413, Some("close")));
    client.end().await;
    assert_eq!(peer.requests().len(), 1);
    assert_eq!(sluice.answers("web", Some("site"), "413"), 1);
}

#[tokio::test]
async fn a_client_that_sends_all_of_it_first_still_reads_why() {
    let peer = Peer::named("app").await;
    let (_sluice, mut client) = started(&peer, most(10)).await;
    let body = vec![b'x'; 4 << 20];
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len())).await;
    client.send(&body).await;
    client.finish().await;
    let (came, how) = client.rest().await;
    assert!(came.starts_with(b"HTTP/1.1 413 "), "{:?}", String::from_utf8_lossy(&came));
    assert!(how.is_ok(), "the connection was reset: {how:?}");
}

#[tokio::test]
async fn a_body_without_a_length_is_counted_as_it_passes() {
    let peer = Peer::named("app").await;
    let (_sluice, mut client) = started(&peer, most(10)).await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let fits = client.ask(format!("{head}5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n")).await;
    assert_eq!(fits.status(), 200);
    client.send(format!("{head}5\r\n01234\r\n6\r\n56789x\r\n")).await;
    let refused = client.message().await.unwrap();
    assert_eq!((refused.status(), refused.field("connection")), (413, Some("close")));
    client.end().await;
    assert_eq!(peer.requests().len(), 1, "no whole request of the second came");
}

#[tokio::test]
async fn once_the_backend_has_answered_too_large_a_body_is_cut_and_seen_to_be() {
    let peer = Peer::serving(|mut wire| async move {
        wire.head().await.unwrap();
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        wire.end().await;
    })
    .await;
    let (_sluice, mut client) = started(&peer, most(10)).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n").await;
    assert_eq!(client.head().await.unwrap().status(), 200);
    client.send("6\r\n56789x\r\n").await;
    let (came, _) = client.rest().await;
    assert!(!came.ends_with(b"0\r\n\r\n"), "the answer must not look whole");
}

#[tokio::test]
async fn over_http2_a_stream_is_refused_and_the_others_go_on() {
    let peer = Peer::named("app").await;
    let mut routes = vec![route("*", "/", "site")];
    routes[0].filters = Some(Arc::new(most(10)));
    let asked = Asked::default()
        .listener(web(), "web", Protocol::Https, routes)
        .pool("site", pool(&[peer.address]))
        .cert(web(), "cert", cert(&["a.test"]));
    let sluice = Sluice::start(asked).await;
    let stream = Client::offering(&["h2"]).connect(sluice.address(web()).await, "a.test").await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    hyper::rt::Executor::execute(&TokioExecutor::new(), async move {
        // How it ends is seen by the requests on it.
        let _ = connection.await;
    });
    for (size, code) in [(10, 200), (11, 413), (2_000_000, 413), (10, 200)] {
        let body = Full::new(Bytes::from(vec![b'x'; size]));
        let request = Request::post("https://a.test/").body(body).unwrap();
        let answer = soon("the answer", sender.send_request(request)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::from_u16(code).unwrap(), "{size}");
        let _ = soon("the body", answer.into_body().collect()).await.unwrap();
    }
    assert_eq!(peer.requests().len(), 2);
}

#[tokio::test]
async fn where_nothing_is_asked_a_body_of_any_size_passes() {
    let peer = Peer::named("app").await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    let body = "x".repeat(300_000);
    let answer = client.ask(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n{body}")).await;
    assert_eq!((answer.status(), peer.request().body.len()), (200, 300_000));
}
