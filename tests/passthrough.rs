//! TLS through a whole proxy that does not end it: who is reached by which name, and what is no hello.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sluice::model::intent::{Cert, Protocol, ProxyVersion, Route};
use sluice::model::outcome::Outcome;
use sluice::net::proxy_protocol::kind;
use support::asked::{pool, route, web};
use support::introduced::{self, Told, v2};
use support::tls::{Client, cert, showed};
use support::{Asked, Peer, Sluice, Wire, eventually, peer, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// A TLS backend that answers a line with its name, and the headers it was told, if it expects them.
async fn secure(name: &'static str, cert: &Cert, alpn: &[&str], is_told: bool) -> (Peer, Arc<Mutex<Vec<Told>>>) {
    let chain = cert.chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    let key = PrivateKeyDer::try_from(cert.key.expose().to_vec()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let register = seen.clone();
    let peer = Peer::serving(move |mut wire| {
        let (acceptor, register) = (acceptor.clone(), register.clone());
        async move {
            let mut early = Vec::new();
            if is_told {
                let Some(told) = introduced::told(&mut wire).await else { return };
                register.lock().unwrap().push(told);
                early = wire.take_buffer();
            }
            let (read, write) = wire.stream.into_split();
            let whole = tokio::io::join(std::io::Cursor::new(early).chain(read), write);
            let Ok(stream) = acceptor.accept(whole).await else { return };
            let mut wire = Wire::new(stream);
            while wire.until("\n").await.is_some() {
                wire.send(format!("{name}\n")).await;
            }
        }
    })
    .await;
    (peer, seen)
}

fn offering(mut route: Route, alpn: &[&str]) -> Route {
    route.alpn = alpn.iter().map(|name| (*name).into()).collect();
    route
}

fn passing(routes: Vec<Route>) -> Asked {
    Asked::default().listener(web(), "web", Protocol::TlsPassthrough, routes)
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

/// Which backend answers a client that names `host`.
async fn reached(address: SocketAddr, client: &Client, host: &str) -> String {
    let mut wire = Wire::new(client.connect(address, host).await);
    wire.send("?\n").await;
    String::from_utf8(wire.until("\n").await.unwrap()).unwrap().trim().to_owned()
}

/// The first bytes of a client that names `host`.
fn hello(host: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let mut bytes = Vec::new();
    rustls::ClientConnection::new(Arc::new(config), name).unwrap().write_tls(&mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn the_name_leads_to_the_backend_whose_certificate_the_client_sees() {
    let (one, two) = (cert(&["a.test"]), cert(&["*.wild.test"]));
    let (first, _) = secure("one", &one, &[], false).await;
    let (second, _) = secure("two", &two, &[], false).await;
    let routes = vec![route("a.test", "/", "one"), route("*.wild.test", "/", "two")];
    let asked = passing(routes).pool("one", pool(&[first.address])).pool("two", pool(&[second.address]));
    let (sluice, address) = start(asked.clone()).await;
    let client = Client::offering(&[]);
    for (host, name, cert) in [("a.test", "one", &one), ("A.Test", "one", &one), ("x.wild.test", "two", &two)] {
        assert_eq!(reached(address, &client, host).await, name);
        assert!(showed(&client.connect(address, host).await, cert), "{host}");
    }
    for (n, host) in ["b.test", "wild.test", "x.y.wild.test", "127.0.0.1"].into_iter().enumerate() {
        let error = client.try_connect(address, host).await.unwrap_err().to_string();
        assert!(error.contains("UnrecognisedName"), "{host} is told why: {error}");
        ended(&sluice, Outcome::NoBackend, n as u64 + 1).await;
    }
    let mut with_any = asked.clone();
    with_any = with_any.change_listener(web(), |listener| listener.routes.push(route("*", "/", "two")));
    assert_eq!(sluice.publish(&with_any.into()), []);
    assert_eq!(reached(address, &client, "b.test").await, "two");
    assert_eq!(reached(address, &client, "127.0.0.1").await, "two", "without a name");
    assert_eq!(reached(address, &client, "a.test").await, "one");
}

#[tokio::test]
async fn the_protocol_chooses_among_backends_of_one_name() {
    let cert = cert(&["a.test"]);
    let (plain, _) = secure("plain", &cert, &["http/1.1"], false).await;
    let (h2, _) = secure("h2", &cert, &["h2"], false).await;
    let (acme, _) = secure("acme", &cert, &["acme-tls/1"], false).await;
    let routes = vec![
        route("a.test", "/", "plain"),
        offering(route("a.test", "/", "h2"), &["h2"]),
        offering(route("*", "/", "acme"), &["acme-tls/1"]),
    ];
    let asked = passing(routes)
        .pool("plain", pool(&[plain.address]))
        .pool("h2", pool(&[h2.address]))
        .pool("acme", pool(&[acme.address]));
    let (_sluice, address) = start(asked).await;
    for (offered, host, name) in [
        (&["h2", "http/1.1"][..], "a.test", "h2"),
        (&["http/1.1"], "a.test", "plain"),
        (&[], "a.test", "plain"),
        (&["acme-tls/1"], "b.test", "acme"),
    ] {
        assert_eq!(reached(address, &Client::offering(offered), host).await, name, "{offered:?}");
    }
    assert!(Client::offering(&["h2"]).try_connect(address, "b.test").await.is_err());
}

#[tokio::test]
async fn a_hello_in_crumbs_arrives_as_it_was_sent() {
    let taken = Peer::echo().await;
    let (_sluice, address) =
        start(passing(vec![route("a.test", "/", "site")]).pool("site", pool(&[taken.address]))).await;
    let hello = hello("a.test");
    let mut crumbs = Wire::to(address).await;
    for byte in &hello {
        crumbs.send([*byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(crumbs.exactly(hello.len()).await, hello);
    // With what follows it in the same segment, and cut into records of one handshake byte each.
    let body = &hello[5..];
    let records: Vec<u8> = body.chunks(1).flat_map(|part| [&[22, 3, 1, 0, 1][..], part].concat()).collect();
    let bytes = [&records[..], b"early data"].concat();
    let mut whole = Wire::to(address).await;
    whole.send(&bytes).await;
    assert_eq!(whole.exactly(bytes.len()).await, bytes);
    whole.send("more").await;
    assert_eq!(whole.exactly(4).await, b"more");
    whole.finish().await;
    whole.end().await;
}

#[tokio::test]
async fn bytes_of_the_hello_are_counted_and_an_empty_pool_resets() {
    let echo = Peer::echo().await;
    let routes = vec![route("a.test", "/", "site"), route("dead.test", "/", "dead")];
    let asked = passing(routes).pool("site", pool(&[echo.address])).pool("dead", pool(&[peer::nobody().await]));
    let (sluice, address) = start(asked).await;
    let hello_a = hello("a.test");
    let mut client = Wire::to(address).await;
    client.send(&hello_a).await;
    client.exactly(hello_a.len()).await;
    let length = hello_a.len() as u64;
    eventually("bytes", || (sluice.listener(web()).bytes() == (length, length)).then_some(())).await;
    let mut client = Wire::to(address).await;
    client.send(hello("dead.test")).await;
    let (rest, how) = client.rest().await;
    assert!(rest.is_empty() && how.is_err(), "reset");
    ended(&sluice, Outcome::ConnectFailed, 1).await;
}

#[tokio::test]
async fn what_is_no_hello_reaches_nobody() {
    let echo = Peer::echo().await;
    let (sluice, address) = start(passing(vec![route("*", "/", "site")]).pool("site", pool(&[echo.address]))).await;
    // A hello that never ends: as long as a record may be, again and again.
    let record = [&[22, 3, 1, 0x40, 0][..], &[1, 0, 0xff, 0xff], &[0; 16_380]].concat();
    let noise: Vec<u8> = (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 | 1).collect();
    let not_a_name = {
        let mut bytes = hello("aaaa.test");
        let at = bytes.windows(4).position(|part| part == b"aaaa").unwrap();
        bytes[at] = b' ';
        bytes
    };
    let all: [&[u8]; 5] =
        [b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", b"SSH-2.0-x\r\n", &record.repeat(13), &noise, &not_a_name];
    for (n, bytes) in all.into_iter().enumerate() {
        let mut client = Wire::to(address).await;
        // It may be cut off in the middle.
        let _ = client.try_send(bytes).await;
        assert!(client.rest().await.0.is_empty());
        ended(&sluice, Outcome::Malformed, n as u64 + 1).await;
    }
    let mut client = Wire::to(address).await;
    client.send(&hello("a.test")[..40]).await;
    client.finish().await;
    client.end().await;
    ended(&sluice, Outcome::ClientGone, 1).await;
    assert_eq!(echo.connections(), 0);
}

#[tokio::test]
async fn a_hello_that_does_not_come_is_not_waited_for_long() {
    let echo = Peer::echo().await;
    let (sluice, address) = start(passing(vec![route("*", "/", "site")]).pool("site", pool(&[echo.address]))).await;
    let begun = Instant::now();
    let silent = Wire::to(address).await;
    let mut slow = Wire::to(address).await;
    let bytes = hello("a.test");
    let drip = async {
        let mut bytes = bytes.iter();
        while slow.try_send([*bytes.next().unwrap()]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    soon("the slow one to be cut off", drip).await;
    ended(&sluice, Outcome::SlowHead, 2).await;
    assert!(begun.elapsed() > Duration::from_secs(4), "after {:?}", begun.elapsed());
    drop(silent);
}

#[tokio::test]
async fn backends_are_told_of_the_client_and_of_what_it_said() {
    let cert = cert(&["a.test"]);
    let (site, told) = secure("one", &cert, &["h2"], true).await;
    let asked = passing(vec![route("*", "/", "site")])
        .pool("site", pool(&[site.address]))
        .change_pool("site", |pool| pool.send_proxy = Some(ProxyVersion::V2))
        .change_listener(web(), |listener| listener.proxies = vec!["127.0.0.0/8".parse().unwrap()]);
    let (_sluice, address) = start(asked).await;
    for (offered, alpn) in [(&["h2"][..], Some(&b"h2"[..])), (&["h2", "http/1.1"], None)] {
        let mut stream = Wire::to(address).await.stream;
        stream.write_all(&v2("203.0.113.7:41234", "198.51.100.1:443")).await.unwrap();
        let mut wire = Wire::new(Client::offering(offered).shake(stream, "A.test").await.unwrap());
        wire.send("?\n").await;
        assert_eq!(wire.until("\n").await.unwrap(), b"one\n");
        let told = told.lock().unwrap().pop().unwrap();
        assert_eq!((&*told.from, &*told.to), ("203.0.113.7:41234", "198.51.100.1:443"));
        assert_eq!(told.tlv(kind::AUTHORITY), Some(&b"a.test"[..]));
        assert_eq!(told.tlv(kind::ALPN), alpn, "told only where it is sure");
        assert_eq!(told.tlv(kind::SSL), None, "TLS did not end here");
    }
}

#[tokio::test]
async fn openssl_is_passed_through() {
    let (one, two) = (cert(&["a.test"]), cert(&["b.test"]));
    let (first, _) = secure("one", &one, &[], false).await;
    let (second, _) = secure("two", &two, &[], false).await;
    let routes = vec![route("a.test", "/", "one"), route("b.test", "/", "two")];
    let asked = passing(routes).pool("one", pool(&[first.address])).pool("two", pool(&[second.address]));
    let (_sluice, address) = start(asked).await;
    for (host, name, version) in [("a.test", "one", "-tls1_2"), ("b.test", "two", "-tls1_3")] {
        let client = tokio::process::Command::new("openssl")
            .args(["s_client", "-quiet", "-connect", &address.to_string(), "-servername", host, version])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let mut client = match client {
            Ok(client) => client,
            Err(error) => return eprintln!("SKIPPED: no openssl to speak with: {error}"),
        };
        client.stdin.as_mut().unwrap().write_all(b"?\n").await.unwrap();
        let mut answer = vec![0; name.len()];
        let output = client.stdout.as_mut().unwrap();
        soon("an answer", output.read_exact(&mut answer)).await.unwrap();
        assert_eq!(answer, name.as_bytes());
    }
}
