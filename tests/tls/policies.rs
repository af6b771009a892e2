//! Which certificate a client sees, which version it may speak, and what a session is worth elsewhere.

use std::time::Duration;

use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use sluice::model::host::Host;
use sluice::model::intent::tls::{Alpn, ClientAuthMode, Staple, Tell, TlsVersion};
use sluice::model::intent::{Cert, ListenerKey, Protocol};
use sluice::model::live::acme::Answer;
use sluice::model::live::listener::Handshake;
use sluice::model::outcome::Outcome;

use crate::secure;
use crate::support::asked::{at, pool, route, web};

use crate::support::tls::{Authority, Client, Manner, Shown, cert, cert_with, showed};
use crate::support::{Asked, Peer, Sluice, Wire, eventually, soon};

const BOTH: [&rustls::SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A client of this version that shows this certificate, if any.
fn client(version: &'static rustls::SupportedProtocolVersion, shows: Option<&Shown>) -> Client {
    Client::new(Manner { version: Some(version), shows: shows.cloned(), ..Manner::default() })
}

/// How the handshake of a connection that serves went; `None` when the client was refused, be it after the handshake.
async fn served(client: &Client, sluice: &Sluice, key: ListenerKey, host: &str) -> Option<HandshakeKind> {
    let stream = client.try_connect(sluice.address(key).await, host).await.ok()?;
    let kind = stream.get_ref().1.handshake_kind();
    // The ticket comes with the first bytes of the answer; so does the refusal of a client in TLS 1.3.
    let mut wire = Wire::new(stream);
    wire.try_send(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.ok()?;
    let answer = wire.message().await?;
    assert_eq!(answer.status(), 200);
    kind
}

#[tokio::test]
async fn a_client_sees_the_certificate_that_it_can_verify() {
    let peer = Peer::named("one").await;
    let rsa = cert_with(&["a.test"], &rcgen::PKCS_RSA_SHA256);
    let ecdsa = cert(&["a.test"]);
    let sluice = Sluice::start(secure(&[("rsa", &rsa), ("ecdsa", &ecdsa)], &peer)).await;
    let address = sluice.address(web()).await;
    for version in BOTH {
        for (rsa_only, expected) in [(false, &ecdsa), (true, &rsa)] {
            let client = Client::new(Manner { version: Some(version), rsa_only, ..Manner::default() });
            let stream = client.connect(address, "a.test").await;
            assert!(showed(&stream, expected), "{version:?}, RSA alone: {rsa_only}");
            assert_eq!(Wire::new(stream).get("a.test", "/").await.text(), "one");
        }
    }
}

#[tokio::test]
async fn an_old_version_is_refused_where_it_is_not_wanted_and_alpn_is_as_asked() {
    let peer = Peer::named("one").await;
    let asked = secure(&[("a", &cert(&["a.test"]))], &peer).change_listener(web(), |listener| {
        listener.tls.min_version = TlsVersion::Tls13;
        listener.tls.alpn = vec![Alpn::Http1];
    });
    let sluice = Sluice::start(asked).await;
    assert_eq!(served(&client(&TLS12, None), &sluice, web(), "a.test").await, None);
    assert_eq!(served(&client(&TLS13, None), &sluice, web(), "a.test").await, Some(HandshakeKind::Full));
    let address = sluice.address(web()).await;
    let stream = Client::offering(&["h2", "http/1.1"]).connect(address, "a.test").await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert!(Client::offering(&["h2"]).try_connect(address, "a.test").await.is_err());
}

/// Two https listeners with the same certificate; the second asks clients for theirs.
fn two_doors(shared: &Cert, authority: &Authority, mode: ClientAuthMode, peer: &Peer) -> Asked {
    let asked = Asked::default()
        .listener(web(), "open", Protocol::Https, vec![route("*", "/", "site")])
        .listener(at(2), "closed", Protocol::Https, vec![route("*", "/", "site")])
        .pool("site", pool(&[peer.address]));
    asked.cert(web(), "a", shared.clone()).cert(at(2), "a", shared.clone()).change_listener(at(2), |listener| {
        listener.tls.client_auth = Some(authority.asked(mode, vec![], Tell::Nothing));
    })
}

#[tokio::test]
async fn a_session_from_where_no_certificate_is_asked_for_opens_no_door_that_asks() {
    let (peer, authority) = (Peer::named("one").await, Authority::new("ours"));
    let shared = cert(&["a.test"]);
    for mode in ClientAuthMode::ALL {
        let sluice = Sluice::start(two_doors(&shared, &authority, mode, &peer)).await;
        for version in BOTH {
            let nobody = client(version, None);
            assert_eq!(served(&nobody, &sluice, web(), "a.test").await, Some(HandshakeKind::Full));
            assert_eq!(served(&nobody, &sluice, web(), "a.test").await, Some(HandshakeKind::Resumed));
            let is_let_in = (mode == ClientAuthMode::Optional).then_some(HandshakeKind::Full);
            assert_eq!(served(&nobody, &sluice, at(2), "a.test").await, is_let_in, "{mode:?} {version:?}");

            let member = client(version, Some(&authority.client("ann", 7)));
            assert_eq!(served(&member, &sluice, at(2), "a.test").await, Some(HandshakeKind::Full));
            assert_eq!(served(&member, &sluice, at(2), "a.test").await, Some(HandshakeKind::Resumed));
            assert_eq!(served(&member, &sluice, web(), "a.test").await, Some(HandshakeKind::Full));
        }
        let counted = |how| sluice.listener(web()).handshakes(how);
        assert_eq!((counted(Handshake::Full), counted(Handshake::Resumed)), (4, 2), "twice {mode:?}");
    }
}

#[tokio::test]
async fn a_session_is_of_one_certificate_and_outlives_swaps_of_others() {
    let peer = Peer::named("one").await;
    let (a, b) = (cert(&["a.test"]), cert(&["b.test"]));
    let of = |name: &'static str, cert: &Cert| secure(&[(name, cert), ("b", &b)], &peer);
    let sluice = Sluice::start(of("a", &a)).await;
    for version in BOTH {
        let client = client(version, None);
        assert_eq!(served(&client, &sluice, web(), "a.test").await, Some(HandshakeKind::Full));
        // Another certificate comes, a route changes, and this one is renewed.
        sluice.publish(&of("a", &a).cert(web(), "c", cert(&["c.test"])).into());
        assert_eq!(served(&client, &sluice, web(), "a.test").await, Some(HandshakeKind::Resumed));
        sluice.publish(&of("a", &cert(&["a.test"])).into());
        assert_eq!(served(&client, &sluice, web(), "a.test").await, Some(HandshakeKind::Resumed));
        // Another owner's certificate takes the name.
        sluice.publish(&of("theirs", &cert(&["a.test"])).into());
        assert_eq!(served(&client, &sluice, web(), "a.test").await, Some(HandshakeKind::Full));
        sluice.publish(&of("a", &a).into());
    }
}

#[tokio::test]
async fn a_response_of_the_authority_is_sent_along() {
    let peer = Peer::named("one").await;
    let stapled = Cert {
        staple: Some(Staple::Good { response: (*b"a response").into(), from: 0, until: i64::MAX }),
        ..cert(&["a.test"])
    };
    let useless = Cert { staple: Some(Staple::Unusable("is old".into())), ..cert(&["b.test"]) };
    let sluice = Sluice::start(secure(&[("a", &stapled), ("b", &useless)], &peer)).await;
    let address = sluice.address(web()).await;
    for version in BOTH {
        let client = client(version, None);
        for (host, staple) in [("a.test", &b"a response"[..]), ("b.test", b"")] {
            client.connect(address, host).await;
            assert_eq!(client.staple(), staple, "{host} {version:?}");
        }
    }
}

#[tokio::test]
async fn half_a_handshake_ends() {
    let peer = Peer::named("one").await;
    let asked =
        secure(&[("a", &cert(&["a.test"])), ("b", &cert(&["b.test"]))], &peer).change_listener(web(), |listener| {
            listener.limits.client.handshake = Duration::from_millis(300);
        });
    let sluice = Sluice::start(asked).await;
    let address = sluice.address(web()).await;
    // Nothing at all, a record's head, and a whole first message with nothing after it.
    let hello = |version| Client::new(Manner { version: Some(version), ..Manner::default() }).first_message("a.test");
    let mut wires = Vec::new();
    for start in [vec![], vec![22, 3, 1], hello(&TLS12), hello(&TLS13)] {
        let mut wire = Wire::to(address).await;
        wire.send(start).await;
        wires.push(wire);
    }
    for mut wire in wires {
        soon("the end", wire.end()).await;
    }
    let failed = || sluice.listener(web()).ended(Outcome::TlsFailed);
    eventually("all to be counted", || (failed() == 4).then_some(())).await;
    assert_eq!(sluice.listener(web()).active(), 0);
}

#[tokio::test]
async fn a_certificate_authority_gets_its_proof_whatever_is_asked_of_clients() {
    let (peer, members) = (Peer::named("one").await, Authority::new("ours"));
    let asked = secure(&[("a", &cert(&["a.test"]))], &peer).change_listener(web(), |listener| {
        listener.tls.client_auth = Some(members.asked(ClientAuthMode::Required, vec![], Tell::Nothing));
        listener.tls.alpn = vec![Alpn::Http1];
    });
    let sluice = Sluice::start(asked).await;
    let address = sluice.address(web()).await;
    let authority = Client::offering(&["acme-tls/1"]);
    assert!(authority.try_connect(address, "new.test").await.is_err(), "nothing was asked of it");
    let proof = cert(&["new.test"]);
    let der = rustls::pki_types::PrivateKeyDer::try_from(proof.key.expose().to_vec()).unwrap();
    let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der).unwrap();
    let chain = vec![rustls::pki_types::CertificateDer::from(proof.chain[0].to_vec())];
    let key = std::sync::Arc::new(rustls::sign::CertifiedKey::new(chain, signer));
    let offer = sluice.live.acme.offer(Answer::Key { host: Host::parse("new.test").unwrap(), key });
    assert!(showed(&authority.connect(address, "new.test").await, &proof));
    assert!(authority.try_connect(address, "a.test").await.is_err(), "another name");
    // Who offers more is a client like others.
    let curious = Client::new(Manner { alpn: vec!["acme-tls/1".into(), "http/1.1".into()], ..Manner::default() });
    assert_eq!(served(&curious, &sluice, web(), "new.test").await, None);
    drop(offer);
    assert!(authority.try_connect(address, "new.test").await.is_err(), "the order is over");
}
