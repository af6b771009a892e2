//! What survives a swap: each promise of what live state is keyed by, and fifty swaps under load.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]
#![allow(clippy::disallowed_methods, reason = "tests own their tasks")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rustls::HandshakeKind;
use sluice::app;
use sluice::control::file;
use sluice::health;
use sluice::model::intent::{Backend, PoolName, Probe, Protocol};
use sluice::model::live::listener::Socket;
use sluice::model::live::probe::Verdict;
use sluice::model::live::{BackendState, ProbeState};
use sluice::settings::Settings;
use support::asked::{at, pool, route, web};
use support::tls::{Client, cert};
use support::{Asked, Peer, Sluice, Wire, eventually, peer, soon};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message as Frame;

fn backend_state(sluice: &Sluice, index: usize) -> Arc<BackendState> {
    sluice.snapshots.current().pools[&PoolName::new("site")].backends[index].state.clone()
}

fn probe_state(sluice: &Sluice) -> Arc<ProbeState> {
    sluice.snapshots.current().pools[&PoolName::new("site")].backends[0].probe.clone().unwrap()
}

/// A connection that sends a byte and gets it back.
async fn still_echoes(client: &mut Wire) {
    client.send("x").await;
    assert_eq!(client.exactly(1).await, b"x");
}

#[tokio::test]
async fn a_connection_survives_a_swap_and_an_old_snapshot_is_freed_while_it_lives() {
    let (echo, other) = (Peer::echo().await, Peer::echo().await);
    let sluice = Sluice::start_with(2, Asked::stream(&[echo.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    still_echoes(&mut client).await;
    let old = Arc::downgrade(&sluice.snapshots.current());
    sluice.publish(&Asked::stream(&[other.address]).into());
    eventually("the old snapshot to go", || old.upgrade().is_none().then_some(())).await;
    still_echoes(&mut client).await;
    assert_eq!(other.connections(), 0, "it stays where it was");
}

#[tokio::test]
async fn an_unhealthy_backend_stays_unhealthy_and_a_changed_probe_starts_fresh() {
    let dead = peer::nobody().await;
    let quick = Probe { every: Duration::from_millis(20), ..Probe::default() };
    let asked = |weight, probe: &Probe| {
        Asked::stream(&[dead]).change_pool("site", |pool| {
            pool.probe = Some(probe.clone());
            pool.backends[0].weight = weight;
        })
    };
    let sluice = Sluice::start(asked(1, &quick)).await;
    let (_trigger, drain) = sluice::drain::channel();
    let checks = tokio::spawn(health::follow(sluice.snapshots.clone(), sluice.live.clone(), drain));
    eventually("the verdict", || (probe_state(&sluice).verdict() == Verdict::Down).then_some(())).await;
    // From here on nobody checks: what is seen was kept, not found again.
    checks.abort();
    let before = probe_state(&sluice);
    sluice.publish(&asked(2, &quick).into());
    assert!(Arc::ptr_eq(&before, &probe_state(&sluice)), "a changed weight keeps the verdict");
    assert_eq!(probe_state(&sluice).verdict(), Verdict::Down);
    let patient = Probe { fall: 5, ..quick };
    sluice.publish(&asked(2, &patient).into());
    assert_eq!(probe_state(&sluice).verdict(), Verdict::Unknown, "another probe has found nothing yet");
}

#[tokio::test]
async fn counts_return_to_nothing_after_their_backend_is_gone() {
    let (echo, other) = (Peer::echo().await, Peer::echo().await);
    let sluice = Sluice::start(Asked::stream(&[echo.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    still_echoes(&mut client).await;
    let state = backend_state(&sluice, 0);
    assert_eq!(state.active(), 1);
    sluice.publish(&Asked::stream(&[other.address]).into());
    still_echoes(&mut client).await;
    assert_eq!(state.active(), 1, "still counted while it lives");
    sluice.publish(&Asked::stream(&[echo.address]).into());
    assert!(Arc::ptr_eq(&state, &backend_state(&sluice, 0)), "taken up again while somebody holds it");
    sluice.publish(&Asked::stream(&[other.address]).into());
    client.finish().await;
    client.end().await;
    eventually("the count to fall", || (state.active() == 0).then_some(())).await;
    let gone = Arc::downgrade(&state);
    drop(state);
    eventually("the state to be freed", || gone.upgrade().is_none().then_some(())).await;
}

#[tokio::test]
async fn the_round_robin_does_not_restart() {
    let names = ["a", "b", "c"];
    let mut peers = Vec::new();
    for name in names {
        peers.push(Peer::named(name).await);
    }
    let addresses: Vec<SocketAddr> = peers.iter().map(|p| p.address).collect();
    let sluice = Sluice::start(Asked::site(&addresses)).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    let mut served = Vec::new();
    for retries in 0..6 {
        served.push(client.get("a.test", "/").await.text().to_owned());
        // A swap between any two requests; each has a pool plan of its own.
        sluice.publish(&Asked::site(&addresses).change_pool("site", |p| p.retries = retries).into());
    }
    let start = names.iter().position(|n| *n == served[0]).unwrap();
    let turns: Vec<_> = (0..6).map(|n| names[(start + n) % 3]).collect();
    assert_eq!(served, turns);
}

#[tokio::test]
async fn a_reused_address_with_another_instance_starts_clean() {
    let dead = peer::nobody().await;
    let asked = |instance: &str| {
        Asked::stream(&[dead]).change_pool("site", |pool| {
            pool.probe = Some(Probe::default());
            pool.backends = vec![Backend { instance: instance.into(), ..Backend::new(dead) }];
        })
    };
    let sluice = Sluice::start(asked("pod-1")).await;
    Wire::to(sluice.address(web()).await).await.end().await;
    probe_state(&sluice).set(Verdict::Down, 0, None);
    assert_eq!(backend_state(&sluice, 0).connect_failures(), 1);
    sluice.publish(&asked("pod-2").into());
    assert_eq!(backend_state(&sluice, 0).connect_failures(), 0);
    assert_eq!(probe_state(&sluice).verdict(), Verdict::Unknown);
}

#[tokio::test]
async fn one_listener_that_cannot_bind_leaves_the_others() {
    let holder = std::net::TcpListener::bind("127.0.0.9:0").unwrap();
    let taken = sluice::model::intent::ListenerKey::tcp(holder.local_addr().unwrap());
    let echo = Peer::echo().await;
    let sluice = Sluice::start(Asked::stream(&[echo.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    still_echoes(&mut client).await;
    let stream = || Protocol::Tcp;
    let routes = || vec![route("*", "/", "site")];
    let more = Asked::stream(&[echo.address]).listener(taken, "taken", stream(), routes()).listener(
        at(3),
        "third",
        stream(),
        routes(),
    );
    sluice.publish(&more.into());
    let third = sluice.address(at(3)).await;
    still_echoes(&mut Wire::to(third).await).await;
    still_echoes(&mut client).await;
    let state = sluice.listener(taken);
    eventually("the failure", || matches!(state.socket(), Socket::Failed(_)).then_some(())).await;
}

#[tokio::test]
async fn a_keep_alive_client_sees_new_routes_with_its_next_request() {
    let (one, two) = (Peer::named("one").await, Peer::named("two").await);
    let sluice = Sluice::start(Asked::site(&[one.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    assert_eq!(client.get("a.test", "/").await.text(), "one");
    sluice.publish(&Asked::site(&[two.address]).into());
    assert_eq!(client.get("a.test", "/").await.text(), "two");
}

#[tokio::test]
async fn a_ticket_from_before_a_swap_resumes_after_it() {
    let peer = Peer::named("one").await;
    // Another certificate each time, so that each swap makes a TLS configuration of its own.
    let asked = || {
        let routes = vec![route("*", "/", "site")];
        Asked::default().listener(web(), "web", Protocol::Https, routes).pool("site", pool(&[peer.address])).cert(
            web(),
            "a",
            cert(&["a.test"]),
        )
    };
    let sluice = Sluice::start(asked()).await;
    let address = sluice.address(web()).await;
    let client = Client::offering(&["http/1.1"]);
    let stream = client.connect(address, "a.test").await;
    assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    // The ticket comes with the first bytes of the answer.
    assert_eq!(Wire::new(stream).get("a.test", "/").await.status(), 200);
    sluice.publish(&asked().into());
    let stream = client.connect(address, "a.test").await;
    assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    assert_eq!(Wire::new(stream).get("a.test", "/").await.status(), 200);
}

/// A WebSocket backend that echoes.
async fn websocket_echo() -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut open = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while let Some(Ok(frame)) = socket.next().await {
                    if frame.is_text() && socket.send(frame).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, task)
}

/// The file of swap number `n`: backends come, go and change weight, routes and listeners come and go.
fn file_of_swap(n: usize, http: SocketAddr, tcp: SocketAddr, spare: SocketAddr, peers: &Backends) -> String {
    let third = if n.is_multiple_of(2) { format!(", {}", peers.http[2]) } else { String::new() };
    let weight = 1 + n % 5;
    let balance = if n.is_multiple_of(3) { "least-connections" } else { "round-robin" };
    let extra = if n.is_multiple_of(4) {
        format!("  extra: {{bind: \"{spare}\", protocol: http, routes: [{{pool: site}}]}}\n")
    } else {
        String::new()
    };
    format!(
        "process: {{admin: 127.0.0.1:0, workers: 2}}
listeners:
  web:
    bind: \"{http}\"
    protocol: http
    routes:
      - {{host: ws.test, pool: ws}}
      - {{path: /swap/{n}, pool: site}}
      - {{pool: site}}
  tcp: {{bind: \"{tcp}\", protocol: tcp, pool: echo}}
{extra}pools:
  site:
    balance: {balance}
    probe: {{tcp: true, every: 1s}}
    timeouts: {{response: {response}s}}
    backends: [{{address: {first}, weight: {weight}}}, {second}{third}]
  ws: {{backends: [{ws}], retries: {retries}}}
  echo: {{backends: [{echo}], retries: {retries}}}
",
        response = 10 + n,
        first = peers.http[0],
        second = peers.http[1],
        ws = peers.ws,
        echo = peers.echo,
        retries = n % 3,
    )
}

struct Backends {
    http: [SocketAddr; 3],
    ws: SocketAddr,
    echo: SocketAddr,
}

const SWAPS: usize = 50;
const REQUESTS: u64 = 20_000;
const CLIENTS: u64 = 8;

/// The whole process but for `main`: a real file, edited fifty times under load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_swaps_of_the_file_under_load_lose_nothing() {
    let peers = [Peer::named("a").await, Peer::named("b").await, Peer::named("c").await];
    let echo = Peer::echo().await;
    let (ws, _ws_task) = websocket_echo().await;
    let backends = Backends { http: [0, 1, 2].map(|n| peers[n].address), ws, echo: echo.address };
    let (http, tcp, spare) = (peer::nobody().await, peer::nobody().await, peer::nobody().await);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sluice.yaml");
    let write = |n| std::fs::write(&path, file_of_swap(n, http, tcp, spare, &backends)).unwrap();
    write(0);
    let loaded = file::load(&path).unwrap_or_else(|errors| panic!("{errors:?}"));
    let settings =
        Settings { admin: "127.0.0.1:0".into(), workers: 2, drain: Duration::from_secs(5), memory_limit: None };
    let app = app::start(&settings, loaded, Some(path.clone())).unwrap();
    eventually("readiness", || app.waiting_for().is_empty().then_some(())).await;

    let mut stream = Wire::to(tcp).await;
    still_echoes(&mut stream).await;
    let (mut socket, _) = soon("the upgrade", {
        let stream = Wire::to(http).await.stream;
        tokio_tungstenite::client_async("ws://ws.test/", stream)
    })
    .await
    .unwrap();

    let (answered, swapped) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (answered, swapped) = (answered.clone(), swapped.clone());
            tokio::spawn(async move {
                let mut wire = Wire::to(http).await;
                let mut asked = 0u64;
                // Load goes on until every swap was made and enough was asked.
                while asked < REQUESTS / CLIENTS || !swapped.load(Relaxed) {
                    // Half of the clients come anew now and then.
                    if client % 2 == 0 && asked % 50 == 49 {
                        wire = Wire::to(http).await;
                    }
                    let answer = wire.get("shop.test", "/").await;
                    assert_eq!(answer.status(), 200, "{answer:?}");
                    answered.fetch_add(1, Relaxed);
                    asked += 1;
                }
            })
        })
        .collect();

    for n in 1..=SWAPS {
        let generation = app.generation();
        let before = answered.load(Relaxed);
        write(n);
        eventually("the swap", || (app.generation() > generation).then_some(())).await;
        eventually("load between swaps", || (answered.load(Relaxed) > before).then_some(())).await;
        still_echoes(&mut stream).await;
        socket.send(Frame::text(format!("swap {n}"))).await.unwrap();
        let back = soon("the frame", socket.next()).await.unwrap().unwrap();
        assert_eq!(back.to_text().unwrap(), format!("swap {n}"));
    }
    swapped.store(true, Relaxed);
    for client in clients {
        tokio::time::timeout(Duration::from_secs(120), client).await.expect("clients end").unwrap();
    }
    let (asked, reached) = (answered.load(Relaxed), peers.iter().map(|p| p.requests().len() as u64).sum::<u64>());
    assert!(asked >= REQUESTS, "only {asked} requests");
    assert!(reached >= asked, "{reached} requests reached a backend, {asked} were answered");
    println!("{SWAPS} swaps, {asked} requests answered with 200, 0 failed; the stream and the WebSocket live");
    still_echoes(&mut stream).await;
    socket.close(None).await.unwrap();
    drop((stream, socket));
    assert!(app.stop().await, "nothing was left to cut");
}
