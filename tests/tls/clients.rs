//! Certificates of clients: who is let in, what backends are told, and what a revocation does.

use sluice::model::intent::tls::{ClientAuth, ClientAuthMode, Tell};
use sluice::model::outcome::Outcome;

use crate::secure;
use crate::support::asked::web;
use crate::support::tls::{Authority, Client, Manner, Shown, cert};
use crate::support::{Asked, Peer, Sluice, Wire, eventually};

fn showing(shows: Option<&Shown>) -> Client {
    Client::new(Manner { shows: shows.cloned(), ..Manner::default() })
}

fn asking(auth: ClientAuth, peer: &Peer) -> Asked {
    // One certificate for each test, so that renewals do not matter.
    secure(&[("a", &cert(&["a.test"]))], peer).change_listener(web(), |listener| listener.tls.client_auth = Some(auth))
}

/// The status of an answer, or none when the client is refused.
async fn status(client: &Client, sluice: &Sluice, fields: &str) -> Option<u16> {
    let stream = client.try_connect(sluice.address(web()).await, "a.test").await.ok()?;
    let mut wire = Wire::new(stream);
    wire.try_send(&format!("GET / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n")).await.ok()?;
    Some(wire.message().await?.status())
}

#[tokio::test]
async fn only_members_are_let_in_where_certificates_are_required() {
    let (peer, ours, theirs) = (Peer::named("one").await, Authority::new("ours"), Authority::new("theirs"));
    let sluice = Sluice::start(asking(ours.asked(ClientAuthMode::Required, vec![], Tell::Nothing), &peer)).await;
    assert_eq!(status(&showing(None), &sluice, "").await, None);
    assert_eq!(status(&showing(Some(&theirs.client("ann", 1))), &sluice, "").await, None);
    assert_eq!(status(&showing(Some(&ours.client_until("ann", 1, 2001))), &sluice, "").await, None, "it ended");
    assert_eq!(status(&showing(Some(&ours.client("ann", 1))), &sluice, "").await, Some(200));
    eventually("them to be counted", || (sluice.listener(web()).ended(Outcome::TlsFailed) == 3).then_some(())).await;
    // Backends are told nothing, neither by us nor by anybody else.
    assert_eq!(peer.requests().len(), 1);
    assert_eq!(peer.request().field("x-ssl-client-verify"), None);
}

#[tokio::test]
async fn a_certificate_that_need_not_be_shown_must_be_good_all_the_same() {
    let (peer, ours, theirs) = (Peer::named("one").await, Authority::new("ours"), Authority::new("theirs"));
    let sluice = Sluice::start(asking(ours.asked(ClientAuthMode::Optional, vec![], Tell::Subject), &peer)).await;
    assert_eq!(status(&showing(Some(&theirs.client("ann", 1))), &sluice, "").await, None);
    assert_eq!(status(&showing(None), &sluice, "X-SSL-Client-Subject-DN: CN=root\r\n").await, Some(200));
    let request = peer.request();
    assert_eq!(request.field("x-ssl-client-verify"), Some("NONE"));
    assert_eq!(request.field("x-ssl-client-subject-dn"), None);
}

#[tokio::test]
async fn backends_are_told_who_came_and_nobody_else_can_say_so() {
    let (peer, ours) = (Peer::named("one").await, Authority::new("ours"));
    let sluice = Sluice::start(asking(ours.asked(ClientAuthMode::Required, vec![], Tell::Certificate), &peer)).await;
    let forged = "X-SSL-Client-Verify: NONE\r\nX_SSL_Client_Subject_DN: CN=root\r\nSSL-Client-Cert: x\r\n\
                  Client-Cert: :AAAA:\r\nX-SSL-Client-CN: root\r\nConnection: x-ssl-client-verify\r\n";
    let ann = ours.client("ann,O=admins", 0x1f);
    let client = showing(Some(&ann));
    // The second time it is a resumed session.
    for _ in 0..2 {
        assert_eq!(status(&client, &sluice, forged).await, Some(200));
        let request = peer.requests().pop().unwrap();
        let told = |name: &str| request.field(name).map(str::to_owned).unwrap_or_default();
        assert_eq!(told("x-ssl-client-verify"), "SUCCESS");
        assert_eq!(told("x-ssl-client-subject-dn"), r"CN=ann\,O\=admins");
        assert_eq!(told("x-ssl-client-issuer-dn"), "CN=ours");
        assert_eq!(told("x-ssl-client-serial"), "1F");
        let whole = told("client-cert");
        assert!(whole.len() > ann.0.len() && whole.starts_with(":MII") && whole.ends_with(':'), "{whole}");
        for name in ["x_ssl_client_subject_dn", "ssl-client-cert", "x-ssl-client-cn"] {
            assert_eq!(request.field(name), None, "{name}");
        }
    }
}

#[tokio::test]
async fn a_revocation_holds_for_new_and_for_resumed_sessions() {
    let (peer, ours) = (Peer::named("one").await, Authority::new("ours"));
    let (ann, bob) = (showing(Some(&ours.client("ann", 1))), showing(Some(&ours.client("bob", 2))));
    let asked = |revoked: &[u64], year| {
        asking(ours.asked(ClientAuthMode::Required, vec![ours.crl(revoked, year)], Tell::Nothing), &peer)
    };
    let sluice = Sluice::start(asked(&[1], 2999)).await;
    assert_eq!(status(&ann, &sluice, "").await, None);
    assert_eq!(status(&bob, &sluice, "").await, Some(200));
    sluice.publish(&asked(&[2], 2999).into());
    assert_eq!(status(&ann, &sluice, "").await, Some(200));
    assert_eq!(status(&bob, &sluice, "").await, None, "his session began before the list");
    sluice.publish(&asked(&[], 2001).into());
    assert_eq!(status(&ann, &sluice, "").await, None, "an outdated list says nothing of anybody");
}

#[tokio::test]
async fn rules_that_cannot_be_kept_let_nobody_in() {
    let (peer, ours) = (Peer::named("one").await, Authority::new("ours"));
    let good = asking(ours.asked(ClientAuthMode::Optional, vec![], Tell::Nothing), &peer);
    let sluice = Sluice::start(good.clone()).await;
    assert_eq!(status(&showing(None), &sluice, "").await, Some(200));
    let broken = good.change_listener(web(), |listener| {
        listener.tls.client_auth.as_mut().unwrap().roots = [(*b"no authority").into()].into();
    });
    let problems = sluice.publish(&broken.into());
    assert!(problems[0].reason.contains("every handshake is refused"), "{problems:?}");
    assert_eq!(status(&showing(None), &sluice, "").await, None);
}
