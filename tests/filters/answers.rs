//! What clients see: redirects, the CORS protocol, HSTS; on answers of backends and on our own.

use std::sync::Arc;
use std::time::Duration;

use sluice::model::host::Host;
use sluice::model::intent::filter::{Cors, FieldEdits, Hsts, PathEdit, Redirect, Scheme};
use sluice::model::intent::{Action, Filters, Protocol, Route, SourceRules};

use crate::support::asked::{pool, route, web};
use crate::support::peer::{nobody, ok};
use crate::support::tls::{Client, cert};
use crate::support::{Asked, Peer, Reply, Sluice, Wire};
use crate::{filtered, started};

#[tokio::test]
async fn a_route_sends_its_clients_elsewhere() {
    let to = |redirect, path| Route { action: Action::Redirect(Arc::new(redirect)), ..route("*", path, "unused") };
    let bare = Redirect::default;
    let routes = vec![
        to(Redirect { scheme: Some(Scheme::Https), ..bare() }, "/s"),
        to(Redirect { host: Some(Host::parse("b.test").unwrap()), code: 301, ..bare() }, "/h"),
        to(Redirect { path: Some(PathEdit::Prefix("/new".into())), code: 302, ..bare() }, "/old"),
        to(Redirect { path: Some(PathEdit::Prefix("/".into())), code: 307, ..bare() }, "/strip"),
    ];
    let sluice = Sluice::start(Asked::default().listener(web(), "web", Protocol::Http, routes)).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    for (path, code, location) in [
        ("/s/x?q=1", 308, "https://a.test/s/x?q=1"),
        ("/h", 301, "http://b.test/h"),
        ("/old/x?q", 302, "/new/x?q"),
        ("/strip//evil.test/x", 307, "/evil.test/x"),
    ] {
        let answer = client.get("a.test:8080", path).await;
        assert_eq!((answer.status(), answer.field("location")), (code, Some(location)), "{path}");
    }
    let mut old = Wire::to(sluice.address(web()).await).await;
    assert_eq!(old.ask("GET /s HTTP/1.0\r\n\r\n").await.status(), 400, "no host, so there is nowhere to go");
    assert_eq!(sluice.answers("web", None, "308"), 1);
}

#[tokio::test]
async fn a_redirect_obeys_the_filters_of_its_route() {
    let redirect = Redirect { path: Some(PathEdit::Whole("/x".into())), ..Redirect::default() };
    let filters = Filters {
        response_headers: FieldEdits { set: vec![("x-by".into(), "us".into())], ..FieldEdits::default() },
        sources: SourceRules { allow: Vec::new(), deny: vec!["127.0.0.9/32".parse().unwrap()] },
        ..Filters::default()
    };
    let route = Route {
        action: Action::Redirect(Arc::new(redirect)),
        filters: Some(Arc::new(filters)),
        ..route("*", "/", "unused")
    };
    let sluice = Sluice::start(Asked::default().listener(web(), "web", Protocol::Http, vec![route])).await;
    let address = sluice.address(web()).await;
    let answer = Wire::to(address).await.get("a", "/").await;
    assert_eq!((answer.status(), answer.field("location"), answer.field("x-by")), (308, Some("/x"), Some("us")));
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
    let answer = Wire::new(socket.connect(address).await.unwrap()).get("a", "/").await;
    assert_eq!((answer.status(), answer.field("x-by")), (403, Some("us")));
}

fn cors(origins: &[&str], credentials: bool) -> Filters {
    let cors = Cors {
        origins: origins.iter().map(|origin| (*origin).into()).collect(),
        methods: vec!["GET".into(), "PUT".into()],
        headers: Vec::new(),
        expose: vec!["x-total".into()],
        credentials,
        max_age: Duration::from_secs(600),
    };
    Filters { cors: Some(cors), ..Filters::default() }
}

fn preflight(origin: &str) -> String {
    format!(
        "OPTIONS /x HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: PUT\r\n\
         Access-Control-Request-Headers: x-a, x-b\r\n\r\n"
    )
}

