//! Bodies: framed right, streamed, never gathered, counted.

use crate::support::asked::web;
use crate::support::peer::{answer, ok};
use crate::support::{Asked, Peer, Reply, Sluice, Wire, eventually};

/// A backend that reads a head and then does what the test says with the wire.
async fn by_hand<F>(serve: impl Fn(Wire) -> F + Send + Sync + 'static) -> (Peer, Sluice, Wire)
where
    F: Future<Output = ()> + Send + 'static,
{
    let peer = Peer::serving(serve).await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let client = Wire::to(sluice.address(web()).await).await;
    (peer, sluice, client)
}

#[tokio::test]
async fn a_request_body_reaches_the_backend_before_its_end_was_sent() {
    let (_peer, _sluice, mut client) = by_hand(|mut wire| async move {
        let head = wire.head().await.unwrap();
        assert_eq!(head.field("transfer-encoding"), Some("chunked"));
        // Each chunk is acknowledged by one of the answer: nothing may be held back in either direction.
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        while let Some(chunk) = wire.chunk().await {
            if chunk.is_empty() {
                return wire.send("0\r\n\r\n").await;
            }
            wire.send(format!("{:x}\r\n", chunk.len())).await;
            wire.send(&chunk).await;
            wire.send("\r\n").await;
        }
    })
    .await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    let head = client.head().await.unwrap();
    assert_eq!((head.status(), head.field("transfer-encoding")), (200, Some("chunked")));
    assert_eq!(client.chunk().await.unwrap(), b"hello");
    client.send("6\r\nworld!\r\n").await;
    assert_eq!(client.chunk().await.unwrap(), b"world!");
    client.send("0\r\n\r\n").await;
    assert_eq!(client.chunk().await.unwrap(), b"");
}

#[tokio::test]
async fn large_bodies_arrive_whole_and_are_counted() {
    const SIZE: usize = 3_000_000;
    let peer = Peer::http(|request| ok(&"d".repeat(request.body.len()))).await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    let body = "u".repeat(SIZE);
    let answer = client.ask(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n{body}")).await;
    assert!(answer.body.iter().all(|b| *b == b'd') && answer.body.len() == SIZE);
    assert_eq!(peer.request().text(), body);
    assert_eq!(sluice.listener(web()).bytes(), (SIZE as u64, SIZE as u64));
    assert_eq!(client.get("a", "/").await.status(), 200, "the connection goes on");
}

#[tokio::test]
async fn an_answer_without_a_length_ends_with_its_connection() {
    let peer = Peer::http(|_| Reply::Last(b"HTTP/1.0 200 OK\r\n\r\nuntil the end".to_vec())).await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    let answer = client.get("a", "/").await;
    assert_eq!((answer.first_line(), answer.field("transfer-encoding")), ("HTTP/1.1 200 OK", Some("chunked")));
    assert_eq!(answer.text(), "until the end");
    assert_eq!(client.get("a", "/").await.status(), 200, "the client's connection goes on");
}

#[tokio::test]
async fn head_and_answers_without_a_body_leave_the_connection_usable() {
    let peer = Peer::http(|request| match request.first_line().split(' ').nth(1) {
        Some("/204") => Reply::Send(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
        Some("/304") => Reply::Send(b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n".to_vec()),
        _ => Reply::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec()),
    })
    .await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    for _ in 0..3 {
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let head = client.head().await.unwrap();
        assert_eq!((head.status(), head.field("content-length")), (200, Some("5")));
        assert_eq!(client.get("a", "/204").await.status(), 204);
        let unchanged = client.get("a", "/304").await;
        assert_eq!((unchanged.status(), unchanged.field("etag")), (304, Some("x")));
    }
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn a_client_that_waits_to_be_asked_for_its_body_is_asked() {
    let peer = Peer::named("one").await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").await;
    assert_eq!(client.head().await.unwrap().first_line(), "HTTP/1.1 100 Continue");
    client.send("hi").await;
    assert_eq!(client.message().await.unwrap().status(), 200);
    let request = peer.request();
    assert_eq!((request.text(), request.field("expect")), ("hi", None));
}

#[tokio::test]
async fn a_backends_interim_answers_do_not_confuse_the_final_one() {
    let peer = Peer::http(|_| {
        Reply::Send(
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(),
        )
    })
    .await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    assert_eq!(client.get("a", "/").await.text(), "ok");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_seen_to_break_off() {
    let peer = Peer::http(|request| match request.first_line().split(' ').nth(1) {
        Some("/length") => Reply::Break(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart".to_vec()),
        Some("/closed") => Reply::Last(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart".to_vec()),
        _ => Reply::Last(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n".to_vec()),
    })
    .await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    // What is said behind the request would be answered by us, in the middle of the broken answer.
    let behind = ["", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/9\r\n\r\n"];
    let asked = ["/length", "/closed", "/chunked"].into_iter().flat_map(|path| behind.map(|behind| (path, behind)));
    for (path, behind) in asked {
        let mut client = Wire::to(sluice.address(web()).await).await;
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n{behind}")).await;
        // A reset may overtake the head; what may not come is a body that looks whole.
        if let Some(head) = client.head().await {
            let (body, _) = client.rest().await;
            assert!(head.field("content-length").is_none_or(|length| length == "100"));
            assert!(!body.ends_with(b"0\r\n\r\n") && body.len() < 100, "{path} {behind:?} {body:?}");
        }
    }
    // HTTP/1.0 has no framing that could show it, so the connection is reset.
    let mut client = Wire::to(sluice.address(web()).await).await;
    client.send("GET /chunked HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert!(client.rest().await.1.is_err(), "a clean end looks like a whole body");
    let broke = || sluice.listener(web()).ended(sluice::model::outcome::Outcome::BackendBroke);
    eventually("the broken ones to be counted", || (broke() == 10).then_some(())).await;
}

#[tokio::test]
async fn an_old_client_gets_an_answer_it_can_read() {
    let peer = Peer::http(|request| match request.first_line().starts_with("HEAD") {
        true => Reply::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()),
        false => Reply::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_vec()),
    })
    .await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    let answer = client.message().await.unwrap();
    assert_eq!((answer.first_line(), answer.text()), ("HTTP/1.0 200 OK", "ok"));
    assert_eq!(answer.field("transfer-encoding"), None);
    let request = peer.request();
    assert_eq!((request.first_line(), request.field("host")), ("GET / HTTP/1.1", Some("")));
    // One that would go on is told that it cannot: only the end of the connection ends this body.
    let mut client = Wire::to(sluice.address(web()).await).await;
    client.send("HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
    assert_eq!(client.head().await.unwrap().field("connection"), Some("keep-alive"));
    client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
    let answer = client.message().await.unwrap();
    assert_eq!((answer.text(), answer.field("connection")), ("ok", Some("close")));
    // So is one that is refused.
    let mut client = Wire::to(sluice.address(web()).await).await;
    let answer = client.ask("GET /%00 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
    assert_eq!((answer.status(), answer.field("connection")), (400, Some("close")));
}

#[tokio::test]
async fn trailers_pass() {
    let (_peer, _sluice, mut client) = by_hand(|mut wire| async move {
        let head = wire.head().await.unwrap();
        assert_eq!((head.field("te"), head.field("connection")), (Some("trailers"), Some("te")));
        wire.send(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n",
        )
        .await;
        wire.end().await;
    })
    .await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers, gzip\r\nConnection: TE\r\n\r\n").await;
    let head = client.head().await.unwrap();
    assert_eq!(head.field("trailer"), Some("x-sum"));
    let rest = client.until("7\r\n\r\n").await.unwrap();
    assert!(rest.ends_with(b"0\r\nx-sum: 7\r\n\r\n"), "{}", String::from_utf8_lossy(&rest));
}

#[tokio::test]
async fn trailers_cannot_forge_fields() {
    let peer = Peer::serving(|mut wire| async move {
        wire.head().await.unwrap();
        let body = wire.until("\r\n0\r\n").await.unwrap();
        let trailers = wire.until("\r\n").await.unwrap();
        let told = [body, trailers].concat();
        wire.send(answer("200 OK", &String::from_utf8_lossy(&told))).await;
    })
    .await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    client
        .send(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-real-ip, x-sum, authorization\r\n\r\n\
             2\r\nok\r\n0\r\nX-Real-IP: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nAuthorization: x\r\nX-Sum: 7\r\n\r\n",
        )
        .await;
    let told = client.message().await.unwrap().text().to_ascii_lowercase();
    assert!(!told.contains("6.6.6.6") && !told.contains("authorization"), "{told}");
}
