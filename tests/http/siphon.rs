//! Large answers between bare sockets: within the kernel, and to both sides like any other.

use sluice::model::live::listener::Path;
use sluice::model::outcome::Outcome;

use crate::support::asked::web;
use crate::support::peer::ok;
use crate::support::{Asked, Peer, Reply, Sluice, Wire, eventually};

const SIZE: usize = 3_000_000;

/// A body in which every place looks different from those near it.
fn body(size: usize) -> Vec<u8> {
    (0u32..).flat_map(|number| number.wrapping_mul(0x9e37_79b9).to_le_bytes()).take(size).collect()
}

/// Its beginning, under a head with these fields.
fn large(fields: &str, promised: usize, sent: usize) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {promised}\r\n{fields}\r\n").into_bytes(), body(sent)].concat()
}

fn is_for(request: &crate::support::wire::Message, path: &str) -> bool {
    request.first_line().split(' ').nth(1) == Some(path)
}

async fn site(peer: &Peer) -> (Sluice, Wire) {
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let client = Wire::to(sluice.address(web()).await).await;
    (sluice, client)
}

fn spliced(sluice: &Sluice) -> u64 {
    sluice.listener(web()).bytes_by(Path::Splice).1
}

#[tokio::test]
async fn it_arrives_as_it_was_sent_and_both_connections_go_on() {
    let peer = Peer::http(|request| match is_for(request, "/large") {
        true => Reply::Send(large("", SIZE, SIZE)),
        false => ok("small"),
    })
    .await;
    let (sluice, mut client) = site(&peer).await;
    for round in 1..=3 {
        assert!(client.get("a", "/large").await.body == body(SIZE));
        // What came with the head went through hyper, and so may what came in too small pieces.
        let spliced = spliced(&sluice);
        assert!(spliced > round * SIZE as u64 / 2, "{spliced} in round {round}");
        assert_eq!(client.get("a", "/").await.text(), "small");
    }
    assert_eq!(sluice.listener(web()).bytes().1, 3 * (SIZE as u64 + 5));
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_in_their_order() {
    let peer = Peer::http(|request| match is_for(request, "/large") {
        true => Reply::Send(large("", SIZE, SIZE)),
        false => ok("small"),
    })
    .await;
    let (_sluice, mut client) = site(&peer).await;
    let ask = |path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    client.send([ask("/large"), ask("/"), ask("/large"), ask("/")].concat()).await;
    for _ in 0..2 {
        assert!(client.message().await.unwrap().body == body(SIZE));
        assert_eq!(client.message().await.unwrap().text(), "small");
    }
}

#[tokio::test]
async fn who_asks_for_its_head_alone_gets_that() {
    let peer = Peer::http(|_| Reply::Send(large("", SIZE, 0))).await;
    let (_sluice, mut client) = site(&peer).await;
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.head().await.unwrap().field("content-length"), Some("3000000"));
    }
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn one_that_breaks_off_is_seen_to_break_off() {
    let peer = Peer::http(|request| match is_for(request, "/reset") {
        true => Reply::Break(large("", SIZE, SIZE / 2)),
        false => Reply::Last(large("", SIZE, SIZE / 2)),
    })
    .await;
    let (sluice, _client) = site(&peer).await;
    for path in ["/reset", "/closed"] {
        let mut client = Wire::to(sluice.address(web()).await).await;
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        client.head().await.unwrap();
        let (got, _) = client.rest().await;
        assert!(got.len() <= SIZE / 2 && body(SIZE).starts_with(&got), "{} of {path}", got.len());
    }
    let broke = || sluice.listener(web()).ended(Outcome::BackendBroke);
    eventually("the broken ones to be counted", || (broke() == 2).then_some(())).await;
    assert!(spliced(&sluice) > 0);
}

#[tokio::test]
async fn what_is_beyond_its_length_is_nobodys() {
    let peer = Peer::http(|request| match is_for(request, "/large") {
        true => {
            Reply::Send([large("", SIZE, SIZE), b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil".to_vec()].concat())
        }
        false => ok("good"),
    })
    .await;
    let (_sluice, mut client) = site(&peer).await;
    for _ in 0..3 {
        assert!(client.get("a", "/large").await.body == body(SIZE));
        assert_eq!(client.get("a", "/").await.text(), "good");
    }
    assert!(peer.connections() >= 4, "none was used again");
}

#[tokio::test]
async fn a_backend_that_closes_after_it_is_not_asked_on_that_connection_again() {
    let peer = Peer::http(|request| match is_for(request, "/old") {
        true => Reply::Last([b"HTTP/1.0 200 OK\r\nContent-Length: 300000\r\n\r\n".to_vec(), body(300_000)].concat()),
        false => Reply::Send(large("Connection: x, Close\r\n", SIZE, SIZE)),
    })
    .await;
    let (sluice, mut client) = site(&peer).await;
    for _ in 0..2 {
        assert!(client.get("a", "/old").await.body == body(300_000));
        assert!(client.get("a", "/").await.body == body(SIZE));
    }
    assert_eq!(peer.connections(), 4);
    assert_eq!(sluice.pool("site").retries(), 0);
}

#[tokio::test]
async fn a_client_that_takes_its_time_gets_all_of_it() {
    const HUGE: usize = 24_000_000;
    let peer = Peer::http(|_| Reply::Send(large("", HUGE, HUGE))).await;
    let (sluice, mut client) = site(&peer).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.head().await.unwrap();
    // More than what is between them holds.
    let (mut seen, mut held) = (0, 0);
    eventually("the proxy to be held up", || {
        let moved = sluice.listener(web()).bytes().1;
        held = if moved == seen { held + 1 } else { 0 };
        seen = moved;
        (held > 20).then_some(())
    })
    .await;
    assert!(seen < HUGE as u64, "it waits for its client");
    assert!(client.exactly(HUGE).await == body(HUGE));
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_backends_connection_with_it() {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let peer = Peer::serving(move |mut wire| {
        let told = told.clone();
        async move {
            if wire.head().await.is_some() {
                let answer = large("", usize::MAX >> 4, SIZE);
                wire.send(answer).await;
                while wire.try_send(body(SIZE)).await.is_ok() {}
                let _ = told.send(());
            }
        }
    })
    .await;
    let (sluice, mut client) = site(&peer).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.head().await.unwrap();
    client.exactly(SIZE).await;
    client.reset();
    crate::support::soon("the backend to be let go", heard.recv()).await;
    eventually("the client to be gone", || (sluice.listener(web()).active() == 0).then_some(())).await;
}

#[tokio::test]
async fn one_to_a_request_with_a_body_goes_through_hyper() {
    let peer = Peer::http(|_| Reply::Send(large("", SIZE, SIZE))).await;
    let (sluice, mut client) = site(&peer).await;
    let answer = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
    assert!(answer.body == body(SIZE));
    assert_eq!(spliced(&sluice), 0);
}
