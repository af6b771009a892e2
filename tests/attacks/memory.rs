//! What clients cost in memory, measured at the binary: the bounds that docs/limits.md names.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::process::Process;
use crate::raw::{CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Raw, WINDOW_UPDATE, field, get, request};
use crate::support::peer::{answer, ok};
use crate::support::tls::Client;
use crate::support::{Peer, Reply, Wire, eventually};

const KIB: usize = 1024;
const CONNECTIONS: usize = 300;

/// A backend whose answers are large, or never come.
async fn backend() -> Peer {
    Peer::http(|request| match request.first_line().split(' ').nth(1).unwrap() {
        "/hang" => Reply::Hang,
        "/huge" => Reply::Send(answer("200 OK", &"x".repeat(8 * KIB * KIB))),
        _ => ok("well"),
    })
    .await
}

/// How much more is resident than `before`, once that has grown no more for a while.
async fn settled(process: &Process, before: usize) -> usize {
    let mut last = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = process.resident();
        if now <= last + 64 * KIB {
            return now.saturating_sub(before);
        }
        last = now;
    }
}

/// What each of [`CONNECTIONS`] holds once they rest and what they let go of is given back, which takes a moment.
async fn at_rest(process: &Process, before: usize, bound: usize) -> usize {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(Wire::to(process.http).await.get("a.test", "/").await.status(), 200);
        let each = process.resident().saturating_sub(before) / CONNECTIONS;
        if each < bound || tokio::time::Instant::now() > deadline {
            return each;
        }
    }
}

#[tokio::test]
async fn a_waiting_connection_costs_little() {
    let peer = backend().await;
    let process = Process::start(peer.address, "warn").await;
    let before = process.resident();
    let mut waiting = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut wire = Wire::to(process.http).await;
        assert_eq!(wire.get("a.test", "/").await.status(), 200);
        waiting.push(wire);
    }
    let each = at_rest(&process, before, 12 * KIB).await;
    println!("waiting HTTP/1 connection: {each} bytes");
    assert!(each < 12 * KIB, "{each} bytes");

    let client = Client::offering(&["http/1.1"]);
    let before = process.resident();
    let mut sealed = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut wire = Wire::new(client.connect(process.https, "a.test").await);
        assert_eq!(wire.get("a.test", "/").await.status(), 200);
        sealed.push(wire);
    }
    let each = at_rest(&process, before, 24 * KIB).await;
    println!("waiting HTTP/1 connection in TLS: {each} bytes");
    assert!(each < 24 * KIB, "{each} bytes");
}

/// Sixty-four whole connections of HTTP/1 that take nothing.
#[tokio::test]
async fn a_deaf_connection_is_bounded() {
    const DEAF: usize = 64;
    const HUGE: &str = "GET /huge HTTP/1.1\r\nHost: a.test\r\n\r\n";
    // At each of four places up to 128 KiB, in buffers that are larger.
    const BOUND: usize = 768 * KIB;
    let peer = backend().await;
    let process = Process::start(peer.address, "warn").await;
    let client = Client::offering(&["http/1.1"]);
    let (mut deaf, mut sealed) = (Vec::new(), Vec::new());
    let before = process.resident();
    for _ in 0..DEAF {
        let mut wire = Wire::to(process.http).await;
        wire.send(HUGE).await;
        deaf.push(wire);
    }
    let each = settled(&process, before).await / DEAF;
    println!("HTTP/1 connection that takes nothing: {each} bytes");
    assert!(each < BOUND, "{each} bytes");

    let before = process.resident();
    for _ in 0..DEAF {
        let mut wire = Wire::new(client.connect(process.https, "a.test").await);
        wire.send(HUGE).await;
        sealed.push(wire);
    }
    let each = settled(&process, before).await / DEAF;
    println!("HTTP/1 connection in TLS that takes nothing: {each} bytes");
    assert!(each < BOUND, "{each} bytes");
}

/// A hundred streams, the window of each shut, all of whose answers are large.
#[tokio::test]
async fn streams_with_their_windows_shut_are_bounded() {
    let peer = backend().await;
    let process = Process::start(peer.address, "warn").await;
    let before = process.resident();
    let mut raw = Raw::connect(process.https, &[(4, 0)]).await;
    for _ in 0..100 {
        raw.request(END_STREAM, &get("/huge")).await.unwrap();
    }
    for _ in 0..100 {
        raw.until(|head| head.kind == HEADERS).await.expect("a head");
    }
    let each = settled(&process, before).await / 100;
    println!("stream whose window is shut: {each} bytes");
    assert!(each < 256 * KIB, "{each} bytes");
}

