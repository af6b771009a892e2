//! Names and passwords.

use std::time::Duration;

use sluice::model::intent::Filters;
use sluice::model::intent::filter::BasicAuth;
use sluice::model::secret::Secret;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::support::asked::web;
use super::support::{Message, Peer, Wire};
use super::{filtered, serving};

/// ann: U*U by bcrypt; bob: secret by Apache's MD5; cem: secret by SHA-1.
const USERS: &str = "ann:$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n\
    bob:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/\ncem:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n";

const ANN: &str = "Basic YW5uOlUqVQ==";
const BOB: &str = "Basic Ym9iOnNlY3JldA==";
const CEM: &str = "Basic Y2VtOnNlY3JldA==";

fn guarded(pass_on: bool) -> Filters {
    let users = Secret::new(USERS.as_bytes());
    Filters { basic_auth: Some(BasicAuth { realm: "the cellar".into(), users, pass_on }), ..Filters::default() }
}

async fn ask(client: &mut Wire, authorization: &str) -> Message {
    client.ask(format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {authorization}\r\n\r\n")).await
}

#[tokio::test]
async fn who_knows_the_password_may_pass_and_nobody_else() {
    let peer = Peer::named("in").await;
    let (_sluice, mut client) = serving(filtered(&[peer.address], guarded(true))).await;
    let refused = client.get("a", "/").await;
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.field("www-authenticate"), Some("Basic realm=\"the cellar\", charset=\"UTF-8\""));
    for right in [ANN, BOB, CEM, "basic  Ym9iOnNlY3JldA"] {
        for _ in 0..3 {
            assert_eq!(ask(&mut client, right).await.text(), "in", "{right}");
        }
    }
    assert_eq!(peer.requests().len(), 12);
    assert_eq!(peer.requests()[0].field("authorization"), Some(ANN), "the backend is told, as it may ask too");
    // bob with a wrong password; nobody there; no colon; not base64; another scheme; nothing; not text.
    let wrong =
        ["Basic Ym9iOm5vcGU=", "Basic ZXZlOnNlY3JldA==", "Basic Ym9i", "Basic !!!!", "Bearer x", "", "Basic /zp4"];
    for wrong in wrong {
        assert_eq!(ask(&mut client, wrong).await.status(), 401, "{wrong}");
    }
    let long = format!("Basic {}", "YWFh".repeat(2000));
    assert_eq!(ask(&mut client, &long).await.status(), 401);
    let two = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {BOB}\r\nAuthorization: Bearer x\r\n\r\n");
    assert_eq!(client.ask(two).await.status(), 400, "a backend might read the other");
    assert_eq!(peer.requests().len(), 12);
}

#[tokio::test]
async fn the_backend_is_not_told_where_that_is_not_asked() {
    let peer = Peer::named("in").await;
    let (_sluice, mut client) = serving(filtered(&[peer.address], guarded(false))).await;
    assert_eq!(ask(&mut client, BOB).await.status(), 200);
    assert_eq!(peer.request().field("authorization"), None);
}

#[tokio::test]
async fn a_changed_password_counts_at_once() {
    let peer = Peer::named("in").await;
    let (sluice, mut client) = serving(filtered(&[peer.address], guarded(true))).await;
    assert_eq!(ask(&mut client, BOB).await.status(), 200);
    let users = Secret::new(*b"bob:$apr1$zz$j2/RZcZLBHtY4Hv3/anFc1");
    let changed = BasicAuth { realm: "the cellar".into(), users, pass_on: true };
    let filters = Filters { basic_auth: Some(changed), ..Filters::default() };
    assert_eq!(sluice.publish(&filtered(&[peer.address], filters).into()), []);
    assert_eq!(ask(&mut client, BOB).await.status(), 401);
    assert_eq!(ask(&mut client, "Basic Ym9iOg==").await.status(), 200, "the new one is empty");
}

#[tokio::test]
async fn a_list_that_cannot_be_read_lets_nobody_in() {
    let peer = Peer::named("in").await;
    let (sluice, mut client) = serving(filtered(&[peer.address], guarded(true))).await;
    let broken = BasicAuth { realm: "x".into(), users: Secret::new(*b"bob:secret"), pass_on: true };
    let filters = Filters { basic_auth: Some(broken), ..Filters::default() };
    let problems = sluice.publish(&filtered(&[peer.address], filters).into());
    assert!(problems[0].reason.contains("basic_auth: the list of users line 1"), "{problems:?}");
    assert_eq!(ask(&mut client, BOB).await.status(), 503);
}

/// Ten checks at a time take seconds of a core here: were it done by the data thread, those
/// who ask nothing would wait for all of it.
#[tokio::test]
async fn a_flood_of_wrong_passwords_delays_nobody_and_ends() {
    let slow = "ann:$2y$07$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n\
        bob:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";
    let auth = BasicAuth { realm: "x".into(), users: Secret::new(slow.as_bytes()), pass_on: true };
    let peer = Peer::named("in").await;
    let filters = Filters { basic_auth: Some(auth), ..Filters::default() };
    let (sluice, mut client) = serving(filtered(&[peer.address], filters)).await;
    assert_eq!(ask(&mut client, BOB).await.status(), 200, "known from now on");
    let address = sluice.address(web()).await;
    let mut flood = JoinSet::new();
    for n in 0..60 {
        flood.spawn(async move {
            let mut client = Wire::to(address).await;
            // ann:guess and a digit or two in base64, which differ.
            let guess = ["YW5uOmd1ZXNzMA==", "YW5uOmd1ZXNzMQ==", "YW5uOmd1ZXNzMg==", "YW5uOmd1ZXNzMw=="][n % 4];
            let unknown = format!("Basic {}{guess}", "QUFB".repeat(n));
            ask(&mut client, &unknown).await.status()
        });
    }
    let began = Instant::now();
    let mut worst = Duration::ZERO;
    for _ in 0..50 {
        let at = Instant::now();
        assert_eq!(ask(&mut client, BOB).await.status(), 200);
        worst = worst.max(at.elapsed());
    }
    assert!(worst < Duration::from_millis(500), "{worst:?} of {:?}", began.elapsed());
    let codes = flood.join_all().await;
    assert!(codes.iter().all(|code| [401, 429, 503].contains(code)), "{codes:?}");
    assert!(codes.contains(&429), "one source has only so many tries: {codes:?}");
    assert_eq!(peer.requests().len(), 51);
}
