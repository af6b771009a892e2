//! TCP connections through a whole proxy: bytes, ends, resets, retries, refusals.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use sluice::model::live::listener::Socket;
use sluice::model::outcome::{Outcome, Refusal};
use support::asked::{at, web};
use support::{Asked, Peer, Sluice, Wire, eventually, peer, soon};

/// A proxy before one backend, and where it listens.
async fn before(backends: &[SocketAddr]) -> (Sluice, SocketAddr) {
    let sluice = Sluice::start(Asked::stream(backends)).await;
    let address = sluice.address(web()).await;
    (sluice, address)
}

async fn ended(sluice: &Sluice, outcome: Outcome) {
    let listener = sluice.listener(web());
    eventually("the connection to be counted", || (listener.ended(outcome) == 1).then_some(())).await;
    eventually("nothing to be open", || (listener.active() == 0).then_some(())).await;
}

#[tokio::test]
async fn bytes_go_both_ways_and_are_counted() {
    let echo = Peer::echo().await;
    let (sluice, address) = before(&[echo.address]).await;
    let mut client = Wire::to(address).await;
    let body: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (mut read, mut write) = client.stream.split();
    let mut back = vec![0; body.len()];
    let send = async { tokio::io::AsyncWriteExt::write_all(&mut write, &body).await.unwrap() };
    let take = async { tokio::io::AsyncReadExt::read_exact(&mut read, &mut back).await.unwrap() };
    soon("the echo", async { tokio::join!(send, take) }).await;
    assert!(back == body, "bytes differ");
    let length = body.len() as u64;
    let counted = || (sluice.listener(web()).bytes() == (length, length)).then_some(());
    eventually("the bytes to be counted while the connection is open", counted).await;
    client.finish().await;
    let (rest, how) = client.rest().await;
    assert!(rest.is_empty() && how.is_ok());
    ended(&sluice, Outcome::Done).await;
}

#[tokio::test]
async fn a_client_that_has_sent_all_still_gets_its_answer() {
    let late = Peer::serving(|mut wire| async move {
        let (question, _) = wire.rest().await;
        wire.send(format!("you said {}", String::from_utf8_lossy(&question))).await;
    })
    .await;
    let (_sluice, address) = before(&[late.address]).await;
    let mut client = Wire::to(address).await;
    client.send("hello").await;
    client.finish().await;
    assert_eq!(client.rest().await.0, b"you said hello");
}

#[tokio::test]
async fn a_backend_that_breaks_off_is_seen_as_a_break_not_as_an_end() {
    let rude = Peer::serving(|mut wire| async move {
        wire.send("half of the").await;
        wire.exactly(1).await;
        wire.reset();
    })
    .await;
    let (sluice, address) = before(&[rude.address]).await;
    let mut client = Wire::to(address).await;
    assert_eq!(client.exactly(11).await, b"half of the");
    client.send("!").await;
    let (_, how) = client.rest().await;
    assert!(how.is_err(), "a clean end would hide the loss");
    ended(&sluice, Outcome::BackendBroke).await;
}

#[tokio::test]
async fn a_client_that_resets_frees_the_backend() {
    let echo = Peer::echo().await;
    let (sluice, address) = before(&[echo.address]).await;
    let mut client = Wire::to(address).await;
    client.send("x").await;
    client.exactly(1).await;
    client.reset();
    ended(&sluice, Outcome::ClientGone).await;
    let state =
        &sluice.snapshots.current().pools[&sluice::model::intent::PoolName::new("site")].backends[0].state.clone();
    assert_eq!(state.active(), 0);
}

#[tokio::test]
async fn a_client_that_resets_while_a_backend_does_not_answer_frees_it() {
    // A full accept queue: the kernel drops further handshakes, so a dial waits.
    let full = tokio::net::TcpSocket::new_v4().unwrap();
    full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = full.listen(0).unwrap();
    let address = full.local_addr().unwrap();
    let _first = Wire::to(address).await;
    let asked = Asked::stream(&[address]).change_pool("site", |p| p.timeouts.connect = Duration::from_secs(3600));
    let sluice = Sluice::start(asked).await;
    let client = Wire::to(sluice.address(web()).await).await;
    let name = sluice::model::intent::PoolName::new("site");
    let state = sluice.snapshots.current().pools[&name].backends[0].state.clone();
    eventually("the dial", || (state.active() == 1).then_some(())).await;
    client.reset();
    ended(&sluice, Outcome::ClientGone).await;
    assert_eq!(state.active(), 0);
}

#[tokio::test]
async fn a_dead_backend_is_tried_once_and_another_serves() {
    let echo = Peer::echo().await;
    let dead = [peer::nobody().await, peer::nobody().await];
    let (sluice, address) = before(&[dead[0], dead[1], echo.address]).await;
    for _ in 0..6 {
        let mut client = Wire::to(address).await;
        client.send("x").await;
        assert_eq!(client.exactly(1).await, b"x");
    }
    assert!(sluice.pool("site").retries() > 0);
    assert_eq!(sluice.listener(web()).ended(Outcome::ConnectFailed), 0);
}

#[tokio::test]
async fn with_no_backend_left_the_client_is_cut_off() {
    let (sluice, address) = before(&[peer::nobody().await]).await;
    let mut client = Wire::to(address).await;
    let (rest, how) = client.rest().await;
    assert!(rest.is_empty() && how.is_err(), "reset, not a clean end");
    ended(&sluice, Outcome::ConnectFailed).await;
}

