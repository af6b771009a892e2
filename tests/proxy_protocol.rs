//! The PROXY protocol through a whole proxy: who may name a client, what follows from it, and what backends are told.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use sluice::model::intent::{Pool, Protocol, ProxyVersion};
use sluice::model::outcome::{Outcome, Refusal};
use sluice::net::proxy_protocol::{Version, kind, local};
use support::asked::{pool, route, web};
use support::introduced::{self, v1, v2};
use support::tls::{Client, cert};
use support::{Asked, Peer, Sluice, Wire, eventually, peer, soon};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

const CLIENT: &str = "203.0.113.7:41234";
const EDGE: &str = "198.51.100.1:443";

/// The same, where the peers of this test are the proxies.
fn behind_proxies(asked: Asked) -> Asked {
    asked.change_listener(web(), |listener| listener.proxies = vec!["127.0.0.0/8".parse().unwrap()])
}

fn telling(version: ProxyVersion) -> impl FnOnce(&mut Pool) {
    move |pool| pool.send_proxy = Some(version)
}

async fn start(asked: Asked) -> (Sluice, SocketAddr) {
    let sluice = Sluice::start(asked).await;
    let address = sluice.address(web()).await;
    (sluice, address)
}

async fn ended(sluice: &Sluice, outcome: Outcome, times: u64) {
    let listener = sluice.listener(web());
    eventually(outcome.label(), || (listener.ended(outcome) == times).then_some(())).await;
}

#[tokio::test]
async fn the_client_that_a_proxy_names_is_the_client_that_backends_are_told_of() {
    for (version, number) in [(ProxyVersion::V1, 1), (ProxyVersion::V2, 2)] {
        for header in [v1(CLIENT, EDGE), v2(CLIENT, EDGE)] {
            let (echo, register) = introduced::echo().await;
            let asked = Asked::stream(&[echo.address]).change_pool("site", telling(version));
            let (_sluice, address) = start(behind_proxies(asked)).await;
            let mut client = Wire::to(address).await;
            client.send([&header[..], b"hello"].concat()).await;
            assert_eq!(client.exactly(5).await, b"hello", "the header is taken to the byte");
            let told = register.one();
            assert_eq!((told.version, &*told.from, &*told.to), (number, CLIENT, EDGE));
            assert_eq!(told.tlv(kind::UNIQUE_ID).map(<[u8]>::len), (number == 2).then_some(32));
        }
    }
}

#[tokio::test]
async fn a_header_in_crumbs_and_one_of_ipv6_are_whole_headers() {
    let (echo, register) = introduced::echo().await;
    let asked = Asked::stream(&[echo.address]).change_pool("site", telling(ProxyVersion::V2));
    let (_sluice, address) = start(behind_proxies(asked)).await;
    let (from, to) = ("[2001:db8::7]:5", "[2001:db8::1]:443");
    for header in [v1(from, to), v2(from, to)] {
        let mut client = Wire::to(address).await;
        for byte in &header {
            client.send([*byte]).await;
            tokio::task::yield_now().await;
        }
        client.send("x").await;
        assert_eq!(client.exactly(1).await, b"x");
    }
    assert!(register.all().iter().all(|told| (&*told.from, &*told.to) == (from, to)), "{:?}", register.all());
}

#[tokio::test]
async fn who_names_nobody_is_the_client_itself() {
    let (echo, register) = introduced::echo().await;
    let asked = Asked::stream(&[echo.address]).change_pool("site", telling(ProxyVersion::V2));
    let (_sluice, address) = start(behind_proxies(asked)).await;
    for version in [Version::V1, Version::V2] {
        let mut client = Wire::to(address).await;
        let own = client.stream.local_addr().unwrap();
        client.send([local(version), b"x"].concat()).await;
        assert_eq!(client.exactly(1).await, b"x");
        let told = register.all().pop().unwrap();
        assert_eq!((told.from, told.to), (own.to_string(), address.to_string()));
    }
}