/// How many streams drip, …
const DRIPPING: usize = 4;
/// … and in how many pieces: more than wait for a client.
const DROPS: usize = 8_000;

/// A backend whose answers come ten bytes at a time, chunked or of a known length; each is counted when it is out.
async fn dripping(out: Arc<AtomicUsize>) -> Peer {
    Peer::serving(move |mut wire| {
        let out = out.clone();
        async move {
            let head = wire.head().await.unwrap();
            let path = head.first_line().split(' ').nth(1).unwrap();
            if path == "/" || path == "/huge" {
                let body = "x".repeat(if path == "/" { 1 } else { 16 * KIB * KIB });
                // For as long as it takes.
                let _ = wire.stream.write_all(&answer("200 OK", &body)).await;
                return;
            }
            let (framing, drop) = match path {
                "/sized" => ("Content-Length: 1000000", "0123456789"),
                _ => ("Transfer-Encoding: chunked", "a\r\n0123456789\r\n"),
            };
            wire.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n")).await;
            for _ in 0..DROPS {
                wire.send(drop).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            out.fetch_add(1, Relaxed);
            std::future::pending().await
        }
    })
    .await
}

/// What a stream holds whose answer comes in small pieces, all windows open, to a client that reads nothing: its socket
/// is filled by a large answer before.
async fn dripped(method: &str, path: &str) -> usize {
    let out = Arc::new(AtomicUsize::new(0));
    let peer = dripping(out.clone()).await;
    let process = Process::start(peer.address, "warn").await;
    let mut raw = Raw::connect(process.https, &[(4, i32::MAX as u32)]).await;
    raw.frame(WINDOW_UPDATE, 0, 0, &(i32::MAX as u32 - 65_535).to_be_bytes()).await.unwrap();
    raw.deafen();
    raw.request(END_STREAM, &get("/huge")).await.unwrap();
    settled(&process, 0).await;
    let before = process.resident();
    for _ in 0..DRIPPING {
        if method == "GET" {
            raw.request(END_STREAM, &get(path)).await.unwrap();
        } else {
            let stream = raw.request(0, &request(method, path)).await.unwrap();
            raw.frame(DATA, END_STREAM, stream, b"x").await.unwrap();
        }
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while out.load(Relaxed) < DRIPPING {
        assert!(tokio::time::Instant::now() < deadline, "{} are out", out.load(Relaxed));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let each = settled(&process, before).await / DRIPPING;
    println!("stream of small pieces that is not read, {method} {path}: {each} bytes");
    each
}

/// What waits for a client holds no blocks that it was read into, and hardly anything is let wait.
#[tokio::test]
async fn small_pieces_hold_no_large_buffers() {
    const BOUND: usize = 256 * KIB;
    let [get, post] = ["GET", "POST"];
    let each: [usize; 4] = tokio::join!(
        dripped(get, "/chunked"),
        dripped(get, "/sized"),
        dripped(post, "/chunked"),
        dripped(post, "/sized"),
    )
    .into();
    assert!(each.iter().all(|each| *each < BOUND), "{each:?} bytes");
}

/// A hundred requests with heads as large as they may be, none of which is ever answered.
#[tokio::test]
async fn large_heads_are_bounded() {
    let peer = backend().await;
    let process = Process::start(peer.address, "warn").await;
    let before = process.resident();
    let mut raw = Raw::connect(process.https, &[]).await;
    let head = [get("/hang"), field("x-a", &"b".repeat(15_000)).repeat(4)].concat();
    for _ in 0..100 {
        let stream = raw.stream();
        let (first, rest) = head.split_at(16 * KIB);
        raw.frame(HEADERS, END_STREAM, stream, first).await.unwrap();
        let mut rest = rest.chunks(16 * KIB).peekable();
        while let Some(piece) = rest.next() {
            let last = if rest.peek().is_none() { END_HEADERS } else { 0 };
            raw.frame(CONTINUATION, last, stream, piece).await.unwrap();
        }
    }
    eventually("all to be asked for", || (peer.requests().len() >= 100).then_some(())).await;
    let each = settled(&process, before).await / 100;
    println!("stream with a large head: {each} bytes");
    assert!(each < 384 * KIB, "{each} bytes");
}
