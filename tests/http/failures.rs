//! Backends that fail: what is tried again, and what the client is told.

use std::time::Duration;

use sluice::model::intent::{Pool, PoolName, Probe};
use sluice::model::live::probe::Verdict;

use crate::support::asked::web;
use crate::support::peer::{answer, nobody, ok};
use crate::support::{Asked, Peer, Reply, Sluice, Wire};

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";

#[tokio::test]
async fn a_backend_that_is_down_costs_no_request() {
    let (dead, peer) = (nobody().await, Peer::named("alive").await);
    let sluice = Sluice::start(Asked::site(&[dead, peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    for _ in 0..4 {
        assert_eq!(client.get("a", "/").await.text(), "alive");
        assert_eq!(client.ask(POST).await.text(), "alive", "nothing was sent yet, so a POST goes elsewhere too");
    }
    assert!(sluice.pool("site").retries() > 0);
}

#[tokio::test]
async fn when_none_can_be_reached_the_client_is_told() {
    let (one, two) = (nobody().await, nobody().await);
    let sluice = Sluice::start(Asked::site(&[one, two])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    let answer = client.get("a", "/").await;
    assert_eq!((answer.status(), answer.text()), (503, "503 no backend could be reached\n"));
    assert_eq!(client.ask(POST).await.status(), 503, "the connection goes on");
    assert_eq!(sluice.answers("web", Some("site"), "503"), 2);
}

#[tokio::test]
async fn a_pool_without_backends_or_no_pool_at_all_is_503() {
    let sluice = Sluice::start(Asked::site(&["127.0.0.1:9".parse().unwrap()])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    sluice.publish(&Asked::site(&[]).into());
    assert_eq!(client.get("a", "/").await.text(), "503 no backend is available\n");
    let mut asked = Asked::site(&[]);
    asked.0.pools.clear();
    sluice.publish(&asked.into());
    assert_eq!(client.get("a", "/").await.text(), "503 no backend serves this\n");
}

#[tokio::test]
async fn a_get_without_an_answer_goes_to_another_backend_and_a_post_does_not() {
    let broken = Peer::http(|_| Reply::Reset).await;
    let peer = Peer::named("alive").await;
    let stays = |pool: &mut Pool| pool.ejection = None;
    let sluice = Sluice::start(Asked::site(&[broken.address, peer.address]).change_pool("site", stays)).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    for _ in 0..4 {
        assert_eq!(client.get("a", "/").await.text(), "alive");
    }
    assert!(!broken.requests().is_empty());
    let posts = [client.ask(POST).await, client.ask(POST).await];
    let mut statuses = posts.map(|answer| answer.status());
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 502], "one of two in turn went to the broken backend, and there it stayed");
}

#[tokio::test]
async fn when_all_break_off_the_client_is_told() {
    let peer = Peer::http(|_| Reply::Reset).await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    assert_eq!(client.get("a", "/").await.status(), 502);
    assert_eq!(client.ask(POST).await.text(), "502 the backend broke off before it answered\n");
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_502() {
    let peer = Peer::http(|_| Reply::Last(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec())).await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    assert_eq!(client.get("a", "/").await.status(), 502);
}

#[tokio::test]
async fn a_backend_that_is_too_slow_is_504_and_not_asked_twice() {
    let peer = Peer::http(|_| Reply::Hang).await;
    let slow = |pool: &mut Pool| pool.timeouts.response = Duration::from_millis(100);
    let sluice = Sluice::start(Asked::site(&[peer.address]).change_pool("site", slow)).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    let answer = client.get("a", "/").await;
    assert_eq!((answer.status(), answer.text()), (504, "504 the backend did not answer in time\n"));
    assert_eq!(peer.requests().len(), 1);
}

/// A backend that loses power sends no reset: its connections just fall silent, until checks find it down.
#[tokio::test]
async fn a_request_leaves_a_backend_that_goes_down_while_it_waits() {
    let (silent, peer) = (Peer::http(|_| Reply::Hang).await, Peer::named("alive").await);
    let checked = |pool: &mut Pool| pool.probe = Some(Probe::default());
    let asked = Asked::site(&[silent.address, peer.address]).change_pool("site", checked);
    let sluice = Sluice::start(asked).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    let verdict = |verdict| {
        let snapshot = sluice.snapshots.current();
        snapshot.pools[&PoolName::new("site")].backends[0].probe.as_ref().unwrap().set(verdict, 0, None);
    };
    for request in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", POST] {
        verdict(Verdict::Up);
        let before = silent.requests().len();
        client.send(request).await;
        // In turn: at the latest the second one comes to the silent one.
        let reached = || (silent.requests().len() > before).then_some(true);
        loop {
            let answered = tokio::time::timeout(Duration::from_millis(100), client.message()).await;
            if reached().is_some() {
                break;
            }
            assert_eq!(answered.unwrap().unwrap().text(), "alive");
            client.send(request).await;
        }
        verdict(Verdict::Down);
        if request == POST {
            // It may have been done there, so it waits for its answer or its time.
            let early = tokio::time::timeout(Duration::from_millis(1_500), client.message()).await;
            assert!(early.is_err(), "asked twice");
        } else {
            assert_eq!(client.message().await.unwrap().text(), "alive");
        }
    }
}

#[tokio::test]
async fn a_body_that_takes_long_does_not_make_the_backend_late() {
    let peer = Peer::named("patient").await;
    let slow = |pool: &mut Pool| pool.timeouts.response = Duration::from_millis(200);
    let sluice = Sluice::start(Asked::site(&[peer.address]).change_pool("site", slow)).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n").await;
    for _ in 0..10 {
        // Time that passes is the story here.
        tokio::time::sleep(Duration::from_millis(60)).await;
        client.send("x").await;
    }
    assert_eq!(client.message().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_connection_that_died_while_it_waited_is_replaced() {
    let peer = Peer::http(|request| match request.first_line() {
        "GET /last HTTP/1.1" => Reply::Last(answer("200 OK", "bye")),
        _ => ok("alive"),
    })
    .await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    for _ in 0..20 {
        assert_eq!(client.get("a", "/last").await.text(), "bye");
        assert_eq!(client.get("a", "/").await.text(), "alive");
    }
}

#[tokio::test]
async fn an_early_answer_to_a_body_still_under_way_arrives() {
    let peer = Peer::serving(|mut wire| async move {
        wire.head().await.unwrap();
        wire.send(answer("413 Content Too Large", "no")).await;
        wire.end().await;
    })
    .await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nsome").await;
    assert_eq!(client.message().await.unwrap().status(), 413);
}

/// The race of every keep-alive: the backend closes just as the next request comes.
#[tokio::test]
async fn a_lone_backend_that_closes_a_kept_connection_is_asked_again() {
    let peer = Peer::serving(|mut wire| async move {
        wire.head().await.unwrap();
        wire.send(answer("200 OK", "first")).await;
        // Read, and never answered.
        if wire.head().await.is_some() {
            wire.reset();
        }
    })
    .await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    for _ in 0..6 {
        assert_eq!(client.get("a", "/").await.text(), "first");
    }
    let empty = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(client.ask(empty).await.status(), 502, "a POST is not asked twice");
    // One with a body goes on connections that are kept for such.
    assert_eq!(client.ask(POST).await.text(), "first");
    assert_eq!(client.ask(POST).await.status(), 502, "nor is this");
}

#[tokio::test]
async fn an_answer_in_a_coding_that_we_do_not_know_is_502() {
    let coded = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let peer = Peer::http(|_| Reply::Send(coded.to_vec())).await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    assert_eq!(client.get("a", "/").await.status(), 502);
}