#[tokio::test]
async fn others_than_proxies_are_closed_before_a_byte_is_read() {
    let echo = Peer::echo().await;
    let asked = Asked::stream(&[echo.address])
        .change_listener(web(), |listener| listener.proxies = vec!["10.0.0.0/8".parse().unwrap()]);
    let (sluice, address) = start(asked).await;
    let mut client = Wire::to(address).await;
    // It may be closed before this is sent.
    let _ = client.try_send(v1(CLIENT, EDGE)).await;
    assert!(client.rest().await.0.is_empty());
    let listener = sluice.listener(web());
    assert_eq!((listener.refused(Refusal::NotAProxy), listener.accepted(), echo.connections()), (1, 0, 0));
}

#[tokio::test]
async fn the_source_rules_are_for_the_client_that_is_named() {
    let echo = Peer::echo().await;
    let asked = Asked::stream(&[echo.address]).change_listener(web(), |listener| {
        listener.sources.allow = vec!["203.0.113.0/24".parse().unwrap()];
    });
    let (sluice, address) = start(behind_proxies(asked)).await;
    let mut good = Wire::to(address).await;
    good.send([&v2(CLIENT, EDGE)[..], b"x"].concat()).await;
    assert_eq!(good.exactly(1).await, b"x", "although the proxy itself is not among them");
    let mut bad = Wire::to(address).await;
    bad.send([&v2("192.0.2.66:1", EDGE)[..], b"x"].concat()).await;
    assert!(bad.rest().await.0.is_empty());
    ended(&sluice, Outcome::Refused, 1).await;
    assert_eq!((sluice.listener(web()).refused(Refusal::Source), echo.connections()), (1, 1));
}

#[tokio::test]
async fn what_is_no_header_ends_the_connection_and_reaches_no_backend() {
    let echo = Peer::echo().await;
    let (sluice, address) = start(behind_proxies(Asked::stream(&[echo.address]))).await;
    let mut wrong = v2(CLIENT, EDGE);
    wrong[12] = 0x22;
    let long = format!("PROXY UNKNOWN {}", "x".repeat(200_000));
    let huge = [&v2(CLIENT, EDGE)[..14], &[0xff; 200_000]].concat();
    let all: [&[u8]; 6] =
        [b"GET / HTTP/1.1\r\n\r\n", b"PROXY TCP4 1.2.3.4\r\n", &wrong, long.as_bytes(), &huge, &[0; 200_000]];
    for (n, bytes) in all.into_iter().enumerate() {
        let mut client = Wire::to(address).await;
        // It may be cut off in the middle.
        let _ = client.try_send(bytes).await;
        assert!(client.rest().await.0.is_empty());
        ended(&sluice, Outcome::BadProxyHeader, n as u64 + 1).await;
    }
    // Cut off within it.
    let mut client = Wire::to(address).await;
    client.send(&v2(CLIENT, EDGE)[..20]).await;
    client.finish().await;
    client.end().await;
    ended(&sluice, Outcome::BadProxyHeader, 7).await;
    // A look whether the port is open is nobody's fault.
    drop(Wire::to(address).await);
    ended(&sluice, Outcome::ClientGone, 1).await;
    assert_eq!(echo.connections(), 0);
}

