//! Certificates by ACME from a real authority: Pebble, the test server of Let's Encrypt, with a DNS server of its own.
//!
//! Both are built by `make -C tests/conformance/acme tools`. Without them the stories are left out, loudly;
//! `LAB_REQUIRE=1` makes that a failure.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]
#![allow(clippy::disallowed_methods, reason = "tests own their tasks")]

#[path = "acme/lab.rs"]
mod lab;
mod support;

use lab::{Edge, Lab, in_time};
use support::{Peer, Wire};

/// A file with both listeners in it.
fn both(lab: &Lab, challenge: &str, peer: &Peer) -> String {
    let (http, https) = (lab.http, lab.https);
    format!(
        "listeners:\n  \
           plain: {{bind: '{http}', protocol: http, pool: site}}\n  \
           web:\n    bind: '{https}'\n    protocol: https\n    pool: site\n    \
             certificates: [{{acme: {{hosts: [a.test, b.test], {challenge}{}}}}}]\n\
         pools: {{site: {{probe: none, backends: ['{}']}}}}\n",
        lab.directory(),
        peer.address
    )
}

#[tokio::test]
async fn a_certificate_is_had_over_http_and_a_restart_needs_no_authority() {
    let Some(mut lab) = Lab::new(90 * 86_400).await else { return };
    lab.start().await;
    let peer = Peer::named("one").await;
    let edge = Edge::start(&lab, &both(&lab, "challenge: http-01, ", &peer)).await;
    let first = edge.certificate("a.test").await;
    assert_eq!((first.names.as_str(), first.is_from_pebble), ("a.test b.test", true));
    assert_eq!(edge.certificate("b.test").await, first);
    // Tokens of others are not ours to answer.
    let mut client = Wire::to(lab.http).await;
    let answer = client.get("a.test", "/.well-known/acme-challenge/of-cert-manager").await;
    assert_eq!((answer.status(), answer.text()), (200, "one"));
    assert_eq!(peer.request().first_line(), "GET /.well-known/acme-challenge/of-cert-manager HTTP/1.1");
    let metrics = edge.metrics().await;
    assert!(metrics.contains("sluice_acme_orders_total{result=\"issued\"} 1\n"), "{metrics}");
    assert!(metrics.contains("sluice_acme_orders_total{result=\"failed\"} 0\n"), "{metrics}");
    assert!(metrics.contains("sluice_certificate_expiry_seconds{host=\"a.test\"} 77"), "{metrics}");
    edge.stop().await;
    assert_eq!(lab.files(), [("accounts", 0o600), ("certificates", 0o600)]);
    assert!(!lab.log().contains("tls-alpn-01 challenge"), "{}", lab.log());
    lab.stop();
    let edge = Edge::start(&lab, &both(&lab, "challenge: http-01, ", &peer)).await;
    assert_eq!(edge.certificate_now("a.test").await, Some(first), "the same, from the first handshake on");
    assert_eq!(edge.problems().await, "[]");
    edge.stop().await;
}

#[tokio::test]
async fn a_certificate_is_had_over_tls_alone() {
    let Some(mut lab) = Lab::new(90 * 86_400).await else { return };
    lab.start().await;
    let peer = Peer::named("one").await;
    let text = format!(
        "listeners: {{web: {{bind: '{}', protocol: https, certificates: [{{acme: {{email: me@a.test, {}}}}}], \
         routes: [{{host: a.test, pool: site}}, {{host: '*.b.test', pool: site}}]}}}}\n\
         pools: {{site: {{probe: none, backends: ['{}']}}}}\n",
        lab.https,
        lab.directory(),
        peer.address
    );
    let edge = Edge::start(&lab, &text).await;
    let leaf = edge.certificate("a.test").await;
    assert_eq!((leaf.names.as_str(), leaf.is_from_pebble), ("a.test", true), "the exact hosts of the routes");
    // Nobody else gets anything by the authority's protocol.
    assert!(edge.shake(&["acme-tls/1"], "a.test").await.is_err());
    assert!(edge.shake(&["acme-tls/1", "h2"], "a.test").await.is_ok(), "but as one offer of several it is no harm");
    edge.stop().await;
}

