//! How connections end: drains, silent clients, clients that go away.

use std::sync::Arc;
use std::time::Duration;

use sluice::model::outcome::Outcome;
use tokio::sync::Notify;

use crate::support::asked::web;
use crate::support::peer::answer;
use crate::support::{Asked, PATIENCE, Peer, Sluice, Wire, eventually, soon};

/// A backend that answers when the test says so.
async fn held() -> (Peer, Arc<Notify>, Arc<Notify>) {
    let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, wait) = (asked.clone(), go.clone());
    let peer = Peer::serving(move |mut wire| {
        let (told, wait) = (told.clone(), wait.clone());
        async move {
            while wire.message().await.is_some() {
                told.notify_one();
                wait.notified().await;
                wire.send(answer("200 OK", "held")).await;
            }
        }
    })
    .await;
    (peer, asked, go)
}

#[tokio::test]
async fn a_drain_lets_requests_finish_and_closes_what_waits() {
    let (peer, asked, go) = held().await;
    let mut sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let address = sluice.address(web()).await;
    let (mut busy, mut idle) = (Wire::to(address).await, Wire::to(address).await);
    go.notify_one();
    assert_eq!(idle.get("a", "/").await.status(), 200);
    soon("the request", asked.notified()).await;
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    soon("the request", asked.notified()).await;
    let drained = sluice.drain(PATIENCE);
    assert_eq!(idle.rest().await.0, b"", "one that waits is closed at once");
    go.notify_one();
    let answer = busy.message().await.unwrap();
    assert_eq!((answer.status(), answer.text(), answer.field("connection")), (200, "held", Some("close")));
    assert!(soon("the drain", drained).await.unwrap(), "nothing was left");
    assert_eq!(sluice.listener(web()).ended(Outcome::Done), 2);
    sluice.force().await;
}

#[tokio::test]
async fn what_does_not_finish_is_dropped_and_counted_as_stopped() {
    let (peer, asked, _go) = held().await;
    let mut sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut busy = Wire::to(sluice.address(web()).await).await;
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    soon("the request", asked.notified()).await;
    let drained = sluice.drain(Duration::from_millis(50));
    assert!(!soon("the drain", drained).await.unwrap());
    let state = sluice.listener(web());
    sluice.force().await;
    assert_eq!((state.ended(Outcome::Stopped), state.active()), (1, 0));
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_gives_its_lease_back() {
    let peer = Peer::serving(|mut wire| async move {
        wire.head().await.unwrap();
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        while wire.try_send("4\r\nmore\r\n").await.is_ok() {}
    })
    .await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.head().await.unwrap();
    let pool = sluice.snapshots.current().pools.values().next().unwrap().clone();
    assert_eq!(pool.backends[0].state.active(), 1);
    client.reset();
    eventually("the lease", || (pool.backends[0].state.active() == 0).then_some(())).await;
    eventually("the end", || (sluice.listener(web()).ended(Outcome::ClientGone) == 1).then_some(())).await;
}

#[tokio::test]
async fn a_client_that_has_said_all_still_gets_its_answer() {
    let (peer, asked, go) = held().await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.finish().await;
    soon("the request", asked.notified()).await;
    go.notify_one();
    assert_eq!(client.message().await.unwrap().text(), "held");
    eventually("the end", || (sluice.listener(web()).ended(Outcome::Done) == 1).then_some(())).await;
}

/// hyper does not read while an answer is silent: the client's leaving must be seen all the same.
#[tokio::test]
async fn a_client_that_leaves_during_a_silent_answer_is_let_go_of() {
    let peer = Peer::serving(|mut wire| async move {
        wire.head().await.unwrap();
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
        std::future::pending::<()>().await;
    })
    .await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let address = sluice.address(web()).await;
    for and_more in ["", "G"] {
        for resets in [true, false] {
            let mut client = Wire::to(address).await;
            client.send(format!("GET /events HTTP/1.1\r\nHost: a\r\n\r\n{and_more}")).await;
            client.head().await.unwrap();
            if resets {
                client.reset();
            }
        }
    }
    let listener = sluice.listener(web());
    let gone = async {
        while listener.active() > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("every connection is let go of");
    let ends: Vec<_> = Outcome::ALL.iter().map(|how| (how.label(), listener.ended(*how))).filter(|e| e.1 > 0).collect();
    assert_eq!(ends, [(Outcome::ClientGone.label(), 4)]);
}

#[tokio::test]
async fn an_answer_that_comes_before_its_request_has_ended_is_followed_by_no_other() {
    let early = Peer::serving(|mut wire| async move {
        wire.head().await.unwrap();
        wire.send(answer("200 OK", "early")).await;
        wire.end().await;
    })
    .await;
    let sluice = Sluice::start(Asked::site(&[early.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n").await;
    assert_eq!(client.message().await.unwrap().text(), "early");
    // Longer than a head may take.
    let until = tokio::time::Instant::now() + Duration::from_secs(12);
    while tokio::time::Instant::now() < until {
        if client.try_send("x").await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    client.finish_quietly().await.ok();
    assert_eq!(client.rest().await.0, b"", "no 408 after a whole answer");
}