#[tokio::test]
async fn preflights_are_answered_here_and_origins_granted_by_name() {
    let peer = Peer::http(|_| {
        Reply::Send(
            b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nVary: Accept\r\nContent-Length: 2\r\n\r\nok"
                .to_vec(),
        )
    })
    .await;
    let (_sluice, mut client) = started(&peer, cors(&["https://*.good.test"], true)).await;
    let granted = client.ask(preflight("https://app.good.test")).await;
    assert_eq!(granted.status(), 204);
    for (name, value) in [
        ("access-control-allow-origin", "https://app.good.test"),
        ("access-control-allow-methods", "GET, PUT"),
        ("access-control-allow-headers", "x-a, x-b"),
        ("access-control-allow-credentials", "true"),
        ("access-control-max-age", "600"),
    ] {
        assert_eq!(granted.field(name), Some(value), "{name}");
    }
    assert!(granted.fields("vary").contains(&"origin") && granted.field("x-request-id").is_some());
    let foreign = client.ask(preflight("https://good.test.evil.test")).await;
    assert!(!foreign.head.to_ascii_lowercase().contains("access-control-allow"), "{}", foreign.head);
    assert_eq!(peer.requests().len(), 0, "no preflight reaches the backend");

    let get = |origin: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{origin}\r\n");
    let answer = client.ask(get("Origin: https://app.good.test\r\n")).await;
    assert_eq!(answer.field("access-control-allow-origin"), Some("https://app.good.test"));
    assert_eq!(answer.field("access-control-expose-headers"), Some("x-total"));
    assert_eq!(answer.fields("vary"), ["Accept", "origin"]);
    // The backend's own word would open the route to all.
    for other in [get("Origin: https://evil.test\r\n"), get("")] {
        let answer = client.ask(other).await;
        assert_eq!((answer.status(), answer.field("access-control-allow-origin")), (200, None));
        assert_eq!(answer.fields("vary"), ["Accept", "origin"]);
    }
    // OPTIONS that is no preflight is the backend's.
    let answer = client.ask("OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://app.good.test\r\n\r\n").await;
    assert_eq!((answer.status(), peer.requests().len()), (200, 4));
}

#[tokio::test]
async fn an_open_route_tells_all_the_same() {
    let peer = Peer::named("app").await;
    let (_sluice, mut client) = started(&peer, cors(&["*"], false)).await;
    let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\nOrigin: https://any.test\r\n\r\n").await;
    assert_eq!((answer.field("access-control-allow-origin"), answer.fields("vary").len()), (Some("*"), 0));
    assert_eq!(answer.field("access-control-allow-credentials"), None);
    assert_eq!(client.ask(preflight("https://any.test")).await.field("access-control-allow-origin"), Some("*"));
}

#[tokio::test]
async fn https_is_asked_for_over_https_alone_and_on_our_own_answers_too() {
    let filters = || Filters {
        hsts: Some(Hsts { max_age: Duration::from_secs(600), subdomains: true, preload: false }),
        ..Filters::default()
    };
    let peer = Peer::http(|_| {
        Reply::Send(b"HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=1\r\nContent-Length: 2\r\n\r\nok".to_vec())
    })
    .await;
    let cert = cert(&["a.test"]);
    let mut routes = vec![route("*", "/", "site"), route("*", "/dead", "dead")];
    routes.iter_mut().for_each(|route| route.filters = Some(Arc::new(filters())));
    let asked = Asked::default()
        .listener(web(), "web", Protocol::Https, routes)
        .pool("site", pool(&[peer.address]))
        .pool("dead", pool(&[nobody().await]))
        .cert(web(), "cert", cert);
    let sluice = Sluice::start(asked).await;
    let mut client = Wire::new(Client::offering(&["http/1.1"]).connect(sluice.address(web()).await, "a.test").await);
    for (path, code) in [("/", 200), ("/dead", 503)] {
        let answer = client.get("a.test", path).await;
        let said = answer.field("strict-transport-security");
        assert_eq!((answer.status(), said), (code, Some("max-age=600; includeSubDomains")), "{path}");
    }
    let plain = Peer::http(|_| ok("plain")).await;
    let (_sluice, mut client) = started(&plain, filters()).await;
    assert_eq!(client.get("a.test", "/").await.field("strict-transport-security"), None);
}

#[tokio::test]
async fn the_answers_that_are_made_here_have_the_fields_too() {
    let edits = FieldEdits { set: vec![("x-by".into(), "us".into())], ..FieldEdits::default() };
    let filters = Filters { response_headers: edits, ..cors(&["https://a.test"], false) };
    let peer = Peer::named("gone").await;
    let intent = filtered(&peer, filters).change_pool("site", |pool| pool.backends.clear());
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    sluice.publish(&intent.into());
    let mut client = Wire::to(sluice.address(web()).await).await;
    let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\nOrigin: https://a.test\r\n\r\n").await;
    assert_eq!((answer.status(), answer.field("x-by")), (503, Some("us")));
    assert_eq!(answer.field("access-control-allow-origin"), Some("https://a.test"), "scripts may read why");
}
