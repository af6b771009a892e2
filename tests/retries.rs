//! What is asked a second time, and what is not: a whole proxy before backends that break off, refuse and say no.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use sluice::model::intent::Pool;
use sluice::model::live::budget::FLOOR;
use support::asked::web;
use support::peer::answer;
use support::{Asked, Peer, Reply, Sluice, Wire};
use tokio::task::JoinSet;

/// A pool whose backends nothing takes out, so that what is tried again is all there is to see.
fn patient(pool: &mut Pool) {
    pool.ejection = None;
}

async fn before(peers: &[&Peer], edit: impl FnOnce(&mut Pool)) -> (Sluice, SocketAddr) {
    let addresses: Vec<SocketAddr> = peers.iter().map(|peer| peer.address).collect();
    let asked = Asked::site(&addresses).change_pool("site", patient).change_pool("site", edit);
    let sluice = Sluice::start(asked).await;
    let address = sluice.address(web()).await;
    (sluice, address)
}

fn request(method: &str) -> String {
    format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Numbers that are the same in every run (SplitMix64).
#[derive(Clone, Default)]
struct Chance(Arc<AtomicU64>);

impl Chance {
    fn below(&self, n: u64) -> u64 {
        let mut x = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % n
    }
}

/// A backend that closes kept connections whenever it likes: at once, a little later, or with the next request read.
async fn fickle(chance: Chance) -> Peer {
    Peer::serving(move |mut wire| {
        let chance = chance.clone();
        async move {
            for nth in 0u64.. {
                let patience = if nth == 0 { 10_000_000 } else { chance.below(1_500) };
                let head = tokio::time::timeout(Duration::from_micros(patience), wire.head()).await;
                let Ok(Some(_)) = head else { return };
                match chance.below(8) {
                    // The race itself: it was read and is not answered. On a fresh connection nobody does that.
                    0 if nth > 0 => return wire.reset(),
                    1 => return wire.send(answer("200 OK", "x")).await,
                    _ if wire.try_send(answer("200 OK", "x")).await.is_err() => return,
                    _ => {}
                }
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_sees_that_kept_connections_are_closed() {
    const CLIENTS: u64 = 8;
    const EACH: u64 = 500;
    for retries in [2, 0] {
        let chance = Chance::default();
        let (one, other) = (fickle(chance.clone()).await, fickle(chance.clone()).await);
        let (sluice, address) = before(&[&one, &other], |pool| pool.retries = retries).await;
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let chance = chance.clone();
            clients.spawn(async move {
                let mut client = Wire::to(address).await;
                for _ in 0..EACH {
                    let method = ["GET", "OPTIONS", "DELETE", "PUT"][chance.below(4) as usize];
                    let answer = client.ask(request(method)).await;
                    assert_eq!((answer.status(), answer.text()), (200, "x"), "{method} {}", answer.head);
                }
            });
        }
        clients.join_all().await;
        assert_eq!(sluice.answers("web", Some("site"), "200"), CLIENTS * EACH);
        let fresh = (one.connections() + other.connections()) as u64;
        println!("{} requests on {fresh} connections, {} elsewhere", CLIENTS * EACH, sluice.pool("site").retries());
        assert!(fresh > CLIENTS * EACH / 20, "they were closed all the time");
        assert_eq!(sluice.pool("site").retries(), 0, "it says nothing of a backend that it closes what it kept");
    }
}

#[tokio::test]
async fn only_what_merely_asks_goes_elsewhere_when_it_may_have_been_done() {
    let broken = Peer::http(|_| Reply::Reset).await;
    let alive = Peer::named("alive").await;
    for (method, goes) in
        [("GET", true), ("OPTIONS", true), ("DELETE", false), ("PUT", false), ("POST", false), ("PATCH", false)]
    {
        let (_sluice, address) = before(&[&broken, &alive], |_| {}).await;
        let mut client = Wire::to(address).await;
        let mut statuses = [client.ask(request(method)).await.status(), client.ask(request(method)).await.status()];
        statuses.sort_unstable();
        assert_eq!(statuses, if goes { [200, 200] } else { [200, 502] }, "{method}");
    }
}

#[tokio::test]
async fn what_a_backend_began_to_answer_is_not_done_twice() {
    let breaking = Peer::http(|message| match message.head.starts_with("DELETE") {
        true => Reply::Last(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()),
        false => Reply::Send(answer("200 OK", "x")),
    })
    .await;
    let (_sluice, address) = before(&[&breaking], |_| {}).await;
    let mut client = Wire::to(address).await;
    // So that there is a connection that waits.
    assert_eq!(client.ask(request("GET")).await.status(), 200);
    assert_eq!(client.ask(request("DELETE")).await.status(), 502);
    assert_eq!(breaking.requests().len(), 2);
}

#[tokio::test]
async fn an_answer_that_says_no_is_asked_for_elsewhere_where_the_pool_says_so() {
    let busy = Peer::http(|_| Reply::Send(answer("503 Service Unavailable", "busy"))).await;
    let alive = Peer::named("alive").await;
    let on = |pool: &mut Pool| pool.retry_on = vec![502, 503, 504];
    let (sluice, address) = before(&[&busy, &alive], on).await;
    let mut client = Wire::to(address).await;
    for _ in 0..10 {
        assert_eq!(client.get("a", "/").await.text(), "alive");
    }
    assert_eq!(alive.requests().len(), 10);
    assert!(busy.requests().len() >= 5 && busy.requests().len() as u64 == sluice.pool("site").retries());
    let posts = [client.ask(request("POST")).await.status(), client.ask(request("POST")).await.status()];
    assert!(posts.contains(&503), "a POST was done, whatever came of it: {posts:?}");
    // Nobody says so by default.
    let (_other, address) = before(&[&busy, &alive], |_| {}).await;
    let mut client = Wire::to(address).await;
    let answers = [client.get("a", "/").await.status(), client.get("a", "/").await.status()];
    assert!(answers.contains(&503), "{answers:?}");
}

#[tokio::test]
async fn when_all_say_no_the_client_gets_what_was_said() {
    let say = |name: &'static str| Peer::http(move |_| Reply::Send(answer("503 Service Unavailable", name)));
    let (one, other) = (say("one").await, say("other").await);
    let on = |pool: &mut Pool| (pool.retry_on, pool.retries) = (vec![503], 5);
    let (_sluice, address) = before(&[&one, &other], on).await;
    let mut client = Wire::to(address).await;
    for _ in 0..4 {
        let answer = client.get("a", "/").await;
        assert!(answer.status() == 503 && ["one", "other"].contains(&answer.text()), "{}", answer.head);
    }
    assert_eq!((one.requests().len(), other.requests().len()), (4, 4), "each was asked once for each request");
    // The other one cannot even be reached: what the first said is better than nothing.
    let gone = support::peer::nobody().await;
    let asked = Asked::site(&[one.address, gone]).change_pool("site", patient).change_pool("site", on);
    let sluice = Sluice::start(asked).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    for _ in 0..4 {
        assert_eq!(client.get("a", "/").await.text(), "one");
    }
}

#[tokio::test]
async fn who_has_an_answer_does_not_wait_for_a_better_one() {
    let busy = Peer::http(|_| Reply::Send(answer("503 Service Unavailable", "busy"))).await;
    let hung = Peer::http(|_| Reply::Hang).await;
    let on = |pool: &mut Pool| {
        (pool.retry_on, pool.max_connections) = (vec![503], 1);
        pool.queue.wait = Duration::from_secs(3600);
    };
    let (_sluice, address) = before(&[&busy, &hung], on).await;
    let mut held = Wire::to(address).await;
    held.send(request("GET")).await;
    support::eventually("it to be at one of the two", || (!hung.requests().is_empty()).then_some(())).await;
    assert_eq!(busy.requests().len(), 0, "a thread begins with the second");
    assert_eq!(Wire::to(address).await.get("a", "/").await.text(), "busy", "the other one is full");
    drop(held);
}

#[tokio::test]
async fn an_outage_is_not_doubled() {
    const REQUESTS: u64 = 500;
    let one = Peer::http(|_| Reply::Reset).await;
    let other = Peer::http(|_| Reply::Reset).await;
    let (sluice, address) = before(&[&one, &other], |pool| pool.retry_budget = Some(20)).await;
    let mut client = Wire::to(address).await;
    for _ in 0..REQUESTS {
        assert_eq!(client.get("a", "/").await.status(), 502);
    }
    let state = sluice.pool("site");
    let reached = (one.requests().len() + other.requests().len()) as u64;
    println!("{REQUESTS} requests came to the backends {reached} times, {} were over the budget", state.over_budget());
    assert!(reached <= REQUESTS + REQUESTS / 5 + FLOOR, "{reached}");
    assert!(reached >= REQUESTS + REQUESTS / 5, "the budget is used: {reached}");
    assert!(state.over_budget() > 0);
    let (_other, address) = before(&[&one, &other], |pool| pool.retry_budget = None).await;
    let before = one.requests().len() + other.requests().len();
    let mut client = Wire::to(address).await;
    for _ in 0..100 {
        assert_eq!(client.get("a", "/").await.status(), 502);
    }
    assert_eq!(one.requests().len() + other.requests().len() - before, 200, "without a budget it is doubled");
}

#[tokio::test]
async fn what_reached_nobody_needs_no_budget() {
    let (gone, alive) = (support::peer::nobody().await, Peer::named("alive").await);
    let asked = Asked::site(&[gone, alive.address]).change_pool("site", |pool| {
        (pool.ejection, pool.retry_budget) = (None, Some(0));
    });
    let sluice = Sluice::start(asked).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    for _ in 0..4 * FLOOR {
        assert_eq!(client.ask(request("POST")).await.text(), "alive");
    }
    assert_eq!(sluice.pool("site").over_budget(), 0);
    assert!(sluice.pool("site").retries() >= FLOOR);
}
