//! Proxies in front whose word is taken.

use std::sync::Arc;
use std::time::Duration;

use sluice::model::host::Host;
use sluice::model::intent::filter::{Hsts, Redirect, Scheme};
use sluice::model::intent::{
    Action, Balance, Filters, PoolName, Protocol, Route, SameSite, SourceRules, Sticky, StickyCookie,
};

use crate::support::asked::{pool, route, web};
use crate::support::{Asked, Peer, Sluice, Wire};

/// What a proxy in front says of a client.
const SAID: &str = "X-Forwarded-For: 6.6.6.6, 192.0.2.7\r\nX-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Proto: https\r\n\
    X-Forwarded-Host: shop.test\r\nX-Forwarded-Port: 443\r\nX-Request-Id: edge-1\r\nForwarded: for=192.0.2.7\r\n\
    X-Forwarded-Prefix: /shop\r\nX_Forwarded_For: 6.6.6.6\r\n";

fn asked(peer: &Peer, trusted: &[&str]) -> Asked {
    Asked::site(&[peer.address]).change_listener(web(), |listener| {
        listener.http.trusted_proxies = trusted.iter().map(|range| range.parse().unwrap()).collect();
    })
}

#[tokio::test]
async fn what_a_trusted_proxy_says_is_passed_on_and_its_address_added() {
    let peer = Peer::named("one").await;
    let sluice = Sluice::start(asked(&peer, &["127.0.0.0/8", "10.0.0.0/8"])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    client.ask(format!("GET / HTTP/1.1\r\nHost: inside.test\r\n{SAID}\r\n")).await;
    let request = peer.request();
    for (name, value) in [
        ("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.0.0.9, 127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop.test"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-prefix", "/shop"),
        ("x-real-ip", "192.0.2.7"),
        ("x-request-id", "edge-1"),
        ("forwarded", "for=192.0.2.7"),
        ("host", "inside.test"),
    ] {
        assert_eq!(request.field(name), Some(value), "{name}");
    }
    assert_eq!(request.field("x_forwarded_for"), None);
    // What it does not say is said by us.
    client.get("inside.test", "/").await;
    let request = peer.requests().pop().unwrap();
    assert_eq!((request.field("x-forwarded-for"), request.field("x-real-ip")), (Some("127.0.0.1"), Some("127.0.0.1")));
    assert_eq!(
        (request.field("x-forwarded-proto"), request.field("x-forwarded-host")),
        (Some("http"), Some("inside.test"))
    );
    assert_eq!(request.field("x-request-id").map(str::len), Some(32));
    let answer = client.ask("GET /%00 HTTP/1.1\r\nHost: a\r\nX-Request-Id: edge-2\r\n\r\n").await;
    assert_eq!((answer.status(), answer.field("x-request-id")), (400, Some("edge-2")), "our answers carry it too");
}

#[tokio::test]
async fn of_all_others_nothing_is_believed() {
    let peer = Peer::named("one").await;
    let sluice = Sluice::start(asked(&peer, &["192.0.2.0/24"])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    client.ask(format!("GET / HTTP/1.1\r\nHost: inside.test\r\n{SAID}\r\n")).await;
    let request = peer.request();
    assert_eq!((request.field("x-forwarded-for"), request.field("x-real-ip")), (Some("127.0.0.1"), Some("127.0.0.1")));
    assert_eq!((request.field("forwarded"), request.field("x-forwarded-prefix")), (None, None));
    assert!(!request.head.contains("edge-1") && !request.head.contains("6.6.6.6"), "{}", request.head);
}

#[tokio::test]
async fn filters_and_picks_go_by_the_client_that_a_trusted_proxy_names() {
    let (one, two, three) = (Peer::named("1").await, Peer::named("2").await, Peer::named("3").await);
    let asked = asked(&one, &["127.0.0.0/8"])
        .change_pool("site", |pool| {
            pool.balance = Balance::HashSource;
            pool.backends = Asked::site(&[one.address, two.address, three.address])
                .0
                .pools
                .into_values()
                .next()
                .unwrap()
                .backends
                .clone();
        })
        .change_listener(web(), |listener| {
            let sources = SourceRules { allow: vec!["192.0.2.0/24".parse().unwrap()], deny: Vec::new() };
            listener.routes[0].filters = Some(Arc::new(Filters { sources, ..Filters::default() }));
        });
    let sluice = Sluice::start(asked).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    let mut by = async |address: &str| {
        client.ask(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {address}\r\n\r\n")).await
    };
    assert_eq!(by("198.51.100.1").await.status(), 403);
    let mut names = std::collections::BTreeSet::new();
    for host in 0..30 {
        let address = format!("192.0.2.{host}");
        let first = by(&address).await;
        assert_eq!((first.status(), by(&address).await.text()), (200, first.text()));
        names.insert(first.text().to_owned());
    }
    assert_eq!(names.len(), 3, "clients behind one proxy are told apart");
}

/// A site behind redirects to https: that of an Ingress, and some of the file.
fn redirecting(peer: &Peer, trusted: &str) -> Asked {
    let site = Some(PoolName::new("site"));
    let hsts = Some(Hsts { max_age: Duration::from_secs(60), subdomains: false, preload: false });
    let filters = Some(Arc::new(Filters { hsts, ..Filters::default() }));
    let https = || Redirect { scheme: Some(Scheme::Https), ..Redirect::default() };
    let file = |host, redirect| Route { action: Action::Redirect(Arc::new(redirect)), ..route(host, "/", "unused") };
    let ingress = Action::RedirectHttps { port: 443, pool: site.clone() };
    let routes = vec![
        Route { action: ingress, filters: filters.clone(), ..route("ingress.test", "/", "unused") },
        Route { filters, ..file("file.test", Redirect { pool: site, ..https() }) },
        file("alone.test", https()),
        file("moved.test", Redirect { host: Some(Host::parse("new.test").unwrap()), ..https() }),
    ];
    let mut site = pool(&[peer.address]);
    let same_site = SameSite::default();
    site.sticky =
        Some(Sticky::Cookie(StickyCookie { name: "SRV".into(), ttl: None, secure: None, same_site, key: None }));
    let asked = Asked::default().pool("site", site).listener(web(), "web", Protocol::Http, routes);
    asked.change_listener(web(), |listener| listener.http.trusted_proxies = vec![trusted.parse().unwrap()])
}

#[tokio::test]
async fn who_came_to_a_trusted_proxy_over_https_is_not_sent_there() {
    let peer = Peer::named("one").await;
    let sluice = Sluice::start(redirecting(&peer, "127.0.0.0/8")).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    let mut get =
        async |host: &str, said: &str| client.ask(format!("GET /x HTTP/1.1\r\nHost: {host}\r\n{said}\r\n")).await;
    let (https, by) = ("X-Forwarded-Proto: https\r\n", "Forwarded: for=192.0.2.7;proto=https\r\n");
    for host in ["ingress.test", "file.test"] {
        for said in [https, by] {
            let answer = get(host, said).await;
            assert_eq!((answer.status(), answer.text()), (200, "one"), "{host} {said}");
            assert_eq!(answer.field("strict-transport-security"), Some("max-age=60"), "{host} {said}");
            assert!(answer.field("set-cookie").is_some_and(|cookie| cookie.contains("; Secure")), "{host} {said}");
            let request = peer.requests().pop().unwrap();
            let told = |name| request.field(name);
            assert_eq!((told("x-forwarded-proto"), told("x-forwarded-port")), (Some("https"), Some("443")), "{said}");
        }
        for said in ["", "X-Forwarded-Proto: http\r\n", "X-Forwarded-Proto: http\r\nForwarded: proto=https\r\n"] {
            let answer = get(host, said).await;
            let location = format!("https://{host}/x");
            assert_eq!((answer.status(), answer.field("location")), (308, Some(&*location)), "{said}");
            assert_eq!(answer.field("strict-transport-security"), None, "said in the clear");
        }
    }
    assert_eq!(peer.requests().len(), 4);
    assert_eq!(get("alone.test", https).await.status(), 404, "nothing lies beyond it");
    assert_eq!(get("moved.test", https).await.field("location"), Some("https://new.test/x"), "that is elsewhere");
    assert_eq!((sluice.answers("web", Some("site"), "200"), sluice.answers("web", None, "308")), (4, 7));
}

#[tokio::test]
async fn anybody_else_who_says_https_is_sent_there_all_the_same() {
    let peer = Peer::named("one").await;
    let sluice = Sluice::start(redirecting(&peer, "192.0.2.0/24")).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    for host in ["ingress.test", "file.test", "alone.test"] {
        let said = "X-Forwarded-Proto: https\r\nForwarded: proto=https\r\n";
        let answer = client.ask(format!("GET /x HTTP/1.1\r\nHost: {host}\r\n{said}\r\n")).await;
        assert_eq!((answer.status(), answer.field("location")), (308, Some(&*format!("https://{host}/x"))));
    }
    assert_eq!(peer.requests().len(), 0);
}
