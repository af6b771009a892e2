//! TLS to backends: who is believed, what is asked for, and what a swap changes.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use hyper::StatusCode;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use sluice::model::intent::Speech;
use sluice::model::intent::speech::{BackendTls, Identity, Verify};
use sluice::model::secret::Secret;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;

use crate::backend::{Backend, Manner};
use crate::client::{ask, connect, get, site};
use crate::support::asked::web;
use crate::support::{Sluice, Wire, soon};

/// An authority, and what it signed for a name.
struct Signed {
    ca: Arc<[u8]>,
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

fn signed(names: &[&str]) -> Signed {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &ca).unwrap();
    Signed { ca: ca.der().to_vec().into(), chain: vec![leaf.der().clone()], key: key.serialize_der() }
}

impl Signed {
    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.clone()).unwrap()
    }

    fn server(&self, alpn: &[&str]) -> Arc<ServerConfig> {
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        self.with(config.with_single_cert(self.chain.clone(), self.key()).unwrap(), alpn)
    }

    /// One that wants clients to show what `clients` signed.
    fn server_for(&self, clients: &Self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(clients.ca.to_vec())).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_client_cert_verifier(verifier);
        self.with(config.with_single_cert(self.chain.clone(), self.key()).unwrap(), &["h2"])
    }

    fn with(&self, mut config: ServerConfig, alpn: &[&str]) -> Arc<ServerConfig> {
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    fn verify(&self) -> Verify {
        Verify::By(vec![self.ca.clone()])
    }
}

fn speech(http2: bool, verify: Verify, name: Option<&str>) -> Speech {
    Speech { http2, tls: Some(Arc::new(BackendTls { verify, name: name.map(Into::into), identity: None })) }
}

fn sealed(tls: Arc<ServerConfig>) -> Manner {
    Manner { tls: Some(tls), ..Manner::default() }
}

const OK: StatusCode = StatusCode::OK;
const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

#[tokio::test]
async fn a_backend_is_believed_when_it_shows_what_was_asked_for() {
    let (by_name, by_address) = (signed(&["shop.test"]), signed(&["127.0.0.1"]));
    let other = signed(&["shop.test"]);
    let backends = (
        Backend::named(sealed(by_name.server(&["h2"]))).await,
        Backend::named(sealed(by_address.server(&["h2"]))).await,
    );
    let cases = [
        (&backends.0, by_name.verify(), Some("shop.test"), OK),
        (&backends.0, by_name.verify(), Some("other.test"), UNAVAILABLE),
        (&backends.0, by_name.verify(), None, UNAVAILABLE),
        (&backends.0, other.verify(), Some("shop.test"), UNAVAILABLE),
        (&backends.0, Verify::None, None, OK),
        (&backends.1, by_address.verify(), None, OK),
    ];
    for (number, (backend, verify, name, expected)) in cases.into_iter().enumerate() {
        let sluice = Sluice::start(site(&[backend.address], speech(true, verify, name))).await;
        let (status, text) = ask(&connect(&sluice).await, get("/"), None).await.unwrap();
        assert_eq!(status, expected, "case {number}: {text}");
        let pool = sluice.snapshots.current().pools.values().next().unwrap().clone();
        assert_eq!(pool.backends[0].state.connect_failures() > 0, expected == UNAVAILABLE, "case {number}");
    }
}

#[tokio::test]
async fn those_whom_the_host_trusts_are_believed() {
    let by = signed(&["shop.test"]);
    let backend = Backend::named(sealed(by.server(&["h2"]))).await;
    let plain = site(&[backend.address], Speech::PLAIN);
    let asked = site(&[backend.address], speech(true, Verify::System, Some("shop.test")));
    let sluice = Sluice::start(plain).await;
    let problems = sluice.publish(&asked.0);
    assert!(problems.len() == 1 && problems[0].reason.contains("no certificates of authorities"), "{problems:?}");
    let sender = connect(&sluice).await;
    assert_eq!(ask(&sender, get("/"), None).await.unwrap().0, UNAVAILABLE, "and never in the clear");
    assert_eq!(backend.opened(), 0);
    let ca = by.ca.clone();
    sluice.live.tls.trust_by(move || vec![CertificateDer::from(ca.to_vec())]);
    assert_eq!(sluice.publish(&asked.0), []);
    assert_eq!(ask(&sender, get("/"), None).await.unwrap().0, OK);
}

#[tokio::test]
async fn another_authority_holds_at_once_and_for_new_connections_too() {
    let (right, wrong) = (signed(&["shop.test"]), signed(&["shop.test"]));
    let backend = Backend::named(sealed(right.server(&["h2"]))).await;
    let asked = |verify| site(&[backend.address], speech(true, verify, Some("shop.test")));
    let sluice = Sluice::start(asked(right.verify())).await;
    let sender = connect(&sluice).await;
    assert_eq!(ask(&sender, get("/"), None).await.unwrap(), (OK, "1".into()));
    sluice.publish(&asked(wrong.verify()).0);
    assert_eq!(ask(&sender, get("/"), None).await.unwrap().0, UNAVAILABLE, "the old connection is not for this pool");
    sluice.publish(&asked(right.verify()).0);
    assert_eq!(ask(&sender, get("/"), None).await.unwrap().0, OK);
    // What is changed beside leaves the connections as they are.
    let opened = backend.opened();
    sluice.publish(&asked(right.verify()).change_pool("site", |pool| pool.retries = 1).0);
    assert_eq!(ask(&sender, get("/"), None).await.unwrap().0, OK);
    assert_eq!(backend.opened(), opened);
}

