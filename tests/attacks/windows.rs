//! Clients that ask and do not take, and those that take slowly; and how much one connection may ask.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sluice::model::intent::{ClientLimits, Protocol};
use sluice::model::outcome::Outcome;
use sluice::net::h2_frames::GOAWAY;

use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use crate::raw::{DATA, END_STREAM, HEADERS, RST_STREAM, Raw, WINDOW_UPDATE, get};
use crate::site::{SOON, Site};
use crate::support::asked::web;
use crate::support::tls::Client;
use crate::support::{Peer, Wire, eventually, soon};

/// SETTINGS_INITIAL_WINDOW_SIZE.
const WINDOW: u16 = 4;
const CANCEL: u8 = 8;

fn stalling() -> ClientLimits {
    ClientLimits { stall: SOON, ..ClientLimits::default() }
}

/// A hundred streams with no window hold a hundred backends, for so long.
#[tokio::test]
async fn streams_whose_client_takes_nothing_let_go_of_their_backends() {
    let site = Site::with(Protocol::Https, stalling()).await;
    site.under(async {
        let mut raw = Raw::connect(site.address, &[(WINDOW, 0)]).await;
        for _ in 0..100 {
            raw.request(END_STREAM, &get("/large")).await.unwrap();
        }
        eventually("all to be asked for", || (site.under_way() >= 90).then_some(())).await;
        for _ in 0..100 {
            let (_, code) = raw.until(|head| head.kind == RST_STREAM).await.expect("each is reset");
            assert_eq!(code, [0, 0, 0, CANCEL]);
        }
        eventually("the backends to be let go of", || (site.under_way() <= 1).then_some(())).await;
        // The connection itself has done nothing wrong.
        let stream = raw.request(END_STREAM, &get("/")).await.unwrap();
        raw.frame(WINDOW_UPDATE, 0, stream, &[0, 0, 1, 0]).await.unwrap();
        raw.until(|head| head.kind == DATA && head.stream == stream).await.expect("its answer");
    })
    .await;
    site.ended(Outcome::Stalled, 1).await;
}

/// What fits into one piece waits here, and not at its backend.
#[tokio::test]
async fn a_small_answer_that_is_not_taken_holds_no_backend() {
    let site = Site::with(Protocol::Https, stalling()).await;
    let mut raw = Raw::connect(site.address, &[(WINDOW, 0)]).await;
    let mut before = 0;
    for _ in 0..20 {
        let stream = raw.request(END_STREAM, &get("/")).await.unwrap();
        raw.until(|head| head.kind == HEADERS && head.stream == stream).await.expect("its head");
        eventually("the backend to be let go of", || (site.under_way() == 0).then_some(())).await;
        before = before.max(site.peer.connections());
    }
    assert_eq!(before, 1, "one connection serves them all");
    for _ in 0..20 {
        raw.until(|head| head.kind == RST_STREAM).await.expect("each is reset");
    }
}

/// A stream that is taken now and then is not given up.
#[tokio::test]
async fn a_stream_that_is_taken_slowly_comes_whole() {
    let site = Site::with(Protocol::Https, stalling()).await;
    let mut raw = Raw::connect(site.address, &[(WINDOW, 0)]).await;
    let stream = raw.request(END_STREAM, &get("/large")).await.unwrap();
    // 1 MiB in sixteen pieces, a third of the time apart: nine times what a stall may last.
    let mut got = 0;
    for _ in 0..16 {
        tokio::time::sleep(SOON / 3).await;
        for to in [0, stream] {
            raw.frame(WINDOW_UPDATE, 0, to, &[0, 1, 0, 0]).await.unwrap();
        }
        let end = got + 65536;
        while got < end {
            let (head, _) = raw.until(|head| head.kind != WINDOW_UPDATE && head.stream == stream).await.expect("more");
            assert!(matches!(head.kind, HEADERS | DATA), "{head:?}");
            got += if head.kind == DATA { head.length } else { 0 };
        }
    }
    assert_eq!(got, 1024 * 1024);
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_given_up_and_a_slow_one_is_not() {
    let peer = Peer::serving(|mut wire| async move {
        wire.head().await.unwrap();
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
        while wire.stream.write_all(&[b'x'; 16 * 1024]).await.is_ok() {}
    })
    .await;
    let limits = ClientLimits { stall: Duration::from_secs(2), ..ClientLimits::default() };
    let site = Site::before(peer, Protocol::Http, limits).await;
    let mut deaf = little(site.address).await;
    deaf.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let mut slow = little(site.address).await;
    slow.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    slow.head().await.unwrap();
    // Longer than the stall and two looks after it, a little at a time.
    let until = tokio::time::Instant::now() + Duration::from_secs(12);
    let listener = site.sluice.listener(web());
    while tokio::time::Instant::now() < until {
        slow.exactly(8 * 1024).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(listener.ended(Outcome::Stalled), 1, "the deaf one alone");
    eventually("its backend to be let go of", || (site.under_way() <= 1).then_some(())).await;
    assert_eq!(listener.active(), 1);
}

/// A client with little room for what it has not read.
async fn little(address: SocketAddr) -> Wire {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(32 * 1024).unwrap();
    Wire::new(soon("the connection", socket.connect(address)).await.unwrap())
}

/// A client that opens its windows 4 KiB at a time and takes 8 MiB so.
#[tokio::test]
async fn a_busy_reader_floods_nobody() {
    let site = Site::usual().await;
    let stream = Client::offering(&["h2"]).connect(site.address, "a.test").await;
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(4096).initial_connection_window_size(65_535);
    let (mut sender, connection) = builder.handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.unwrap();
    let mut connections = JoinSet::new();
    connections.spawn(connection);
    let request = Request::get("https://a.test/huge").body(Empty::new()).unwrap();
    let answer = soon("the answer", sender.send_request(request)).await.unwrap();
    let body = tokio::time::timeout(Duration::from_secs(60), answer.into_body().collect()).await.unwrap().unwrap();
    assert_eq!(body.to_bytes().len(), 8 * 1024 * 1024);
    drop(sender);
    soon("the end", connections.join_next()).await.unwrap().unwrap().unwrap();
    site.ended(Outcome::Done, 1).await;
}

#[tokio::test]
async fn a_connection_that_has_carried_enough_is_asked_to_end() {
    let limits = ClientLimits { requests: 5, ..ClientLimits::default() };
    let site = Site::with(Protocol::Https, limits).await;
    let mut raw = Raw::connect(site.address, &[]).await;
    for _ in 0..4 {
        let stream = raw.request(END_STREAM, &get("/")).await.unwrap();
        raw.until(|head| head.kind == DATA && head.stream == stream).await.expect("its answer");
    }
    let last = raw.request(END_STREAM, &get("/")).await.unwrap();
    // The farewell may come before the answer.
    let (mut answered, mut told) = (false, false);
    while !(answered && told) {
        let (head, payload) = raw.next().await.expect("both");
        answered |= head.kind == DATA && head.stream == last;
        if head.kind == GOAWAY {
            assert_eq!(payload[4..8], [0; 4], "nothing is wrong");
            told = true;
        }
    }
    let mut wire = Wire::new(Client::offering(&["http/1.1"]).connect(site.address, "a.test").await);
    for number in 1..=5 {
        let answer = wire.get("a.test", "/").await;
        assert_eq!((answer.status(), answer.field("connection")), (200, (number == 5).then_some("close")));
    }
    assert_eq!(wire.rest().await.0, b"");
}