#[tokio::test]
async fn a_header_that_does_not_come_is_not_waited_for_long() {
    let echo = Peer::echo().await;
    let (sluice, address) = start(behind_proxies(Asked::stream(&[echo.address]))).await;
    let begun = Instant::now();
    let silent = Wire::to(address).await;
    let mut slow = Wire::to(address).await;
    let drip = async {
        let mut line = std::iter::once("PROXY UNKNOWN ").chain(std::iter::repeat("x"));
        while slow.try_send(line.next().unwrap()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    soon("the slow one to be cut off", drip).await;
    ended(&sluice, Outcome::BadProxyHeader, 2).await;
    assert!(begun.elapsed() > Duration::from_secs(4), "after {:?}", begun.elapsed());
    drop(silent);
}

#[tokio::test]
async fn http_backends_are_told_of_the_named_client_in_fields() {
    let site = Peer::named("one").await;
    let (_sluice, address) = start(behind_proxies(Asked::site(&[site.address]))).await;
    let mut client = Wire::to(address).await;
    client.send(v1(CLIENT, "198.51.100.1:8443")).await;
    for _ in 0..2 {
        assert_eq!(client.get("a.test", "/").await.text(), "one");
    }
    for request in site.requests() {
        assert_eq!(request.field("x-forwarded-for"), Some("203.0.113.7"));
        assert_eq!(request.field("x-real-ip"), Some("203.0.113.7"));
        assert_eq!(request.field("x-forwarded-port"), Some("8443"));
    }
}

#[tokio::test]
async fn tls_begins_behind_the_header_and_its_words_are_passed_on() {
    let (site, register) = introduced::http().await;
    let asked = Asked::default()
        .listener(web(), "web", Protocol::Https, vec![route("*", "/", "site")])
        .pool("site", pool(&[site.address]))
        .cert(web(), "a", cert(&["a.test"]))
        .change_pool("site", telling(ProxyVersion::V2));
    let (_sluice, address) = start(behind_proxies(asked)).await;
    let mut stream = Wire::to(address).await.stream;
    stream.write_all(&v2(CLIENT, EDGE)).await.unwrap();
    let mut client = Wire::new(Client::offering(&["http/1.1"]).shake(stream, "a.test").await.unwrap());
    assert_eq!(client.get("a.test", "/x").await.text(), "/x");
    let told = register.one();
    assert_eq!((&*told.from, &*told.to), (CLIENT, EDGE));
    assert_eq!(told.tlv(kind::AUTHORITY), Some(&b"a.test"[..]));
    assert_eq!(told.tlv(kind::ALPN), None, "the backend is spoken to in HTTP/1.1");
    let ssl = String::from_utf8_lossy(told.tlv(kind::SSL).unwrap()).into_owned();
    assert!(ssl.contains("TLSv1.3") && ssl.contains("TLS_AES_"), "{ssl:?}");
}

#[tokio::test]
async fn connections_that_told_of_a_client_carry_no_other() {
    let (site, register) = introduced::http().await;
    let asked = Asked::site(&[site.address]).change_pool("site", telling(ProxyVersion::V1));
    let (_sluice, address) = start(asked).await;
    let (mut one, mut two) = (Wire::to(address).await, Wire::to(address).await);
    for path in ["/1", "/2", "/3"] {
        assert_eq!(one.get("a.test", path).await.text(), path);
        assert_eq!(two.get("a.test", path).await.text(), path);
    }
    let ports = |wire: &Wire| wire.stream.local_addr().unwrap().to_string();
    let told: Vec<String> = register.all().into_iter().map(|told| told.from).collect();
    assert_eq!(told, [ports(&one), ports(&two)], "one connection each, kept for the next request");
    drop(one);
    let mut three = Wire::to(address).await;
    assert_eq!(three.get("a.test", "/4").await.text(), "/4");
    assert_eq!(register.all().len(), 3, "the first one's is not lent to others");
}

#[tokio::test]
async fn a_pool_that_tells_shares_no_connection_with_one_that_does_not() {
    // One backend that takes both kinds of connections and answers which one a request came by.
    let site = Peer::serving(|mut wire| async move {
        let Some(line) = wire.until("\n").await else { return };
        let (kind, mut is_next) = if line.starts_with(b"PROXY ") { ("told", false) } else { ("plain", true) };
        while is_next || wire.message().await.is_some() {
            if std::mem::take(&mut is_next) {
                wire.until("\r\n\r\n").await;
            }
            wire.send(peer::answer("200 OK", kind)).await;
        }
    })
    .await;
    let routes = vec![route("told.test", "/", "told"), route("plain.test", "/", "plain")];
    let asked = Asked::default()
        .listener(web(), "web", Protocol::Http, routes)
        .pool("told", pool(&[site.address]))
        .pool("plain", pool(&[site.address]))
        .change_pool("told", telling(ProxyVersion::V1));
    let (_sluice, address) = start(asked).await;
    for _ in 0..2 {
        let mut client = Wire::to(address).await;
        for kind in ["plain", "told", "told", "plain"] {
            assert_eq!(client.get(&format!("{kind}.test"), "/").await.text(), kind);
        }
    }
    assert_eq!(site.connections(), 3, "one that both clients share, and one of each");
}

#[tokio::test]
async fn another_backend_is_told_when_the_first_is_dead() {
    let (echo, register) = introduced::echo().await;
    let dead = peer::nobody().await;
    let asked = Asked::stream(&[dead, echo.address]).change_pool("site", telling(ProxyVersion::V1));
    let (_sluice, address) = start(asked).await;
    for n in 1..=2 {
        let mut client = Wire::to(address).await;
        client.send("x").await;
        assert_eq!(client.exactly(1).await, b"x");
        assert_eq!(register.all().len(), n);
    }
    let (site, register) = introduced::http().await;
    let asked = Asked::site(&[dead, site.address]).change_pool("site", telling(ProxyVersion::V1));
    let (_sluice, address) = start(asked).await;
    for n in 1..=2 {
        let mut client = Wire::to(address).await;
        assert_eq!(client.get("a.test", "/x").await.text(), "/x");
        assert_eq!(register.all().len(), n);
    }
}

#[tokio::test]
async fn a_listener_on_all_addresses_tells_the_one_the_client_used() {
    let (echo, register) = introduced::echo().await;
    let key = sluice::model::intent::ListenerKey::tcp("0.0.0.0:0".parse().unwrap());
    let asked = Asked::default()
        .listener(key, "web", Protocol::Tcp, vec![route("*", "/", "site")])
        .pool("site", pool(&[echo.address]))
        .change_pool("site", telling(ProxyVersion::V1));
    let sluice = Sluice::start(asked).await;
    let address = SocketAddr::from(([127, 0, 0, 9], sluice.address(key).await.port()));
    let mut client = Wire::to(address).await;
    client.send("x").await;
    assert_eq!(client.exactly(1).await, b"x");
    assert_eq!(register.one().to, address.to_string());
}

/// A haproxy of the system, which ends with this.
struct Haproxy {
    child: std::process::Child,
    _folder: tempfile::TempDir,
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Haproxy {
    fn start(config: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("haproxy.cfg");
        let defaults = "defaults\n timeout connect 5s\n timeout client 10s\n timeout server 10s\n";
        std::fs::write(&path, format!("{defaults}{config}")).unwrap();
        let started = std::process::Command::new("haproxy").arg("-db").arg("-f").arg(&path).spawn();
        match started {
            Ok(child) => Some(Self { child, _folder: folder }),
            Err(error) => {
                eprintln!("SKIPPED: no haproxy to speak with: {error}");
                None
            }
        }
    }
}

#[tokio::test]
async fn haproxy_understands_us_and_we_understand_haproxy() {
    // HAProxy before us, in both versions; behind us one that says whom it was told of.
    let [first, second, behind] = [peer::nobody().await, peer::nobody().await, peer::nobody().await];
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let asked = Asked::stream(&[behind]).change_pool("site", telling(version));
        let (_sluice, address) = start(behind_proxies(asked)).await;
        let config = format!(
            "listen one\n mode tcp\n bind {first}\n server us {address} send-proxy\n\
             listen two\n mode tcp\n bind {second}\n server us {address} send-proxy-v2 proxy-v2-options crc32c,unique-id\n\
             frontend behind\n mode http\n bind {behind} accept-proxy\n http-request return status 200 content-type \
             text/plain lf-string \"%[src]:%[src_port] %[dst]:%[dst_port] %[fc_pp_unique_id,length]\"\n"
        );
        let Some(_haproxy) = Haproxy::start(&config) else { return };
        for before in [first, second] {
            eventually("haproxy to listen", || std::net::TcpStream::connect(before).ok()).await;
            let mut client = Wire::to(before).await;
            let own = client.stream.local_addr().unwrap();
            let said = client.get("a.test", "/").await.text().trim().to_owned();
            let id = if version == ProxyVersion::V2 { " 32" } else { "" };
            assert_eq!(said, format!("{own} {before}{id}").trim(), "{version:?}");
        }
    }
}