#[tokio::test]
async fn a_backend_that_offers_no_http2_is_not_spoken_to_in_it() {
    let by = signed(&["shop.test"]);
    let backend = Backend::named(sealed(by.server(&[]))).await;
    let sluice = Sluice::start(site(&[backend.address], speech(true, Verify::None, None))).await;
    assert_eq!(ask(&connect(&sluice).await, get("/"), None).await.unwrap().0, UNAVAILABLE);
}

#[tokio::test]
async fn a_backend_that_wants_to_know_who_asks_is_shown() {
    let (by, ours) = (signed(&["shop.test"]), signed(&["edge.test"]));
    let backend = Backend::named(sealed(by.server_for(&ours))).await;
    let asked = |identity| {
        let tls = BackendTls { verify: by.verify(), name: Some("shop.test".into()), identity };
        site(&[backend.address], Speech { http2: true, tls: Some(Arc::new(tls)) })
    };
    let sluice = Sluice::start(asked(None)).await;
    let sender = connect(&sluice).await;
    assert_ne!(ask(&sender, get("/"), None).await.unwrap().0, OK);
    let chain = ours.chain.iter().map(|der| der.to_vec().into()).collect();
    assert_eq!(sluice.publish(&asked(Some(Identity { chain, key: Secret::new(ours.key.clone()) })).0), []);
    assert_eq!(ask(&sender, get("/"), None).await.unwrap().0, OK);
}

#[tokio::test]
async fn a_certificate_that_signed_itself_is_believed_when_it_was_given() {
    let key = KeyPair::generate().unwrap();
    let made = |names: &[&str]| {
        let mut params = CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
        // As `openssl req -x509` makes it.
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.self_signed(&key).unwrap().der().clone()
    };
    let (shown, other) = (made(&["shop.test"]), made(&["shop.test", "other.test"]));
    let signed = Signed { ca: shown.to_vec().into(), chain: vec![shown], key: key.serialize_der() };
    let backend = Backend::named(sealed(signed.server(&["h2"]))).await;
    for (verify, name, expected) in [
        (signed.verify(), "shop.test", OK),
        (signed.verify(), "other.test", UNAVAILABLE),
        (Verify::By(vec![other.to_vec().into()]), "other.test", UNAVAILABLE),
    ] {
        let sluice = Sluice::start(site(&[backend.address], speech(true, verify, Some(name)))).await;
        assert_eq!(ask(&connect(&sluice).await, get("/"), None).await.unwrap().0, expected, "{name}");
    }
}

/// Accepts TLS and serves each connection with `serve`.
async fn https<F>(
    tls: Arc<ServerConfig>,
    serve: impl Fn(tokio_rustls::server::TlsStream<tokio::net::TcpStream>) -> F + Send + 'static,
) -> (std::net::SocketAddr, JoinSet<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = TlsAcceptor::from(tls.clone()).accept(stream).await {
                open.spawn(serve(stream));
            }
        }
    });
    (address, tasks)
}

#[tokio::test]
async fn http1_over_tls_keeps_its_connections_and_asks_by_name() {
    let by = signed(&["shop.test"]);
    let (address, _tasks) = https(by.server(&["http/1.1"]), |stream| async move {
        let name = stream.get_ref().1.server_name().unwrap_or("nobody").to_owned();
        let mut wire = Wire::new(stream);
        let mut number = 0;
        while let Some(request) = wire.message().await {
            number += 1;
            let text = format!("{name} {number} {}", request.text());
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())).await;
        }
    })
    .await;
    let sluice = Sluice::start(site(&[address], speech(false, by.verify(), Some("shop.test")))).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    // Requests with a body have connections of their own.
    for number in 1..3 {
        assert_eq!(client.get("a", "/").await.text(), format!("shop.test {number} "));
        let answer = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
        assert_eq!(answer.text(), format!("shop.test {number} hi"));
    }
}

#[tokio::test]
async fn a_websocket_passes_to_a_sealed_backend() {
    let by = signed(&["shop.test"]);
    let (address, _tasks) = https(by.server(&["http/1.1"]), |stream| async move {
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                socket.send(message).await.unwrap();
            }
        }
    })
    .await;
    let sluice = Sluice::start(site(&[address], speech(false, Verify::None, None))).await;
    let stream = Wire::to(sluice.address(web()).await).await.stream;
    let (mut socket, _) = soon("the switch", tokio_tungstenite::client_async("ws://a.test/", stream)).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(soon("the echo", socket.next()).await.unwrap().unwrap(), Message::text("hello"));
}
