//! A server that is asked, by the conventions of nginx and Traefik.

use std::time::Duration;

use sluice::model::intent::filter::ForwardAuth;
use sluice::model::intent::{Filters, PoolName};

use super::support::asked::{pool, web};
use super::support::peer::{answer, nobody, ok};
use super::support::{Asked, Peer, Reply};
use super::{filtered, serving};

fn asking(backend: &Peer, auth: std::net::SocketAddr, change: impl FnOnce(&mut ForwardAuth)) -> Asked {
    let mut asked = ForwardAuth {
        pool: PoolName::new("auth"),
        host: None,
        path: "/api/verify?x=1".into(),
        headers: vec!["remote-user".into(), "remote-groups".into()],
        sign_in: None,
        timeout: Duration::from_secs(1),
    };
    change(&mut asked);
    let filters = Filters { forward_auth: Some(asked), ..Filters::default() };
    filtered(&[backend.address], filters).pool("auth", pool(&[auth]))
}

fn lets_pass(fields: &str) -> Reply {
    Reply::Send(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok").into_bytes())
}

#[tokio::test]
async fn trailers_cannot_say_what_the_server_may_say() {
    let backend = Peer::serving(|mut wire| async move {
        wire.head().await.unwrap();
        let body = wire.until("\r\n0\r\n").await.unwrap();
        let trailers = [body, wire.until("\r\n\r\n").await.unwrap()].concat();
        wire.send(answer("200 OK", &String::from_utf8_lossy(&trailers))).await;
    })
    .await;
    let auth = Peer::http(|_| lets_pass("Remote-User: ann\r\n")).await;
    let (_sluice, mut client) = serving(asking(&backend, auth.address, |_| ())).await;
    let told = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: remote-user, remote_groups, x-sum\r\n\r\n\
        2\r\nok\r\n0\r\nRemote-User: root\r\nRemote_Groups: admins\r\nX-Sum: 7\r\n\r\n";
    let trailers = client.ask(told).await.text().to_ascii_lowercase();
    assert!(trailers.contains("x-sum: 7"), "{trailers}");
    assert!(!trailers.contains("root") && !trailers.contains("admins"), "{trailers}");
}

#[tokio::test]
async fn the_server_is_told_what_is_asked_for_and_the_backend_who_it_was() {
    let backend = Peer::named("in").await;
    let auth = Peer::http(|_| lets_pass("Remote-User: ann\r\nSet-Cookie: s=2\r\nX-Other: 1\r\n")).await;
    let (_sluice, mut client) = serving(asking(&backend, auth.address, |_| ())).await;
    let request = "POST /x/y?z=1 HTTP/1.1\r\nHost: shop.example.test\r\nCookie: s=1\r\nAuthorization: Bearer t\r\n\
        Remote-User: root\r\nREMOTE_USER: root\r\nRemote.Groups: admins\r\nConnection: Remote-User, close2\r\n\
        X-Original-URL: http://evil.test/\r\nX_Forwarded_Uri: /public\r\nX-Forwarded-Method: GET\r\nRange: bytes=0-1\r\n\
        If-None-Match: \"x\"\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nbody";
    let answered = client.ask(request).await;
    assert_eq!((answered.text(), answered.field("set-cookie")), ("in", Some("s=2")));
    let asked = auth.request();
    assert_eq!((asked.first_line(), asked.text()), ("GET /api/verify?x=1 HTTP/1.1", ""));
    for (name, value) in [
        ("host", "shop.example.test"),
        ("cookie", "s=1"),
        ("authorization", "Bearer t"),
        ("x-original-url", "http://shop.example.test/x/y?z=1"),
        ("x-original-uri", "/x/y?z=1"),
        ("x-original-method", "POST"),
        ("x-forwarded-method", "POST"),
        ("x-forwarded-uri", "/x/y?z=1"),
        ("x-forwarded-host", "shop.example.test"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-auth-request-redirect", "/x/y?z=1"),
    ] {
        assert_eq!(asked.field(name), Some(value), "{name}\n{}", asked.head);
    }
    for name in ["content-length", "content-type", "range", "if-none-match", "x_forwarded_uri", "transfer-encoding"] {
        assert_eq!(asked.field(name), None, "{name}");
    }
    let passed = backend.request();
    assert_eq!((passed.first_line(), passed.text()), ("POST /x/y?z=1 HTTP/1.1", "body"));
    assert_eq!(passed.field("remote-user"), Some("ann"), "{}", passed.head);
    for name in ["remote_user", "remote.groups", "remote-groups", "x-other", "x-sluice-asks"] {
        assert_eq!(passed.field(name), None, "{name}");
    }
    assert_eq!(client.get("a", "/").await.status(), 200);
    assert_eq!(auth.connections(), 1, "its connection is used again");
}

#[tokio::test]
async fn fields_of_the_client_never_pass_for_the_servers() {
    let backend = Peer::named("in").await;
    let auth = Peer::http(|_| lets_pass("")).await;
    let (_sluice, mut client) = serving(asking(&backend, auth.address, |_| ())).await;
    client.ask("GET / HTTP/1.1\r\nHost: a\r\nRemote-User: root\r\nremote_groups: admins\r\n\r\n").await;
    let head = backend.request().head.to_ascii_lowercase();
    assert!(!head.contains("root") && !head.contains("admins"), "{head}");
}

#[tokio::test]
async fn cookies_in_several_fields_are_one_to_the_server_as_to_the_backend() {
    let backend = Peer::named("in").await;
    let auth = Peer::http(|_| lets_pass("")).await;
    let (_sluice, mut client) = serving(asking(&backend, auth.address, |_| ())).await;
    client.ask("GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1\r\nCookie: s=2\r\n\r\n").await;
    for request in [auth.request(), backend.request()] {
        assert_eq!(request.field("cookie"), Some("a=1; s=2"), "{}", request.head);
        assert_eq!(request.head.to_ascii_lowercase().matches("cookie:").count(), 1, "{}", request.head);
    }
}

#[tokio::test]
async fn what_the_server_refuses_is_the_clients_answer() {
    let backend = Peer::named("in").await;
    let auth = Peer::http(|request| match request.field("x-original-uri") {
        Some("/401") => Reply::Send(
            b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 3\r\n\r\nwho".to_vec(),
        ),
        Some("/302") => {
            Reply::Send(b"HTTP/1.1 302 Found\r\nLocation: https://auth.test/\r\nContent-Length: 0\r\n\r\n".to_vec())
        }
        _ => Reply::Send(answer("403 Forbidden", "not you")),
    })
    .await;
    let (sluice, mut client) = serving(asking(&backend, auth.address, |_| ())).await;
    let refused = client.get("a", "/401").await;
    assert_eq!(
        (refused.status(), refused.text(), refused.field("www-authenticate")),
        (401, "who", Some("Basic realm=x"))
    );
    assert_eq!(client.get("a", "/302").await.field("location"), Some("https://auth.test/"));
    assert_eq!(client.get("a", "/").await.text(), "not you");
    // A body that nobody reads does not become the next request.
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\nX: 12\r\n\r\n").await;
    assert_eq!(client.message().await.unwrap().status(), 403);
    assert_eq!(backend.requests().len(), 0);
    assert!(auth.requests().iter().all(|request| request.field("x-original-uri") != Some("/smuggled")));
    assert_eq!(sluice.answers("web", Some("site"), "403"), 2);
}

#[tokio::test]
async fn who_has_no_session_is_sent_to_sign_in_and_comes_back() {
    let backend = Peer::named("in").await;
    let auth = Peer::http(|request| match request.field("cookie") {
        Some("known") => Reply::Send(answer("403 Forbidden", "not you")),
        _ => Reply::Send(b"HTTP/1.1 401 No\r\nSet-Cookie: csrf=1\r\nContent-Length: 0\r\n\r\n".to_vec()),
    })
    .await;
    let asked = asking(&backend, auth.address, |asked| {
        asked.sign_in = Some("https://auth.test/start?rd={url}".into());
        asked.host = Some("auth.internal".into());
    });
    let (_sluice, mut client) = serving(asked).await;
    let sent = client.get("shop.example.test", "/cart?a=1&b=2").await;
    assert_eq!((sent.status(), sent.field("set-cookie")), (302, Some("csrf=1")));
    let expected = "https://auth.test/start?rd=http%3A%2F%2Fshop.example.test%2Fcart%3Fa%3D1%26b%3D2";
    assert_eq!(sent.field("location"), Some(expected));
    assert_eq!(auth.request().field("host"), Some("auth.internal"));
    // Signed in and not allowed: sending it to sign in again would go round for ever.
    let refused = client.ask("GET / HTTP/1.1\r\nHost: a\r\nCookie: known\r\n\r\n").await;
    assert_eq!((refused.status(), refused.text()), (403, "not you"));
}

#[tokio::test]
async fn when_the_server_fails_nothing_passes() {
    let backend = Peer::named("in").await;
    let hangs = Peer::http(|_| Reply::Hang).await;
    let breaks = Peer::http(|_| Reply::Reset).await;
    let fails = Peer::http(|_| Reply::Send(answer("500 Oops", "x"))).await;
    let babbles = Peer::http(|_| Reply::Last(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec())).await;
    let switches = Peer::http(|_| {
        Reply::Send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n".to_vec())
    })
    .await;
    for address in [hangs.address, breaks.address, fails.address, babbles.address, switches.address, nobody().await] {
        let asked = asking(&backend, address, |asked| asked.timeout = Duration::from_millis(200));
        let (_sluice, mut client) = serving(asked).await;
        assert_eq!(client.get("a", "/").await.status(), 503, "{address}");
        let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
        assert_eq!(client.ask(upgrade).await.status(), 503, "{address}");
    }
    assert_eq!(backend.requests().len(), 0);
}

#[tokio::test]
async fn a_pool_that_is_not_there_lets_nothing_pass_and_is_told() {
    let backend = Peer::named("in").await;
    let (sluice, mut client) = serving(asking(&backend, backend.address, |_| ())).await;
    let asked = asking(&backend, backend.address, |asked| asked.pool = PoolName::new("nowhere"));
    let problems = sluice.publish(&asked.into());
    assert!(problems[0].reason.contains("forward_auth names pool nowhere"), "{problems:?}");
    assert_eq!(client.get("a", "/").await.status(), 503);
    assert_eq!(backend.requests().len(), 0);
}

#[tokio::test]
async fn a_huge_answer_that_lets_pass_is_not_read_to_its_end() {
    let backend = Peer::named("in").await;
    let auth = Peer::serving(|mut wire| async move {
        wire.head().await.unwrap();
        wire.send("HTTP/1.1 200 OK\r\nRemote-User: ann\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        let chunk = format!("{:x}\r\n{}\r\n", 65_536, "x".repeat(65_536));
        while wire.try_send(&chunk).await.is_ok() {}
    })
    .await;
    let (_sluice, mut client) = serving(asking(&backend, auth.address, |_| ())).await;
    for _ in 0..3 {
        assert_eq!(client.get("a", "/").await.text(), "in");
    }
    assert_eq!(auth.connections(), 3, "each is closed with the rest unread");
    assert_eq!(backend.requests()[2].field("remote-user"), Some("ann"));
}

#[tokio::test]
async fn a_server_that_leads_back_is_not_asked_for_ever() {
    let backend = Peer::named("in").await;
    let (sluice, mut client) = serving(asking(&backend, nobody().await, |_| ())).await;
    let own = sluice.address(web()).await;
    assert_eq!(sluice.publish(&asking(&backend, own, |_| ()).into()), []);
    assert_eq!(client.get("a", "/").await.status(), 508);
    assert_eq!(backend.requests().len(), 0);
    let marked = client.ask("GET / HTTP/1.1\r\nHost: a\r\nX-Sluice-Asks: 1\r\n\r\n").await;
    assert_eq!(marked.status(), 508, "the mark opens no door");
}

#[tokio::test]
async fn a_client_that_goes_away_meanwhile_harms_nobody() {
    let backend = Peer::named("in").await;
    let auth = Peer::http(|request| match request.field("x-original-uri") {
        Some("/slow") => Reply::Hang,
        _ => ok(""),
    })
    .await;
    let (sluice, mut client) = serving(asking(&backend, auth.address, |_| ())).await;
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    super::support::eventually("it to be asked", || (auth.requests().len() == 1).then_some(())).await;
    client.reset();
    let mut other = super::Wire::to(sluice.address(web()).await).await;
    assert_eq!(other.get("a", "/").await.status(), 200);
    assert_eq!(backend.requests().len(), 1);
}
