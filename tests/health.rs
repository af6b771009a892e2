//! What becomes of traffic when backends fail it: a whole proxy with its checks, real sockets, and machines that lose
//! power.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "health/machine.rs"]
mod machine;
mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use machine::Machine;
use sluice::health;
use sluice::model::intent::{Agent, Ejection, Failings, Pool, PoolName, Probe};
use sluice::model::live::BackendState;
use sluice::model::snapshot::PoolPlan;
use support::asked::{pool, web};
use support::{Asked, Peer, Reply, Sluice, Wire, eventually, peer, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// A proxy, the address of its listener, and its checks, which end with this.
struct Edge {
    sluice: Sluice,
    address: SocketAddr,
    _checks: JoinSet<()>,
    _trigger: sluice::drain::Trigger,
}

impl Edge {
    async fn before(asked: Asked) -> Self {
        let sluice = Sluice::start(asked).await;
        let address = sluice.address(web()).await;
        let (trigger, drain) = sluice::drain::channel();
        let mut checks = JoinSet::new();
        checks.spawn(health::follow(sluice.snapshots.clone(), sluice.live.clone(), drain));
        Self { sluice, address, _checks: checks, _trigger: trigger }
    }

    fn plan(&self) -> Arc<PoolPlan> {
        self.sluice.snapshots.current().pools[&PoolName::new("site")].clone()
    }

    fn state(&self, index: usize) -> Arc<BackendState> {
        self.plan().backends[index].state.clone()
    }

    fn is_available(&self, index: usize) -> bool {
        self.plan().backends[index].is_available()
    }

    /// One connection to its end: whether what was sent came back, and when.
    async fn echo(&self) -> Result<Duration, String> {
        echo(self.address).await
    }
}

async fn echo(address: SocketAddr) -> Result<Duration, String> {
    let began = Instant::now();
    let mut stream = Wire::to(address).await.stream;
    let mut back = [0; 2];
    let talk = async {
        stream.write_all(b"hi").await?;
        stream.read_exact(&mut back).await
    };
    let how = soon("the echo", talk).await;
    match how {
        Ok(_) if &back == b"hi" => Ok(began.elapsed()),
        how => Err(format!("{back:?} {how:?} after {:?}", began.elapsed())),
    }
}

fn ejecting(pool: &mut Pool) {
    pool.ejection = Some(Ejection { failures: 3, time: Duration::from_millis(300), ..Ejection::default() });
}

#[tokio::test]
async fn who_refuses_is_left_out_and_comes_back_on_probation() {
    let (dead, alive) = (peer::nobody().await, Peer::echo().await);
    let asked = Asked::stream(&[dead, alive.address]).change_pool("site", ejecting);
    let edge = Edge::before(asked).await;
    let state = edge.state(0);
    for _ in 0..20 {
        edge.echo().await.unwrap();
    }
    assert_eq!((state.connect_failures(), state.ejection().count()), (3, 1), "three in a row, and no more");
    assert!(!edge.is_available(0));
    eventually("its time to be over", || edge.is_available(0).then_some(())).await;
    for _ in 0..10 {
        edge.echo().await.unwrap();
    }
    assert_eq!((state.connect_failures(), state.ejection().count()), (4, 2), "one was enough");
    // In the end somebody listens there again.
    let back = Machine::at(dead).await;
    eventually("twice its time to be over", || edge.is_available(0).then_some(())).await;
    for _ in 0..10 {
        edge.echo().await.unwrap();
    }
    assert!(edge.is_available(0) && back.served() >= 4, "{}", back.served());
}

#[tokio::test]
async fn a_pools_last_backend_stays() {
    let edge = Edge::before(Asked::stream(&[peer::nobody().await]).change_pool("site", ejecting)).await;
    for _ in 0..9 {
        edge.echo().await.unwrap_err();
    }
    assert_eq!(edge.state(0).ejection().count(), 0);
    assert_eq!(edge.state(0).connect_failures(), 9);
}

#[tokio::test]
async fn who_breaks_off_before_a_byte_is_left_out_but_never_more_than_half() {
    let rude = || {
        Peer::serving(|mut wire| async move {
            wire.exactly(1).await;
            wire.reset();
        })
    };
    let (one, other, echo) = (rude().await, rude().await, Peer::echo().await);
    let backends = [one.address, other.address, echo.address];
    let long = |pool: &mut Pool| {
        pool.ejection = Some(Ejection { failures: 3, time: Duration::from_secs(60), ..Ejection::default() })
    };
    let edge = Edge::before(Asked::stream(&backends).change_pool("site", long)).await;
    // It may be their clients' doing: one of three, that is.
    for _ in 0..30 {
        let _ = edge.echo().await;
    }
    let mut ejections: Vec<u64> = (0..3).map(|index| edge.state(index).ejection().count()).collect();
    assert_eq!(ejections.pop(), Some(0));
    ejections.sort_unstable();
    assert_eq!(ejections, [0, 1]);
}

#[tokio::test]
async fn http_backends_that_break_off_are_left_out_and_no_client_sees_it() {
    let rude = Peer::http(|_| Reply::Reset).await;
    let peer = Peer::named("alive").await;
    let asked = Asked::site(&[rude.address, peer.address]).change_pool("site", ejecting);
    let edge = Edge::before(asked).await;
    let mut client = Wire::to(edge.address).await;
    for _ in 0..20 {
        assert_eq!(client.get("a", "/").await.text(), "alive");
    }
    assert_eq!(edge.state(0).ejection().count(), 1);
    assert_eq!(rude.requests().len(), 3);
}

#[tokio::test]
async fn an_answer_keeps_a_backend_in_whatever_it_says() {
    let sick = Peer::http(|_| Reply::Send(peer::answer("500 Internal Server Error", ""))).await;
    let peer = Peer::named("alive").await;
    let asked = Asked::site(&[sick.address, peer.address]).change_pool("site", ejecting);
    let edge = Edge::before(asked).await;
    let mut client = Wire::to(edge.address).await;
    for _ in 0..20 {
        client.get("a", "/").await;
    }
    assert_eq!((sick.requests().len(), edge.state(0).ejection().count()), (10, 0));
}

#[tokio::test]
async fn errors_leave_a_backend_out_where_the_pool_says_so_and_never_more_than_half() {
    let sick = Peer::http(|request| match request.first_line().contains("/fine") {
        true => Reply::Send(peer::answer("404 Not Found", "well")),
        false => Reply::Send(peer::answer("500 Internal Server Error", "a body, too")),
    })
    .await;
    let wrong = Peer::http(|_| Reply::Send(peer::answer("501 Not Implemented", ""))).await;
    let errors = |pool: &mut Pool| {
        let on = Failings { server_error: true, ..Failings::default() };
        pool.ejection = Some(Ejection { failures: 3, time: Duration::from_millis(300), on });
    };
    let edge = Edge::before(Asked::site(&[sick.address, wrong.address]).change_pool("site", errors)).await;
    let mut client = Wire::to(edge.address).await;
    // Two errors and something else are no streak, though each error has a body.
    for path in ["/", "/", "/", "/", "/fine", "/fine", "/", "/", "/", "/"] {
        client.get("a", path).await;
    }
    assert_eq!(edge.state(0).ejection().count(), 0);
    for _ in 0..10 {
        client.get("a", "/").await;
    }
    let counts = [edge.state(0).ejection().count(), edge.state(1).ejection().count()];
    assert_eq!(counts, [1, 0], "501 says that the request is not for it");
    assert_eq!(sick.requests().len(), 6, "and it gets no more");
    eventually("its time to be over", || edge.is_available(0).then_some(())).await;
}

#[tokio::test]
async fn a_backend_that_answers_nobody_is_left_out() {
    let hung = Peer::http(|_| Reply::Hang).await;
    let peer = Peer::named("alive").await;
    for (timeout, ejections) in [(true, 1), (false, 0)] {
        let asked = Asked::site(&[hung.address, peer.address]).change_pool("site", |pool| {
            pool.timeouts.response = Duration::from_millis(20);
            let on = Failings { timeout, ..Failings::default() };
            pool.ejection = Some(Ejection { failures: 3, time: Duration::from_secs(60), on });
        });
        let edge = Edge::before(asked).await;
        let mut client = Wire::to(edge.address).await;
        let mut slow = 0;
        for _ in 0..12 {
            slow += usize::from(client.get("a", "/").await.status() == 504);
        }
        assert_eq!((edge.state(0).ejection().count(), slow), (ejections, if timeout { 3 } else { 6 }));
    }
}

/// An agent that says what it is told to, to everyone who asks.
struct FakeAgent {
    port: u16,
    line: tokio::sync::watch::Sender<&'static str>,
    _task: JoinSet<()>,
}

async fn agent(line: &'static str) -> FakeAgent {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let (line, says) = tokio::sync::watch::channel(line);
    let mut task = JoinSet::new();
    task.spawn(async move {
        while let Ok((mut stream, _)) = socket.accept().await {
            let line = *says.borrow();
            // Who asks may have gone.
            let _ = stream.write_all(line.as_bytes()).await;
        }
    });
    FakeAgent { port, line, _task: task }
}

#[tokio::test]
async fn an_agent_takes_its_backend_out_and_puts_it_back() {
    let (one, other) = (Peer::echo().await, Peer::echo().await);
    let agent = agent("up ready 100%\n").await;
    let asks = |pool: &mut Pool| pool.agent = Some(Agent { port: agent.port, every: Duration::from_millis(20) });
    // One address, so one agent speaks for both: for a pool it can only take out all.
    let edge = Edge::before(Asked::stream(&[one.address, other.address]).change_pool("site", asks)).await;
    let state = edge.plan().backends[0].agent.clone().unwrap();
    for (line, available) in [("drain\n", false), ("up\n", false), ("ready\n", true), ("down # full\n", false)] {
        agent.line.send_replace(line);
        // Each backend asks for itself: one may have heard it before the other.
        let heard = || edge.is_available(0) == available && edge.is_available(1) == available;
        eventually(line, || heard().then_some(())).await;
    }
    eventually("the reason", || state.why().filter(|why| **why == *"full")).await;
    edge.echo().await.unwrap();
    assert_eq!(edge.sluice.pool("site").failed_opens(), 1, "what is only said to be down is better than nothing");
    agent.line.send_replace("up maint\n");
    eventually("maint", || edge.plan().backends.iter().all(|b| !b.is_ready()).then_some(())).await;
    edge.echo().await.unwrap_err();
    agent.line.send_replace("ready 50%\n");
    eventually("half", || (edge.plan().backends[0].wish() == 128).then_some(())).await;
    edge.echo().await.unwrap();
}

/// Two backends on one machine, one on another, and everything as it is by default.
async fn two_nodes() -> (Machine, Machine, Machine, Edge) {
    let (one, two) = (Machine::on([127, 0, 0, 2]).await, Machine::on([127, 0, 0, 2]).await);
    let other = Machine::on([127, 0, 0, 3]).await;
    let mut site = Pool::new(support::asked::origin("pool"));
    site.backends = pool(&[one.address, two.address, other.address]).backends;
    assert_eq!(site.probe, Some(Probe::default()));
    let edge = Edge::before(Asked::stream(&[]).pool("site", site)).await;
    eventually("all to be found up", || {
        let plan = edge.plan();
        let up = |b: &sluice::model::snapshot::BackendPlan| {
            b.probe.as_ref().unwrap().verdict() == sluice::model::live::probe::Verdict::Up
        };
        plan.backends.iter().all(up).then_some(())
    })
    .await;
    (one, two, other, edge)
}

/// The promise: a machine that loses power takes no new connection after 3 s, and no client sees it.
const PROMISE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_loses_power_takes_nothing_after_three_seconds_and_no_client_sees_it() {
    let (mut one, mut two, other, edge) = two_nodes().await;
    one.lose_power();
    two.lose_power();
    let dark = Instant::now();
    let mut clients: JoinSet<(usize, Duration)> = JoinSet::new();
    for _ in 0..4 {
        let address = edge.address;
        clients.spawn(async move {
            let (mut count, mut slowest) = (0, Duration::ZERO);
            while dark.elapsed() < PROMISE + Duration::from_secs(2) {
                let took = echo(address).await.unwrap();
                (count, slowest) = (count + 1, slowest.max(took));
            }
            (count, slowest)
        });
    }
    let mut last_open = Duration::ZERO;
    let failures = || edge.state(0).connect_failures() + edge.state(1).connect_failures();
    while dark.elapsed() < PROMISE {
        if edge.is_available(0) || edge.is_available(1) {
            last_open = dark.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // What was begun before then has failed a connect timeout later.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let before = failures();
    let all = clients.join_all().await;
    let (count, slowest) = all.iter().fold((0, Duration::ZERO), |(n, slow), (m, took)| (n + m, slow.max(*took)));
    println!("left out after {last_open:?}; {count} connections, the slowest took {slowest:?}, {before} were retried");
    assert!(last_open < PROMISE, "{last_open:?}");
    assert_eq!(failures(), before, "nothing goes there after that");
    assert!(slowest < Duration::from_millis(2_500), "one timeout, and elsewhere: {slowest:?}");
    assert!(other.served() >= count);
    one.regain_power();
    two.regain_power();
    eventually("both to be back", || (edge.is_available(0) && edge.is_available(1)).then_some(())).await;
    for _ in 0..6 {
        edge.echo().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_holds_where_nobody_connects() {
    let (mut one, mut two, _other, edge) = two_nodes().await;
    one.lose_power();
    two.lose_power();
    let dark = Instant::now();
    eventually("it to be found out", || (!edge.is_available(0) && !edge.is_available(1)).then_some(())).await;
    let found = dark.elapsed();
    println!("left out after {found:?}");
    assert!(found < PROMISE, "{found:?}");
    edge.echo().await.unwrap();
    assert_eq!(edge.state(0).connect_failures() + edge.state(1).connect_failures(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_alone_finds_that_a_whole_node_is_gone() {
    let mut dark = Vec::new();
    for _ in 0..6 {
        dark.push(Machine::on([127, 0, 0, 4]).await);
    }
    let alive = Machine::on([127, 0, 0, 5]).await;
    let addresses: Vec<_> = dark.iter().map(|machine| machine.address).chain([alive.address]).collect();
    let edge = Edge::before(Asked::stream(&addresses)).await;
    dark.iter_mut().for_each(Machine::lose_power);
    let node = edge.state(0).node().clone();
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        slowest = slowest.max(edge.echo().await.unwrap());
    }
    assert!(node.is_down() && (0..6).all(|index| !edge.is_available(index)) && edge.is_available(6));
    let tried: u64 = (0..6).map(|index| edge.state(index).connect_failures()).sum();
    assert_eq!(tried, 2, "two spoke for six");
    // Half a second is this pool's connect timeout; the second try went to the other node.
    assert!(slowest < Duration::from_millis(900), "{slowest:?}");
}
