//! The admin port from outside: a plan compiled from an intent, counters bumped, pages read over real sockets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/exposition.rs"]
mod exposition;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use exposition::Exposition;
use serde_json::{Value, json};
use sluice::drain;
use sluice::model::compile::compile;
use sluice::model::host::HostPattern;
use sluice::model::intent::{
    Action, Admin, Backend, Cert, CertName, Intent, Limits, Listener, ListenerKey, PathMatch, Pool, PoolName, Protocol,
    Route, SourceRules,
};
use sluice::model::live::listener::{Admitted, Socket};
use sluice::model::live::probe::Verdict;
use sluice::model::live::{Lease, Live};
use sluice::model::outcome::{Outcome, Refusal};
use sluice::model::problem::{Origin, Problem};
use sluice::model::secret::Secret;
use sluice::model::snapshot::{Snapshot, Snapshots};
use sluice::observe::admin::{self, Address};
use sluice::observe::{Pages, metrics};
use sluice::ready::Ready;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;

/// A pool name that needs every escape of the text format.
const ODD: &str = "a \"b\" \\c\nd";
const KEY: &[u8] = b"PRIVATE KEY BYTES";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn listener(name: &str, protocol: Protocol, routes: &[(&str, &str, &str)]) -> Arc<Listener> {
    let origin = Origin::new("file", format!("listener {name}"));
    let route = |(host, path, pool): &(&str, &str, &str)| Route {
        host: HostPattern::parse(host).unwrap(),
        alpn: Vec::new(),
        path: PathMatch::Prefix((*path).into()),
        action: Action::Forward(PoolName::new(*pool)),
        filters: None,
        origin: origin.clone(),
    };
    Arc::new(Listener {
        name: name.into(),
        protocol,
        routes: routes.iter().map(route).collect(),
        certs: Vec::new(),
        strict_sni: false,
        tls: Default::default(),
        sources: SourceRules::default(),
        essential: true,
        proxies: Vec::new(),
        http: Default::default(),
        limits: Limits::default(),
        flow_idle: None,
        origin: origin.clone(),
    })
}

fn pool(name: &str, backends: Vec<Backend>) -> (PoolName, Arc<Pool>) {
    (PoolName::new(name), Arc::new(Pool { backends, ..Pool::new(Origin::new("file", format!("pool {name}"))) }))
}

/// Two addresses of one http listener, one tcp listener, three pools, a certificate.
fn intent() -> Intent {
    let web = listener("web", Protocol::Http, &[("shop.test", "/cart", ODD), ("*", "/", "site")]);
    let mut intent = Intent::default();
    intent.listeners.insert(ListenerKey::tcp(at("127.0.0.1:8080")), web.clone());
    intent.listeners.insert(ListenerKey::tcp(at("[::1]:8080")), web);
    intent
        .listeners
        .insert(ListenerKey::tcp(at("127.0.0.1:2222")), listener("ssh", Protocol::Tcp, &[("*", "/", "ssh")]));
    let one = Backend { instance: "pod-1".into(), ..Backend::new(at("10.0.0.1:80")) };
    let successor = Backend { instance: "pod-2".into(), ..one.clone() };
    let ending = Backend { admin: Admin::Drain, ..one };
    intent.pools.extend([
        pool("site", vec![ending, successor, Backend { weight: 0, ..Backend::new(at("10.0.0.2:80")) }]),
        pool(ODD, vec![Backend { admin: Admin::Maintain, ..Backend::new(at("[2001:db8::1]:80")) }]),
        pool("ssh", vec![Backend::new(at("10.0.0.3:22"))]),
    ]);
    let cert = Cert {
        names: vec![HostPattern::parse("shop.test").unwrap(), HostPattern::parse("*.shop.test").unwrap()],
        chain: vec![b"chain".as_slice().into()],
        key: Secret::new(KEY),
        not_before: 0,
        not_after: unix_seconds() + 1_000,
        must_staple: false,
        staple: None,
        origin: Origin::new("home", "secret/default/shop"),
    };
    intent.certs.insert(CertName::new("home/default/shop"), Arc::new(cert));
    intent
}

