//! A flow whose backend goes has another with its next datagram; a swap that leaves its backend leaves the flow.

use sluice::model::intent::{Admin, Ejection, WhenDown};
use sluice::model::outcome::Outcome;

use super::*;

/// A proxy before two backends, a client of it, and which backend that has.
async fn before_two() -> (Sluice, [Answering; 2], Client, usize) {
    let backends = [Answering::named("a:").await, Answering::named("b:").await];
    let sluice = Sluice::start(datagrams(dns(), &[backends[0].address, backends[1].address])).await;
    let client = Client::of(sluice.address(dns()).await).await;
    let first = client.ask(b"?").await;
    (sluice, backends, client, usize::from(first[0] - b'a'))
}

fn answer_of(backend: usize) -> &'static [u8] {
    [b"a:!", b"b:!"][backend]
}

#[tokio::test]
async fn a_drained_backend_gives_its_flows_to_another() {
    let (sluice, backends, client, mine) = before_two().await;
    let drained = datagrams(dns(), &[backends[0].address, backends[1].address])
        .change_pool("site", |pool| pool.backends[mine].admin = Admin::Drain);
    sluice.publish(&drained.into());
    client.ask_until(b"!", answer_of(1 - mine)).await;
    assert_eq!(backend_of(&sluice, backends[mine].address).active(), 0, "its lease is given back");
    assert_eq!(backend_of(&sluice, backends[1 - mine].address).active(), 1);
    assert_eq!(sluice.listener(dns()).accepted(), 1, "the flow is the same");
}

#[tokio::test]
async fn a_removed_backend_gives_its_flows_to_another() {
    let (sluice, backends, client, mine) = before_two().await;
    let other = backends[1 - mine].address;
    sluice.publish(&datagrams(dns(), &[other]).into());
    client.ask_until(b"!", answer_of(1 - mine)).await;
    flows(&sluice, dns(), 1).await;
}

#[tokio::test]
async fn a_backend_whose_checks_fail_gives_its_flows_to_another() {
    use sluice::model::live::probe::Verdict;
    let backends = [Answering::named("a:").await, Answering::named("b:").await];
    let asked = datagrams(dns(), &[backends[0].address, backends[1].address])
        .change_pool("site", |pool| pool.probe = Some(sluice::model::intent::Probe::default()));
    // No health supervisor runs here: verdicts are the test's.
    let sluice = Sluice::start(asked).await;
    let client = Client::of(sluice.address(dns()).await).await;
    let mine = usize::from(client.ask(b"?").await[0] - b'a');
    let flip = |place: usize, verdict| {
        let snapshot = sluice.snapshots.current();
        let plan = snapshot.pools.values().next().unwrap();
        plan.backends[place].probe.as_ref().unwrap().set(verdict, 0, None);
    };
    flip(mine, Verdict::Down);
    assert_eq!(client.ask(b"!").await, answer_of(1 - mine), "at once: a verdict needs no publication");
    flip(1 - mine, Verdict::Down);
    assert_eq!(client.ask(b"!").await, answer_of(1 - mine), "nothing is better, so it stays");
    flip(mine, Verdict::Up);
    assert_eq!(client.ask(b"!").await, answer_of(mine));
}

#[tokio::test]
async fn a_swap_that_leaves_the_backend_leaves_the_flow() {
    let (sluice, backends, client, mine) = before_two().await;
    let port = backends[mine].heard()[0].0;
    let third = Answering::named("c:").await;
    // In another place of the list, and with another weight.
    let mut all = [third.address, backends[0].address, backends[1].address];
    for _ in 0..5 {
        all.rotate_left(1);
        let asked = datagrams(dns(), &all).change_pool("site", |pool| pool.backends[1].weight += 1);
        sluice.publish(&asked.into());
        assert_eq!(client.ask(b"!").await, answer_of(mine));
    }
    assert!(backends[mine].heard().iter().all(|(from, _)| *from == port), "by the same socket");
    assert_eq!(sluice.listener(dns()).accepted(), 1);
}

#[tokio::test]
async fn icmp_counts_against_the_backend_and_moves_the_flow() {
    let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let alive = Answering::named("a:").await;
    let sluice = Sluice::start(datagrams(dns(), &[gone, alive.address])).await;
    let address = sluice.address(dns()).await;
    for _ in 0..4 {
        Client::of(address).await.ask_until(b"!", b"a:!").await;
    }
    let (dead, state) = (backend_of(&sluice, gone), backend_of(&sluice, alive.address));
    assert!(dead.connect_failures() >= 2, "round-robin sent two flows there: {}", dead.connect_failures());
    assert_eq!((dead.connects(), dead.active()), (0, 0));
    assert_eq!((state.connects(), state.active()), (4, 4));
    let retries = sluice.pool("site").retries();
    assert!(retries >= 2, "{retries}");
}

#[tokio::test]
async fn a_backend_that_refuses_is_left_out_for_a_while() {
    let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let alive = Answering::named("a:").await;
    let rule = Ejection { failures: 2, time: Duration::from_secs(600), ..Ejection::default() };
    let asked = datagrams(dns(), &[gone, alive.address]).change_pool("site", |pool| pool.ejection = Some(rule));
    let sluice = Sluice::start(asked).await;
    let address = sluice.address(dns()).await;
    for _ in 0..12 {
        Client::of(address).await.ask_until(b"!", b"a:!").await;
    }
    let dead = backend_of(&sluice, gone);
    assert!(dead.ejection().is_ejected());
    assert_eq!(dead.connect_failures(), 2, "nothing went there after that");
}

#[tokio::test]
async fn a_lone_backend_that_comes_back_is_heard_again() {
    let place = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let sluice = Sluice::start(datagrams(dns(), &[place])).await;
    let client = Client::of(sluice.address(dns()).await).await;
    let state = backend_of(&sluice, place);
    for round in 1..=3u64 {
        client.send(b"?").await;
        eventually("the refusal to be counted", || (state.connect_failures() >= round).then_some(())).await;
    }
    let _back = Answering::at(place, "back:").await;
    client.ask_until(b"!", b"back:!").await;
    assert_eq!(sluice.listener(dns()).accepted(), 1);
}

#[tokio::test]
async fn without_a_backend_datagrams_are_dropped_and_counted() {
    let backend = Answering::named("a:").await;
    let refusing = |addresses: &[SocketAddr]| {
        datagrams(dns(), addresses).change_pool("site", |pool| pool.when_down = WhenDown::Refuse)
    };
    let sluice = Sluice::start(refusing(&[backend.address])).await;
    let client = Client::of(sluice.address(dns()).await).await;
    client.ask(b"?").await;
    let maintained = refusing(&[backend.address]).change_pool("site", |pool| pool.backends[0].admin = Admin::Maintain);
    sluice.publish(&maintained.into());
    let listener = sluice.listener(dns());
    eventually("the flow to end", || {
        let _ = client.0.try_send(b"?");
        (listener.ended(Outcome::NoBackend) > 0 && listener.active() == 0).then_some(())
    })
    .await;
    assert!(listener.datagrams.lost(sluice::model::live::Loss::NoBackend) > 0);
    sluice.publish(&refusing(&[backend.address]).into());
    client.ask_until(b"!", b"a:!").await;
}