#[tokio::test]
async fn a_silent_connection_ends_after_the_idle_time() {
    let echo = Peer::echo().await;
    let asked = Asked::stream(&[echo.address]).change_pool("site", |p| p.timeouts.idle = Duration::from_millis(200));
    let sluice = Sluice::start(asked).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    client.end().await;
    ended(&sluice, Outcome::Idle).await;
}

#[tokio::test]
async fn sources_that_are_not_allowed_are_closed_unread() {
    let echo = Peer::echo().await;
    let asked = Asked::stream(&[echo.address]).change_listener(web(), |l| {
        l.sources.deny = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let sluice = Sluice::start(asked).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    assert!(client.rest().await.0.is_empty());
    let listener = sluice.listener(web());
    assert_eq!((listener.refused(Refusal::Source), listener.accepted()), (1, 0));
    assert_eq!(echo.connections(), 0);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_its_holder_and_tried_again() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = sluice::model::intent::ListenerKey::tcp(holder.local_addr().unwrap());
    let echo = Peer::echo().await;
    let sluice = Sluice::start(Asked::stream(&[echo.address])).await;
    let good = sluice.address(web()).await;
    let both = Asked::stream(&[echo.address]).listener(
        taken,
        "other",
        sluice::model::intent::Protocol::Tcp,
        vec![support::asked::route("*", "/", "site")],
    );
    sluice.publish(&both.clone().into());
    let state = sluice.listener(taken);
    let reason = eventually("the failure", || match state.socket() {
        Socket::Failed(reason) => Some(reason),
        _ => None,
    })
    .await;
    assert!(reason.contains("is taken by"), "{reason}");
    let is_waiting = || sluice.ready.waiting_for().iter().any(|what| what.contains(&taken.address.to_string()));
    eventually("readiness to wait", || is_waiting().then_some(())).await;
    sluice.publish(&both.clone().change_listener(taken, |listener| listener.essential = false).into());
    eventually("readiness not to wait for what anyone may ask for", || (!is_waiting()).then_some(())).await;
    assert!(matches!(state.socket(), Socket::Failed(_)));
    sluice.publish(&both.into());
    eventually("readiness to wait again", || is_waiting().then_some(())).await;
    let mut client = Wire::to(good).await;
    client.send("x").await;
    assert_eq!(client.exactly(1).await, b"x", "the other listener serves");
    drop(holder);
    eventually("the port to be taken up", || matches!(state.socket(), Socket::Open(_)).then_some(())).await;
    eventually("readiness", || sluice.ready.waiting_for().is_empty().then_some(())).await;
}

#[tokio::test]
async fn two_data_threads_share_a_port() {
    let echo = Peer::echo().await;
    let sluice = Sluice::start_with(2, Asked::stream(&[echo.address])).await;
    let address = sluice.address(web()).await;
    let mut clients = Vec::new();
    for _ in 0..64 {
        let mut client = Wire::to(address).await;
        client.send("x").await;
        assert_eq!(client.exactly(1).await, b"x");
        clients.push(client);
    }
    let listener = sluice.listener(web());
    assert_eq!((listener.accepted(), listener.active()), (64, 64));
    drop(clients);
    eventually("all to end", || (listener.active() == 0).then_some(())).await;
    assert_eq!(listener.ended(Outcome::Done) + listener.ended(Outcome::ClientGone), 64);
}

#[tokio::test]
async fn a_drain_lets_connections_finish_and_a_force_cuts_them() {
    let echo = Peer::echo().await;
    let mut sluice = Sluice::start(Asked::stream(&[echo.address])).await;
    let address = sluice.address(web()).await;
    let mut client = Wire::to(address).await;
    client.send("x").await;
    client.exactly(1).await;
    let drained = sluice.drain(Duration::from_secs(20));
    eventually("the port to close", || std::net::TcpStream::connect(address).is_err().then_some(())).await;
    client.send("y").await;
    assert_eq!(client.exactly(1).await, b"y", "still served while draining");
    client.finish().await;
    client.end().await;
    assert!(soon("the drain", drained).await.unwrap(), "nothing was left");

    let mut sluice = Sluice::start(Asked::stream(&[echo.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    client.send("x").await;
    client.exactly(1).await;
    let listener = sluice.listener(web());
    assert!(!sluice.drain(Duration::from_millis(50)).await.unwrap(), "one was left");
    sluice.force().await;
    client.end().await;
    assert_eq!((listener.active(), listener.ended(Outcome::Stopped)), (0, 1));
}

#[tokio::test]
async fn a_listener_that_leaves_closes_its_port_and_keeps_its_connections() {
    let echo = Peer::echo().await;
    let two = Asked::stream(&[echo.address]).listener(
        at(2),
        "second",
        sluice::model::intent::Protocol::Tcp,
        vec![support::asked::route("*", "/", "site")],
    );
    let sluice = Sluice::start(two).await;
    let second = sluice.address(at(2)).await;
    let mut client = Wire::to(second).await;
    client.send("x").await;
    client.exactly(1).await;
    sluice.publish(&Asked::stream(&[echo.address]).into());
    eventually("the port to close", || std::net::TcpStream::connect(second).is_err().then_some(())).await;
    client.send("y").await;
    assert_eq!(client.exactly(1).await, b"y");
}
