//! Who gets a request, on which connection, and with which fields.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use sluice::model::intent::Protocol;

use crate::support::asked::{pool, redirect, route, web};
use crate::support::peer::{answer, ok};
use crate::support::{Asked, Peer, Reply, Sluice, Wire, eventually};

#[tokio::test]
async fn one_connection_serves_many_requests_on_both_sides() {
    let peer = Peer::named("one").await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    for _ in 0..20 {
        let answer = client.get("shop.test", "/").await;
        assert_eq!((answer.status(), answer.text()), (200, "one"));
    }
    assert_eq!(peer.connections(), 1);
    assert_eq!(sluice.answers("web", Some("site"), "200"), 20);
    assert_eq!(sluice.pool("site").durations().count(), 20);
}

#[tokio::test]
async fn clients_one_after_the_other_share_a_connection() {
    let peer = Peer::named("one").await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    for _ in 0..5 {
        let mut client = Wire::to(sluice.address(web()).await).await;
        assert_eq!(client.get("shop.test", "/").await.status(), 200);
    }
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let peer = Peer::http(|request| ok(request.first_line())).await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    let one = |n: u32| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n");
    client.send((0..10).map(one).collect::<String>()).await;
    for n in 0..10 {
        assert_eq!(client.message().await.unwrap().text(), format!("GET /{n} HTTP/1.1"));
    }
}

#[tokio::test]
async fn a_backend_that_closes_after_each_answer_is_asked_on_a_new_connection() {
    let peer = Peer::http(|_| Reply::Last(answer("200 OK", "once"))).await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    for _ in 0..20 {
        assert_eq!(client.get("a", "/").await.status(), 200);
    }
    let retries = sluice.pool("site").retries();
    assert_eq!(retries, 0, "a closed connection that waited is no failure of the backend");
}

#[tokio::test]
async fn the_backend_sees_the_request_and_who_asked() {
    let peer = Peer::named("one").await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let address = sluice.address(web()).await;
    let mut client = Wire::to(address).await;
    client.ask("POST /a%20b?q=1 HTTP/1.1\r\nHost: Shop.test:8080\r\nX-Mine: yes\r\nContent-Length: 2\r\n\r\nhi").await;
    let request = peer.request();
    assert_eq!(request.first_line(), "POST /a%20b?q=1 HTTP/1.1");
    assert_eq!(request.text(), "hi");
    let id = request.field("x-request-id").unwrap();
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    let mut rest: Vec<_> = request.head.lines().skip(1).filter(|line| !line.starts_with("x-request-id")).collect();
    rest.sort_unstable();
    let port = format!("x-forwarded-port: {}", address.port());
    assert_eq!(
        rest,
        [
            "content-length: 2",
            "host: Shop.test:8080",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: Shop.test:8080",
            &port,
            "x-forwarded-proto: http",
            "x-mine: yes",
            "x-real-ip: 127.0.0.1",
        ]
    );
}

#[tokio::test]
async fn what_a_client_says_of_itself_is_not_believed() {
    let peer = Peer::named("one").await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    let spoofed = "X-Forwarded-For: 10.0.0.1\r\nx_forwarded_for: 10.0.0.2\r\nX-Forwarded-Proto: https\r\nX.Real.IP: 10.0.0.3\r\n\
        X-Real-IP: 10.0.0.4\r\nForwarded: for=10.0.0.5\r\nX-Request-Id: mine\r\nX-Forwarded-User: root\r\nX_Forwarded-Host: evil\r\n";
    client.ask(format!("GET / HTTP/1.1\r\nHost: a\r\n{spoofed}\r\n")).await;
    let request = peer.request();
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.field("x-forwarded-proto"), Some("http"));
    assert_eq!(request.field("x-real-ip"), Some("127.0.0.1"));
    for gone in ["10.0.0.", "mine", "root", "evil", "x_", "x."] {
        assert!(!request.head.to_lowercase().contains(gone), "{gone} in {}", request.head);
    }
}

#[tokio::test]
async fn fields_for_the_next_hop_alone_end_here_in_both_directions() {
    let peer = Peer::http(|_| {
        Reply::Send(
            b"HTTP/1.1 200 OK\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n\
            Server: backend\r\nContent-Length: 0\r\n\r\n"
                .to_vec(),
        )
    })
    .await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    let answer = client
        .ask(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Token, Host\r\nX-Token: 1\r\nKeep-Alive: 5\r\nTE: gzip\r\n\
             Proxy-Authorization: Basic eA==\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nX-Stays: 1\r\n\r\n",
        )
        .await;
    let request = peer.request();
    for name in ["connection", "x-token", "keep-alive", "te", "proxy-authorization", "proxy-connection", "upgrade"] {
        assert_eq!(request.field(name), None, "{name}");
    }
    assert_eq!((request.field("x-stays"), request.field("host")), (Some("1"), Some("a")));
    for name in ["connection", "x-hop", "keep-alive", "proxy-authenticate"] {
        assert_eq!(answer.field(name), None, "{name}");
    }
    assert_eq!(answer.field("server"), Some("backend"));
}