fn unix_seconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

fn pages() -> Arc<Pages> {
    let (snapshots, live) = (Snapshots::default(), Live::new(1));
    let (snapshot, problems) = compile(&intent(), &Snapshot::default(), &live);
    assert_eq!(problems, []);
    snapshots.publish(snapshot);
    Arc::new(Pages {
        snapshots: Arc::new(snapshots),
        live: Arc::new(live),
        ready: Ready::default(),
        since: SystemTime::now() - Duration::from_secs(100),
    })
}

/// Does to the counters what a little traffic would.
fn traffic(pages: &Pages) {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let snapshot = pages.snapshots.current();
    let listener = |text: &str| snapshot.listeners[&ListenerKey::tcp(at(text))].clone();
    let (v4, v6) = (listener("127.0.0.1:8080"), listener("[::1]:8080"));
    v4.state.set_socket(Socket::Open(at("127.0.0.1:8080")));
    v6.state.set_socket(Socket::Failed("[::1]:8080 is in use by nginx (pid 7)".into()));
    Admitted::new(v4.state.clone()).end(Outcome::Done);
    Admitted::new(v6.state.clone()).end(Outcome::ClientGone);
    std::mem::forget(Admitted::new(v4.state.clone()));
    v4.state.refuse(Refusal::Source);
    v4.state.moved(10, 2_000);
    v6.state.moved(1, 2);
    v4.unrouted.answered(404);
    let site = snapshot.pools[&PoolName::new("site")].clone();
    for (status, took) in [(200, 1), (200, 30), (418, 20_000)] {
        v4.routes.find(Some("x.test"), "/").unwrap().serve.answered(status);
        site.state.took(Duration::from_millis(took));
    }
    site.state.retried();
    site.backends[0].state.connected();
    site.backends[1].state.connect_failed();
    site.backends[1].probe.as_ref().unwrap().set(Verdict::Up, 0, None);
    std::mem::forget(Lease::new(site.backends[1].state.clone()));
    let ssh = snapshot.pools[&PoolName::new("ssh")].clone();
    ssh.state.failed_open();
    ssh.backends[0].state.sent(7);
    ssh.backends[0].probe.as_ref().unwrap().set(Verdict::Down, 0, Some("connection refused".into()));
    let control = &pages.live.control;
    control.compiled(Duration::from_millis(3));
    control.went_live(Duration::from_millis(15));
    control.source(&"file".into()).heard(now_ms - 50_000);
    control.source(&"home".into()).heard(now_ms - 20_000);
    control.source(&"home".into()).failed("no route to host");
    control.source(&"never".into());
    control.set_problems(vec![Problem::new(&Origin::new("home", "ingress/default/a"), "names no such Service")]);
}

