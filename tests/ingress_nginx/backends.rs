//! How backends are picked, kept and spoken to.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::support::peer::{answer, nobody};
use super::support::{Message, Peer, Reply, Sluice, Wire, soon};
use super::{Lab, cert_pem, secret, service, translated, web, whole};

/// Three backends behind one Service, and a client.
async fn three(annotations: &[(&str, &str)]) -> (Sluice, Wire, Vec<Peer>) {
    let mut peers = Vec::new();
    for name in ["one", "two", "three"] {
        peers.push(Peer::named(name).await);
    }
    let pods: Vec<SocketAddr> = peers.iter().map(|peer| peer.address).collect();
    let (fragment, told) = translated(&(whole(annotations) + &service("web", &pods)), false);
    assert_eq!(told, "");
    let sluice = Sluice::start(fragment).await;
    let client = Wire::to(sluice.address(web()).await).await;
    (sluice, client, peers)
}

/// How many backends answer twelve such requests.
async fn spread(annotations: &[(&str, &str)], request: impl Fn(usize) -> String) -> usize {
    let (_sluice, mut client, _peers) = three(annotations).await;
    let mut seen = HashSet::new();
    for turn in 0..12 {
        seen.insert(client.ask(request(turn)).await.text().to_owned());
    }
    seen.len()
}

#[tokio::test]
async fn a_backend_is_picked_as_asked() {
    let get = |path: &str, field: &str| format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n{field}\r\n");
    let same = |_: usize| get("/x", "");
    assert_eq!(spread(&[], same).await, 3);
    assert_eq!(spread(&[("load-balance", "round_robin")], same).await, 3);
    assert!(spread(&[("load-balance", "ewma")], same).await >= 2);
    for key in ["$request_uri", "${request_uri}", "$uri", "$host", "$remote_addr", "$something_else"] {
        assert_eq!(spread(&[("upstream-hash-by", key), ("load-balance", "round_robin")], same).await, 1, "{key}");
    }
    assert!(spread(&[("upstream-hash-by", "$request_uri")], |turn| get(&format!("/{turn}"), "")).await > 1);
    let team = |turn: usize| get("/", &format!("X-Team: {turn}\r\n"));
    assert!(spread(&[("upstream-hash-by", "$http_x_team")], team).await > 1);
    assert_eq!(spread(&[("upstream-hash-by", "$http_x_team")], |_| get("/", "X-Team: 1\r\n")).await, 1);
    let user = |turn: usize| get("/", &format!("Cookie: user={turn}\r\n"));
    assert!(spread(&[("upstream-hash-by", "$cookie_user")], user).await > 1);
    let subsets =
        [("upstream-hash-by", "$uri"), ("upstream-hash-by-subset", "true"), ("upstream-hash-by-subset-size", "3")];
    assert_eq!(spread(&subsets, same).await, 1);
}

#[tokio::test]
async fn clients_keep_their_backend_by_a_cookie() {
    let sticky = [
        ("affinity", "cookie"),
        ("affinity-mode", "balanced"),
        ("session-cookie-name", "HOME"),
        ("session-cookie-max-age", "600"),
        ("session-cookie-samesite", "Strict"),
        ("session-cookie-secure", "true"),
        ("session-cookie-change-on-failure", "true"),
    ];
    let (_sluice, mut client, peers) = three(&sticky).await;
    let first = client.get("a.test", "/").await;
    let cookie = first.field("set-cookie").unwrap().to_owned();
    let (pair, attributes) = cookie.split_once(';').unwrap();
    assert!(pair.starts_with("HOME="), "{cookie}");
    for attribute in ["Max-Age=600", "SameSite=Strict", "Secure", "HttpOnly"] {
        assert!(attributes.contains(attribute), "{cookie}");
    }
    for _ in 0..6 {
        let again = client.ask(format!("GET / HTTP/1.1\r\nHost: a.test\r\nCookie: {pair}\r\n\r\n")).await;
        assert_eq!(again.text(), first.text());
    }
    // Its backend fails: another one serves the client, and gives it another cookie.
    let mut peers = peers;
    let at = ["one", "two", "three"].iter().position(|name| *name == first.text()).unwrap();
    drop(peers.remove(at));
    let again =
        soon("an answer", client.ask(format!("GET / HTTP/1.1\r\nHost: a.test\r\nCookie: {pair}\r\n\r\n"))).await;
    assert_eq!(again.status(), 200);
    assert_ne!(again.text(), first.text());
    assert!(again.field("set-cookie").is_some_and(|new| !new.starts_with(pair)), "{again:?}");
    let (_sluice, mut client, _peers) = three(&[("affinity", "cookie"), ("session-cookie-expires", "60")]).await;
    let cookie = client.get("a.test", "/").await.field("set-cookie").unwrap().to_owned();
    assert!(cookie.starts_with("INGRESSCOOKIE=") && cookie.contains("Max-Age=60"), "{cookie}");
}

#[tokio::test]
async fn a_canary_is_not_sticky() {
    let canary = [("canary", "true"), ("canary-weight", "100"), ("affinity-canary-behavior", "legacy")];
    let beside = super::ingress("next", &canary, &[("a.test", "/", "Prefix", "next")]);
    let lab = Lab::of(&(whole(&[("affinity", "cookie")]) + &beside)).await.quiet();
    let answer = lab.get("a.test", "/").await;
    assert_eq!((answer.text(), answer.field("set-cookie")), ("next", None));
}