#[tokio::test]
async fn host_and_path_choose_the_pool() {
    let (shop, cart, other) = (Peer::named("shop").await, Peer::named("cart").await, Peer::named("other").await);
    let routes = vec![
        route("shop.test", "/", "shop"),
        route("shop.test", "/cart", "cart"),
        route("*.example.test", "/", "other"),
    ];
    let asked = Asked::default()
        .listener(web(), "web", Protocol::Http, routes)
        .pool("shop", pool(&[shop.address]))
        .pool("cart", pool(&[cart.address]))
        .pool("other", pool(&[other.address]));
    let sluice = Sluice::start(asked).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    for (host, path, body) in [
        ("shop.test", "/", "shop"),
        ("SHOP.test.:8080", "/x", "shop"),
        ("shop.test", "/cart/1?x", "cart"),
        ("shop.test", "/cartoon", "shop"),
        ("a.example.test", "/", "other"),
    ] {
        assert_eq!(client.get(host, path).await.text(), body, "{host}{path}");
    }
    let absolute = client.ask("GET http://shop.test/cart HTTP/1.1\r\nHost: shop.test\r\n\r\n").await;
    assert_eq!(absolute.text(), "cart");
    assert_eq!(cart.requests()[1].first_line(), "GET /cart HTTP/1.1");
    let nowhere = client.get("nowhere.test", "/").await;
    assert_eq!((nowhere.status(), nowhere.field("server")), (404, None));
    assert_eq!(nowhere.field("x-request-id").map(str::len), Some(32));
    assert_eq!(nowhere.text(), "404 no route for this host and path\n");
    assert_eq!(sluice.answers("web", None, "404"), 1);
    let json = client.ask("GET / HTTP/1.1\r\nHost: nowhere.test\r\nAccept: application/json\r\n\r\n").await;
    assert_eq!(json.field("content-type"), Some("application/json"));
    assert!(json.text().starts_with(r#"{"status":404,"error":"no route for this host and path","request_id":""#));
}

#[tokio::test]
async fn a_redirect_keeps_host_path_and_query() {
    let routes = vec![redirect("a.test", 443), redirect("b.test", 8443)];
    let sluice = Sluice::start(Asked::default().listener(web(), "web", Protocol::Http, routes)).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    let answer = client.get("A.test:80", "/x?y=1").await;
    assert_eq!((answer.status(), answer.field("location")), (308, Some("https://a.test/x?y=1")));
    let answer = client.get("b.test", "/").await;
    assert_eq!(answer.field("location"), Some("https://b.test:8443/"));
}

#[tokio::test]
async fn a_keep_alive_client_sees_new_routes_and_backends_share_the_load() {
    let (one, two, three) = (Peer::named("one").await, Peer::named("two").await, Peer::named("three").await);
    let sluice = Sluice::start(Asked::site(&[one.address, two.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    for _ in 0..10 {
        client.get("a", "/").await;
    }
    assert_eq!((one.requests().len(), two.requests().len()), (5, 5));
    sluice.publish(&Asked::site(&[three.address]).into());
    assert_eq!(client.get("a", "/").await.text(), "three");
}

#[tokio::test]
async fn many_clients_at_once_get_their_own_answers() {
    let served = Arc::new(AtomicUsize::new(0));
    let count = served.clone();
    let peer = Peer::http(move |request| {
        count.fetch_add(1, Relaxed);
        ok(request.first_line())
    })
    .await;
    let sluice = Sluice::start_with(2, Asked::site(&[peer.address])).await;
    let address = sluice.address(web()).await;
    let clients = (0..50).map(|client| async move {
        let mut wire = Wire::to(address).await;
        for n in 0..20 {
            let answer = wire.get("a", &format!("/{client}/{n}")).await;
            assert_eq!(answer.text(), format!("GET /{client}/{n} HTTP/1.1"));
        }
    });
    futures_util::future::join_all(clients).await;
    assert_eq!(served.load(Relaxed), 1000);
    eventually("the connections to be counted out", || (sluice.listener(web()).active() == 0).then_some(())).await;
}
