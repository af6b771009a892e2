//! Clients that take their time: at every stage a little, so that each holds something of ours.

use std::time::Duration;

use sluice::model::intent::{ClientLimits, Protocol};
use sluice::model::outcome::Outcome;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::raw::{DATA, END_STREAM, HEADERS, Raw, field, request};
use crate::site::{SOON, Site};
use crate::support::asked::web;
use crate::support::tls::Client;
use crate::support::{Wire, eventually};

/// How long anything here may take at most: its time, a quarter of it, and what a busy machine adds.
const LATE: Duration = Duration::from_secs(5);

fn hurried() -> ClientLimits {
    ClientLimits { handshake: SOON, head: SOON, body: SOON, stall: SOON, keep_alive: SOON, requests: 0 }
}

/// Sends a byte each twentieth of the time, for as long as it is taken; how long that was.
async fn drip(wire: &mut Wire, bytes: &[u8]) -> Duration {
    let begun = Instant::now();
    for byte in bytes {
        if begun.elapsed() > 2 * LATE || wire.stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(SOON / 20).await;
    }
    begun.elapsed()
}

#[tokio::test]
async fn heads_that_come_byte_by_byte_are_408() {
    // Who behaves well asks again as soon as the others are told, which is just when he would have waited too long.
    let site = Site::with(Protocol::Http, ClientLimits { keep_alive: LATE, ..hurried() }).await;
    let begun = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut wire = Wire::to(site.address).await;
        wire.send("GET / HTTP/1.1\r\nHost: a.test\r\nX-A: ").await;
        slow.push(wire);
    }
    let mut well = Wire::to(site.address).await;
    for wire in &mut slow {
        assert_eq!(well.get("a.test", "/").await.text(), "well");
        assert_eq!(wire.message().await.unwrap().status(), 408);
    }
    assert!((SOON..LATE).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    let mut wire = Wire::to(site.address).await;
    assert!(drip(&mut wire, &[b'G'; 400]).await < LATE);
    site.ended(Outcome::SlowHead, 51).await;
}

#[tokio::test]
async fn whoever_says_nothing_is_closed_at_every_stage() {
    let (http, https) = (Site::with(Protocol::Http, hurried()).await, Site::with(Protocol::Https, hurried()).await);
    https
        .under(async {
            let begun = Instant::now();
            let mut silent = Wire::to(http.address).await;
            let mut sealed = Wire::to(https.address).await;
            // Half a ClientHello, and then nothing.
            let mut half = Wire::to(https.address).await;
            half.send([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).await;
            // Shaken hands, and then nothing.
            let mut shaken = Wire::new(Client::offering(&["http/1.1"]).connect(https.address, "a.test").await);
            let mut h2 = Raw::connect(https.address, &[]).await;
            assert_eq!(silent.rest().await.0, b"");
            sealed.end().await;
            half.end().await;
            assert_eq!(shaken.rest().await.0, b"");
            h2.ended().await;
            assert!((SOON..LATE).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        })
        .await;
    http.ended(Outcome::Idle, 1).await;
    https.ended(Outcome::TlsFailed, 2).await;
}

#[tokio::test]
async fn connections_are_not_kept_for_whoever_hoards_them() {
    let site = Site::with(Protocol::Http, hurried()).await;
    let mut hoard = Vec::new();
    for _ in 0..100 {
        let mut wire = Wire::to(site.address).await;
        assert_eq!(wire.get("a.test", "/").await.status(), 200);
        hoard.push(wire);
    }
    let begun = Instant::now();
    for wire in &mut hoard {
        assert_eq!(wire.rest().await.0, b"");
    }
    assert!(begun.elapsed() < LATE, "{:?}", begun.elapsed());
    site.ended(Outcome::Idle, 100).await;
    assert_eq!(site.sluice.listener(web()).active(), 0);
}

/// A byte now and then, while a backend waits for the next.
#[tokio::test]
async fn a_body_that_drips_lets_go_of_its_backend() {
    let site = Site::with(Protocol::Http, hurried()).await;
    for framing in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
        let mut wire = Wire::to(site.address).await;
        wire.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\n{framing}\r\n\r\n")).await;
        eventually("the backend", || (site.under_way() == 1).then_some(())).await;
        let bytes = if framing.contains("chunked") { b"1\r\nx\r\n".repeat(70) } else { vec![b'x'; 400] };
        let begun = Instant::now();
        tokio::join!(drip(&mut wire, &bytes), async {
            eventually("the backend to be let go of", || (site.under_way() == 0).then_some(())).await;
            assert!((SOON..LATE).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        });
    }
    site.ended(Outcome::SlowBody, 2).await;
    assert_eq!(site.sluice.answers("web", Some("site"), "408"), 2);
}

#[tokio::test]
async fn a_stream_that_drips_is_408_and_the_next_is_served() {
    let site = Site::with(Protocol::Https, ClientLimits { body: SOON, ..ClientLimits::default() }).await;
    let mut raw = Raw::connect(site.address, &[]).await;
    let slow = raw.request(0, &request("POST", "/")).await.unwrap();
    raw.frame(DATA, 0, slow, b"x").await.unwrap();
    // `:status: 408` is no entry of the static table; the body says it in words.
    let (_, body) = raw.until(|head| head.kind == DATA && head.stream == slow).await.expect("an answer");
    assert!(String::from_utf8_lossy(&body).starts_with("408 "), "{body:?}");
    eventually("the backend to be let go of", || (site.under_way() == 0).then_some(())).await;
    let next = raw.request(END_STREAM, &request("GET", "/")).await.unwrap();
    raw.until(|head| head.kind == HEADERS && head.stream == next).await.expect("an answer");
}

/// gRPC's bodies are conversations: who waits for the other is not slow.
#[tokio::test]
async fn a_conversation_may_pause() {
    let site = Site::with(Protocol::Https, ClientLimits { body: SOON / 4, ..ClientLimits::default() }).await;
    let mut raw = Raw::connect(site.address, &[]).await;
    let head = [request("POST", "/call"), field("content-type", "application/grpc+proto"), field("te", "trailers")];
    let stream = raw.request(0, &head.concat()).await.unwrap();
    eventually("the backend", || (site.under_way() == 1).then_some(())).await;
    tokio::time::sleep(2 * SOON).await;
    assert_eq!(site.under_way(), 1);
    raw.frame(DATA, END_STREAM, stream, b"done").await.unwrap();
    let (_, body) = raw.until(|head| head.kind == DATA && head.stream == stream).await.expect("an answer");
    assert_eq!(body, b"well");
}

/// As much as it takes, and no hurry beyond that.
#[tokio::test]
async fn a_body_that_trickles_comes_whole() {
    let site = Site::with(Protocol::Http, hurried()).await;
    let mut wire = Wire::to(site.address).await;
    wire.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 40960\r\n\r\n").await;
    for _ in 0..10 {
        tokio::time::sleep(SOON / 4).await;
        wire.send([b'x'; 4096]).await;
    }
    assert_eq!(wire.message().await.unwrap().text(), "well");
    assert_eq!(site.peer.request().body.len(), 40_960);
}