#[tokio::test]
async fn another_backend_is_tried_as_often_as_asked() {
    let bad = || Peer::http(|_| Reply::Send(answer("502 Bad Gateway", "bad")));
    let good = || Peer::named("good");
    let status = async |annotations: &[(&str, &str)], pods: &[SocketAddr]| {
        let (fragment, told) = translated(&(whole(annotations) + &service("web", pods)), false);
        assert_eq!(told, "");
        let sluice = Sluice::start(fragment).await;
        let mut worst = 0;
        for _ in 0..4 {
            worst = worst.max(Wire::to(sluice.address(web()).await).await.get("a.test", "/").await.status());
        }
        worst
    };
    let (bad, good) = (bad().await, good().await);
    let pods = [bad.address, good.address];
    assert_eq!(status(&[("proxy-next-upstream", "error timeout")], &pods).await, 502);
    assert_eq!(status(&[("proxy-next-upstream", "error http_502")], &pods).await, 200);
    assert_eq!(status(&[("proxy-next-upstream", "http_502"), ("proxy-next-upstream-tries", "1")], &pods).await, 502);
    let away = [nobody().await, good.address];
    assert_eq!(status(&[("proxy-next-upstream-tries", "2")], &away).await, 200);
    assert!(status(&[("proxy-next-upstream", "off")], &away).await >= 502);
}

#[tokio::test]
async fn backends_have_so_much_time() {
    let hangs = || Peer::http(|_| Reply::Hang);
    let slow = [("proxy-read-timeout", "1"), ("proxy-connect-timeout", "2s"), ("proxy-next-upstream", "off")];
    let lab = Lab::with(&whole(&slow), hangs().await, hangs().await).await.quiet();
    let begin = tokio::time::Instant::now();
    assert_eq!(soon("the answer", lab.get("a.test", "/")).await.status(), 504);
    assert!(begin.elapsed() < Duration::from_secs(5));
}

/// A backend that speaks HTTP/1 in TLS, and says what name it was asked for and whether it was shown a certificate.
async fn sealed(config: ServerConfig) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            connections.spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let (_, tls) = stream.get_ref();
                let said = format!("{:?} {}", tls.server_name(), tls.peer_certificates().is_some());
                let mut wire = Wire::new(stream);
                while wire.message().await.is_some() {
                    wire.send(answer("200 OK", &said)).await;
                }
            });
        }
    });
    (address, tasks)
}

fn server(chain: &str, key: &str, asks: bool) -> ServerConfig {
    let certs: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let builder = ServerConfig::builder();
    let builder = if asks {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certs[0].clone()).unwrap();
        let verifier =
            rustls::server::WebPkiClientVerifier::builder(roots.into()).allow_unauthenticated().build().unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    builder.with_single_cert(certs, key).unwrap()
}

#[tokio::test]
async fn backends_are_spoken_to_in_tls_as_asked() {
    let (chain, key) = cert_pem(&["inner.test"]);
    let (other, _) = cert_pem(&["inner.test"]);
    let (address, _tasks) = sealed(server(&chain, &key, true)).await;
    let get = async |annotations: &[(&str, &str)], secrets: &str| -> (Message, String) {
        let (fragment, told) = translated(&(whole(annotations) + &service("web", &[address]) + secrets), false);
        let sluice = Sluice::start(fragment).await;
        (Wire::to(sluice.address(web()).await).await.get("a.test", "/").await, told)
    };
    let any = [("backend-protocol", "HTTPS")];
    let (answered, told) = get(&any, "").await;
    assert_eq!((answered.text(), &*told), ("None false", ""));
    let trusted = secret("ca", "Opaque", &[("ca.crt", &chain)]);
    let verified = [
        ("backend-protocol", "HTTPS"),
        ("proxy-ssl-verify", "on"),
        ("proxy-ssl-secret", "default/ca"),
        ("proxy-ssl-name", "inner.test"),
    ];
    let (answered, told) = get(&verified, &trusted).await;
    assert_eq!((answered.text(), &*told), ("Some(\"inner.test\") false", ""));
    let (answered, _) = get(&verified, &secret("ca", "Opaque", &[("ca.crt", &other)])).await;
    assert!([502, 503].contains(&answered.status()), "another authority: {answered:?}");
    let shown = secret("ca", "kubernetes.io/tls", &[("ca.crt", &chain), ("tls.crt", &chain), ("tls.key", &key)]);
    let (answered, told) = get(&verified, &shown).await;
    assert_eq!((answered.text(), &*told), ("Some(\"inner.test\") true", ""));
    for (annotations, secrets, says) in [
        (&verified[..], String::new(), "secret/default/ca is not there"),
        (&verified[..2], String::new(), "proxy-ssl-secret says whose word is taken"),
        (&verified, secret("ca", "Opaque", &[("tls.crt", &chain), ("tls.key", &key)]), "has no ca.crt"),
        (&[("backend-protocol", "HTTPS"), ("proxy-ssl-secret", "other/ca")], trusted, "Secrets of other namespaces"),
        (&[("backend-protocol", "FCGI")], String::new(), "it is HTTP, HTTPS, GRPC or GRPCS"),
    ] {
        let (answered, told) = get(annotations, &secrets).await;
        assert_eq!(answered.status(), 503, "{says}");
        assert!(told.contains(says), "{told}");
    }
}

#[tokio::test]
async fn grpc_is_http2() {
    let begin = Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = begin.clone();
    let peer = Peer::serving(move |mut wire| {
        let heard = heard.clone();
        async move {
            let bytes = wire.exactly(14).await;
            *heard.lock().unwrap() = bytes;
        }
    })
    .await;
    let lab = Lab::with(&whole(&[("backend-protocol", "GRPC")]), peer, Peer::named("next").await).await.quiet();
    soon("the answer", lab.get("a.test", "/")).await;
    assert_eq!(*begin.lock().unwrap(), b"PRI * HTTP/2.0");
}