#[test]
fn the_metrics_page_says_what_was_counted() {
    let pages = pages();
    traffic(&pages);
    let page = Exposition::read(&metrics::page(&pages, SystemTime::now()).unwrap());
    for (series, value) in [
        (concat!("sluice_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
        (r#"sluice_snapshot_generation"#, 1.0),
        (r#"sluice_listener_up{listener="web"}"#, 0.0),
        (r#"sluice_listener_connections_total{listener="web"}"#, 3.0),
        (r#"sluice_listener_connections_total{listener="ssh"}"#, 0.0),
        (r#"sluice_listener_connections_active{listener="web"}"#, 1.0),
        (r#"sluice_listener_refused_total{listener="web",reason="source"}"#, 1.0),
        (r#"sluice_listener_refused_total{listener="web",reason="capacity"}"#, 0.0),
        (r#"sluice_listener_refused_total{listener="web",reason="not_served"}"#, 0.0),
        (r#"sluice_connections_ended_total{listener="web",outcome="done"}"#, 1.0),
        (r#"sluice_connections_ended_total{listener="web",outcome="client_gone"}"#, 1.0),
        (r#"sluice_bytes_total{listener="web",direction="in",path="copy"}"#, 11.0),
        (r#"sluice_bytes_total{listener="web",direction="out",path="copy"}"#, 2_002.0),
        (r#"sluice_requests_total{listener="web",pool="site",code="200"}"#, 2.0),
        (r#"sluice_requests_total{listener="web",pool="site",code="4xx"}"#, 1.0),
        (r#"sluice_requests_total{listener="web",pool="",code="404"}"#, 1.0),
        (r#"sluice_request_duration_seconds_bucket{pool="site",le="0.001"}"#, 1.0),
        (r#"sluice_request_duration_seconds_bucket{pool="site",le="10"}"#, 2.0),
        (r#"sluice_request_duration_seconds_count{pool="site"}"#, 3.0),
        (r#"sluice_retries_total{pool="site"}"#, 1.0),
        (r#"sluice_pool_failed_open_total{pool="ssh"}"#, 1.0),
        (r#"sluice_retries_total{pool="a \"b\" \\c\nd"}"#, 0.0),
        // One address, two instances: counted as one, in the state of the one that serves.
        (r#"sluice_backend_up{pool="site",backend="10.0.0.1:80"}"#, 1.0),
        (r#"sluice_backend_connects_total{pool="site",backend="10.0.0.1:80"}"#, 1.0),
        (r#"sluice_backend_connect_failures_total{pool="site",backend="10.0.0.1:80"}"#, 1.0),
        (r#"sluice_backend_connections_active{pool="site",backend="10.0.0.1:80"}"#, 1.0),
        (r#"sluice_backend_state{pool="site",backend="10.0.0.1:80",state="up",reason="probe_passed"}"#, 1.0),
        (r#"sluice_backend_state{pool="site",backend="10.0.0.2:80",state="idle",reason="weight_zero"}"#, 1.0),
        (r#"sluice_backend_up{pool="ssh",backend="10.0.0.3:22"}"#, 0.0),
        (r#"sluice_backend_state{pool="ssh",backend="10.0.0.3:22",state="down",reason="probe_failed"}"#, 1.0),
        (r#"sluice_snapshot_compile_seconds_count"#, 1.0),
        (r#"sluice_change_to_live_seconds_bucket{le="0.02"}"#, 1.0),
        (r#"sluice_change_to_live_seconds_bucket{le="0.01"}"#, 0.0),
        (r#"sluice_source_up{source="file"}"#, 1.0),
        (r#"sluice_source_up{source="home"}"#, 0.0),
        (r#"sluice_source_stale_seconds{source="file"}"#, 0.0),
        (r#"sluice_problems{cause="invalid",source="home"}"#, 1.0),
        (r#"sluice_problems{cause="invalid",source="file"}"#, 0.0),
    ] {
        assert_eq!(page.value(series), value, "{series}");
    }
    for (series, about) in [
        (r#"sluice_source_stale_seconds{source="home"}"#, 20.0),
        (r#"sluice_source_stale_seconds{source="never"}"#, 100.0),
        (r#"sluice_certificate_expiry_seconds{host="shop.test"}"#, 1_000.0),
        (r#"sluice_certificate_expiry_seconds{host="*.shop.test"}"#, 1_000.0),
        (r#"sluice_request_duration_seconds_sum{pool="site"}"#, 20.031),
    ] {
        assert!((page.value(series) - about).abs() < 5.0, "{series} {}", page.value(series));
    }
    assert_eq!(page.values_of("sluice_request_duration_seconds_count", "pool"), ["site"], "only pools with requests");
}

#[test]
fn the_process_shows_itself() {
    let page = Exposition::read(&metrics::page(&pages(), SystemTime::now()).unwrap());
    let age = unix_seconds() as f64 - page.value("process_start_time_seconds");
    assert!((-2.0..3_600.0).contains(&age), "{age}");
    assert!(page.value("process_resident_memory_bytes") > 1e6);
    assert!(page.value("process_virtual_memory_bytes") >= page.value("process_resident_memory_bytes"));
    assert!((3.0..=page.value("process_max_fds")).contains(&page.value("process_open_fds")));
    assert!(page.value("process_threads") >= 1.0);
    assert!(page.value("process_cpu_seconds_total") >= 0.0);
}

#[test]
fn series_come_and_go_with_what_is_configured() {
    let pages = pages();
    let read = || Exposition::read(&metrics::page(&pages, SystemTime::now()).unwrap());
    assert_eq!(read().series("sluice_backend_up"), 4);
    let mut less = intent();
    less.pools.remove(&PoolName::new("ssh"));
    less.listeners.remove(&ListenerKey::tcp(at("127.0.0.1:2222")));
    let (next, _) = compile(&less, &pages.snapshots.current(), &pages.live);
    pages.snapshots.publish(next);
    let page = read();
    assert_eq!((page.series("sluice_backend_up"), page.series("sluice_listener_connections_total")), (3, 1));
    assert_eq!(page.value("sluice_snapshot_generation"), 2.0);
}

/// A served admin port; it stops when this is dropped.
struct Running {
    address: Address,
    pages: Arc<Pages>,
    trigger: drain::Trigger,
    server: JoinSet<io::Result<std::convert::Infallible>>,
}

fn serve(address: &Address) -> Running {
    let listening = admin::bind(address).unwrap();
    let address = listening.address().clone();
    let (trigger, watch) = drain::channel();
    let pages = pages();
    let mut server = JoinSet::new();
    server.spawn(admin::serve(listening, pages.clone(), watch));
    Running { address, pages, trigger, server }
}

fn serve_tcp() -> Running {
    serve(&Address::Tcp(at("127.0.0.1:0")))
}

impl Running {
    async fn connect(&self) -> TcpStream {
        let Address::Tcp(address) = self.address else { panic!("not TCP") };
        TcpStream::connect(address).await.unwrap()
    }

    /// The whole answer to a request of this first line and these headers.
    async fn ask(&self, line: &str, headers: &str) -> String {
        ask(self.connect().await, line, headers).await
    }

    async fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1"), "host: localhost\r\n").await
    }

    async fn json(&self, page: &str) -> Value {
        let answer = self.get(&format!("/api/v1/{page}")).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("content-type: application/json"), "{answer}");
        serde_json::from_str(body(&answer)).unwrap()
    }
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, line: &str, headers: &str) -> String {
    stream.write_all(format!("{line}\r\n{headers}connection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[tokio::test]
async fn pages_are_served_with_their_types_and_without_caching() {
    let running = serve_tcp();
    traffic(&running.pages);
    for (path, kind, word) in [
        ("/", "text/html; charset=utf-8", "/metrics"),
        ("/livez", "text/plain; charset=utf-8", "alive"),
        ("/readyz", "text/plain; charset=utf-8", "ready"),
        ("/metrics?x=y", metrics::CONTENT_TYPE, "sluice_build_info"),
        ("/api/v1/problems", "application/json", "names no such Service"),
    ] {
        let answer = running.get(path).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && body(&answer).contains(word), "{answer}");
        for header in [&format!("content-type: {kind}"), "cache-control: no-store", "x-content-type-options: nosniff"] {
            assert!(answer.contains(&format!("\r\n{header}\r\n")), "{header}: {answer}");
        }
    }
    Exposition::read(body(&running.get("/metrics").await));
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_by_name() {
    let running = serve_tcp();
    for path in ["/nowhere", "/metrics/", "/api/v1/", "/api/v1/snapshots"] {
        assert!(running.get(path).await.starts_with("HTTP/1.1 404"), "{path}");
    }
    for path in ["/", "/metrics", "/readyz", "/api/v1/backends"] {
        let answer = running.ask(&format!("POST {path} HTTP/1.1"), "host: localhost\r\ncontent-length: 0\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("\r\nallow: GET, HEAD\r\n"), "{answer}");
    }
    let head = running.ask("HEAD /metrics HTTP/1.1", "host: localhost\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200") && body(&head).is_empty(), "{head}");
}

#[tokio::test]
async fn a_name_that_was_made_to_point_here_is_turned_away() {
    let running = serve_tcp();
    for (host, status) in [
        ("host: 127.0.0.1:9650\r\n", 200),
        ("host: localhost\r\n", 200),
        ("host: evil.test\r\n", 403),
        ("host: evil.test:9650\r\n", 403),
        ("", 400),
    ] {
        let answer = running.ask("GET /api/v1/snapshot HTTP/1.1", host).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{host} {answer}");
        assert_eq!(answer.contains("shop.test"), status == 200);
    }
    assert!(running.ask("GET /livez HTTP/1.0", "").await.contains(" 200 "));
}

#[tokio::test]
async fn readiness_names_what_is_missing_then_says_yes_then_that_it_drains() {
    let running = serve_tcp();
    let cluster = running.pages.ready.pending("cluster home");
    let listener = running.pages.ready.pending("listener web");
    let answer = running.get("/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert_eq!(body(&answer), "waiting for:\n  cluster home\n  listener web\n");
    running.pages.live.control.source(&"home".into()).failed("nothing listens there; start it");
    let answer = running.get("/readyz").await;
    assert!(body(&answer).ends_with("  listener web\nsource home: nothing listens there; start it\n"), "{answer}");
    drop((cluster, listener));
    assert!(running.get("/readyz").await.starts_with("HTTP/1.1 200"));
    let Running { address, pages, trigger, server } = running;
    // The drain does not wait for the admin port, which goes on answering.
    assert!(trigger.finish(Duration::from_secs(60)).await);
    let Address::Tcp(address) = address else { panic!("not TCP") };
    let ask = async |line: &str| ask(TcpStream::connect(address).await.unwrap(), line, "host: localhost\r\n").await;
    let answer = ask("GET /readyz HTTP/1.1").await;
    assert!(answer.starts_with("HTTP/1.1 503") && body(&answer) == "draining\n", "{answer}");
    assert!(ask("GET /livez HTTP/1.1").await.starts_with("HTTP/1.1 200"));
    drop((pages, server));
}

#[tokio::test]
async fn a_unix_socket_answers_whatever_host_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let mut running = serve(&Address::Unix(path.clone()));
    let answer = ask(UnixStream::connect(&path).await.unwrap(), "GET /livez HTTP/1.1", "host: sluice\r\n");
    assert!(answer.await.starts_with("HTTP/1.1 200"));
    running.server.shutdown().await;
    assert!(!path.exists(), "the socket's file goes with the server");
}

#[tokio::test]
async fn a_client_that_says_nothing_is_let_go() {
    let running = serve_tcp();
    let mut silent = running.connect().await;
    silent.write_all(b"GET /livez HTT").await.unwrap();
    tokio::task::yield_now().await;
    // From here on the clock leaps to the next timer whenever nobody has anything to do.
    tokio::time::pause();
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(30), silent.read_to_end(&mut rest)).await.unwrap().unwrap();
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_a_place() {
    let running = serve_tcp();
    let mut held = Vec::new();
    for _ in 0..64 {
        let mut stream = running.connect().await;
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        held.push(stream);
    }
    let next = running.get("/livez");
    tokio::pin!(next);
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut next).await.is_err(), "all places are taken");
    held.pop();
    assert!(next.await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn the_json_pages_tell_the_same_as_the_metrics() {
    let running = serve_tcp();
    traffic(&running.pages);

    let backends = running.json("backends").await;
    assert_eq!(backends["generation"], 1);
    let site = &backends["pools"][1];
    assert_eq!((&site["pool"], &site["up"], &site["retries"]), (&json!("site"), &json!(true), &json!(1)));
    assert_eq!(
        site["backends"][1],
        json!({
            "address": "10.0.0.1:80", "instance": "pod-2", "weight": 1, "admin": "ready", "backup": false,
            "up": true, "available": true, "state": "up", "reason": "probe_passed", "detail": null, "verdict": "up",
            "active": 1, "connects": 0, "connect_failures": 1, "ejections": 0, "wish_percent": 100,
            "bytes_to": 0, "bytes_from": 0,
        })
    );
    assert_eq!(site["backends"][0]["reason"], "admin_drain");
    let ssh = &backends["pools"][2]["backends"][0];
    assert_eq!((&ssh["state"], &ssh["detail"]), (&json!("down"), &json!("connection refused")));

    let listeners = running.json("listeners").await;
    let [ssh, v4, v6] = [0, 1, 2].map(|n| &listeners["listeners"][n]);
    assert_eq!((&ssh["name"], &ssh["bound"], &ssh["error"]), (&json!("ssh"), &Value::Null, &Value::Null));
    assert_eq!((&v4["bound"], &v4["routes"], &v4["bytes_out"]), (&json!("127.0.0.1:8080"), &json!(2), &json!(2000)));
    assert_eq!((&v4["refused"]["source"], &v4["ended"]["done"], &v4["active"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(v6["error"], "[::1]:8080 is in use by nginx (pid 7)");

    let sources = running.json("sources").await;
    let [file, home, never] = [0, 1, 2].map(|n| &sources["sources"][n]);
    assert_eq!((&file["up"], &file["stale_seconds"], &file["detail"]), (&json!(true), &json!(0.0), &Value::Null));
    assert!((49.0..60.0).contains(&file["age_seconds"].as_f64().unwrap()), "{file}");
    assert_eq!(
        (&home["up"], &home["heard"], &home["detail"]),
        (&json!(false), &json!(true), &json!("no route to host"))
    );
    assert_eq!((&never["heard"], &never["last_heard_ms"]), (&json!(false), &Value::Null));

    let problems = running.json("problems").await;
    let told =
        json!({"source": "home", "object": "ingress/default/a", "reason": "names no such Service", "cause": "invalid"});
    assert_eq!(problems, json!({ "problems": [told] }));
}

#[tokio::test]
async fn the_snapshot_page_shows_the_plan_and_no_key() {
    let running = serve_tcp();
    let snapshot = running.json("snapshot").await;
    let web = &snapshot["listeners"][1];
    let origin = json!({"source": "file", "object": "listener web"});
    assert_eq!((&web["name"], &web["address"], &web["origin"]), (&json!("web"), &json!("127.0.0.1:8080"), &origin));
    assert_eq!(
        web["routes"][0],
        json!({
            "host": "shop.test", "alpn": [], "match": "prefix", "path": "/cart", "target": {"pool": ODD}, "origin": origin
        })
    );
    let site = &snapshot["pools"][1];
    assert_eq!((&site["balance"], &site["when_down"]), (&json!("round-robin"), &json!("try")));
    assert_eq!((&site["probe"]["kind"], &site["connect_timeout_seconds"]), (&json!("tcp"), &json!(1.0)));
    assert_eq!((&site["backends"][0]["admin"], &site["backends"][2]["weight"]), (&json!("drain"), &json!(0)));
    let cert = &snapshot["certificates"][0];
    assert_eq!(cert["hosts"], json!(["shop.test", "*.shop.test"]));
    for page in ["snapshot", "backends", "listeners", "problems", "sources"] {
        let answer = running.get(&format!("/api/v1/{page}")).await;
        assert!(!answer.contains("PRIVATE") && !answer.contains("80,82,73,86"), "{page} holds a key");
    }
}