#[tokio::test]
async fn a_certificate_is_renewed_in_time_and_swapped_under_traffic() {
    // Renewed after 12 of 18 seconds, or within the window that Pebble names, which is wider than the whole life.
    let Some(mut lab) = Lab::new(18).await else { return };
    lab.start().await;
    let peer = Peer::named("one").await;
    let edge = Edge::start(&lab, &both(&lab, "", &peer)).await;
    let first = edge.certificate("a.test").await;
    let mut open = Wire::new(edge.shake(&["http/1.1"], "a.test").await.unwrap());
    let renewed = in_time("the renewal", async || {
        assert_eq!(open.get("a.test", "/").await.text(), "one", "a connection from before goes on");
        edge.certificate_now("a.test").await.filter(|leaf| *leaf != first)
    })
    .await;
    assert_eq!((renewed.names.as_str(), renewed.is_from_pebble), ("a.test b.test", true));
    assert_eq!(edge.problems().await, "[]");
    edge.stop().await;
}

#[tokio::test]
async fn an_authority_that_is_away_is_told_of_and_what_can_be_served_is() {
    let Some(mut lab) = Lab::new(90 * 86_400).await else { return };
    let peer = Peer::named("one").await;
    let edge = Edge::start(&lab, &both(&lab, "", &peer)).await;
    let told = in_time("the problem", async || Some(edge.problems().await).filter(|told| told != "[]")).await;
    assert!(told.contains("no new certificate for a.test, b.test: https://127.0.0.1:"), "{told}");
    assert!(told.contains("Connection refused"), "{told}");
    assert!(edge.certificate_now("a.test").await.is_none(), "no stand-in");
    assert_eq!(Wire::to(lab.http).await.get("a.test", "/").await.text(), "one");
    lab.start().await;
    assert!(edge.certificate("a.test").await.is_from_pebble);
    in_time("the problem to go", async || (edge.problems().await == "[]").then_some(())).await;
    edge.stop().await;
}

#[tokio::test]
async fn a_refusal_is_told_in_the_authoritys_own_words_and_ends_with_the_wish() {
    let Some(mut lab) = Lab::new(90 * 86_400).await else { return };
    lab.start().await;
    let peer = Peer::named("one").await;
    let text = both(&lab, "", &peer).replace("b.test", "blocked.test");
    let edge = Edge::start(&lab, &text).await;
    let told = in_time("the problem", async || Some(edge.problems().await).filter(|told| told != "[]")).await;
    assert!(told.contains("blocked.test") && told.contains("(rejectedIdentifier)"), "{told}");
    assert!(edge.metrics().await.contains("sluice_acme_orders_total{result=\"failed\"} 1\n"));
    // Another wish is another order, at once, whatever the last one waits for.
    edge.write(&both(&lab, "", &peer));
    let leaf = edge.certificate("a.test").await;
    assert_eq!(leaf.names, "a.test b.test");
    assert_eq!(edge.problems().await, "[]");
    edge.stop().await;
}

#[tokio::test]
async fn answers_without_sense_are_told_and_spoil_nothing() {
    let Some(lab) = Lab::new(90 * 86_400).await else { return };
    let peer = Peer::named("one").await;
    let told = async |answer: &str| {
        // What was refused to the process before is not asked for again at once.
        let _ = std::fs::remove_dir_all(lab.path("state"));
        let mut authority = lab.pretend(answer.to_owned()).await;
        let edge = Edge::start(&lab, &both(&lab, "", &peer)).await;
        let told = in_time("the problem", async || Some(edge.problems().await).filter(|told| told != "[]")).await;
        assert_eq!(Wire::to(lab.http).await.get("a.test", "/").await.text(), "one");
        edge.stop().await;
        authority.shutdown().await;
        told
    };
    let page = "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nno";
    let said = told(page).await;
    assert!(said.contains("/dir: answered 502 Bad Gateway"), "{said}");
    let json = |body: &str| {
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
    };
    let said = told(&json("{}")).await;
    assert!(said.contains("missing field"), "{said}");
    let said = told(&json(r#"{"newNonce": "no url <>", "newAccount": "", "newOrder": ""}"#)).await;
    assert!(said.contains("cannot be made sense of"), "{said}");
    let endless = "HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n".to_owned() + &"x".repeat(2_000_000);
    let said = told(&endless).await;
    assert!(said.contains("length limit exceeded"), "{said}");
}

#[tokio::test]
async fn a_proof_that_fails_is_told_in_the_authoritys_own_words() {
    let Some(mut lab) = Lab::new(90 * 86_400).await else { return };
    lab.start().await;
    let peer = Peer::named("one").await;
    // The listener is not where the authority looks.
    let text = both(&lab, "challenge: http-01, ", &peer).replace(&lab.http.to_string(), "127.0.0.1:0");
    let edge = Edge::start(&lab, &text).await;
    let told = in_time("the problem", async || Some(edge.problems().await).filter(|told| told != "[]")).await;
    assert!(told.contains("http-01: ") && told.contains("connection refused"), "{told}");
    edge.stop().await;
}
