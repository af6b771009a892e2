//! Backends spoken to in something else than plain HTTP/1.1, through a whole proxy: HTTP/2 and TLS.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]
#![allow(clippy::disallowed_methods, reason = "tests own their tasks")]
#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod support;

#[path = "upstream/backend.rs"]
mod backend;
#[path = "upstream/client.rs"]
mod client;
#[path = "upstream/sealed.rs"]
mod sealed;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use backend::{
    Backend, END_STREAM, Frame, HEADERS, INTERNAL_ERROR, Manner, REFUSED_STREAM, Tally, answer_200, go_away, head_200,
    reset, whole,
};
use bytes::Bytes;
use client::{ask, connect, get, post, site};
use h2::Reason;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Response, StatusCode};
use sluice::model::intent::filter::Mirror;
use sluice::model::intent::{Filters, PoolName, ProxyVersion, Speech};
use support::asked::{pool, web};
use support::peer::{answer, ok};
use support::{Asked, Peer, Reply, Sluice, Wire, eventually, soon};
use tokio::sync::{Barrier, Notify};
use tokio::task::JoinSet;

/// So many requests at once, none of which is answered before all are there; what each was answered.
async fn at_once(sluice: &Sluice, count: usize) -> Vec<(StatusCode, String)> {
    let sender = connect(sluice).await;
    let mut asking = JoinSet::new();
    for n in 0..count {
        let sender = sender.clone();
        asking.spawn(async move { ask(&sender, get(&format!("/{n}")), None).await.unwrap() });
    }
    asking.join_all().await
}

async fn together(count: usize, manner: Manner) -> (Backend, Tally) {
    let (all, tally) = (Arc::new(Barrier::new(count)), Tally::default());
    let kept = tally.clone();
    let backend = Backend::http2(manner, move |mut got| {
        let (all, tally) = (all.clone(), kept.clone());
        async move {
            tally.begin(got.connection);
            all.wait().await;
            tally.end(got.connection);
            let mut body = got.answer.send_response(Response::new(()), false).unwrap();
            body.send_data(got.request.uri().path().to_owned().into(), true).unwrap();
        }
    })
    .await;
    (backend, tally)
}

#[tokio::test]
async fn a_hundred_requests_share_one_connection() {
    let (backend, tally) = together(100, Manner::default()).await;
    let sluice = Sluice::start(site(&[backend.address], Speech::H2C)).await;
    let answers = at_once(&sluice, 100).await;
    assert!(answers.iter().all(|(status, _)| *status == StatusCode::OK));
    let paths: std::collections::BTreeSet<_> = answers.iter().map(|(_, path)| path).collect();
    assert_eq!((paths.len(), backend.opened(), tally.most()), (100, 1, 100));
}

#[tokio::test]
async fn a_backend_gets_no_more_at_once_than_it_takes() {
    let (backend, tally) = together(60, Manner { streams: Some(10), ..Manner::default() }).await;
    let sluice = Sluice::start(site(&[backend.address], Speech::H2C)).await;
    assert!(at_once(&sluice, 60).await.iter().all(|(status, _)| *status == StatusCode::OK));
    assert_eq!((backend.opened(), tally.most()), (6, 10));
}

#[tokio::test]
async fn requests_at_a_limit_wait_in_the_queue_and_not_on_a_connection() {
    let tally = Tally::default();
    let kept = tally.clone();
    let backend = Backend::http2(Manner::default(), move |mut got| {
        let tally = kept.clone();
        async move {
            tally.begin(got.connection);
            tokio::task::yield_now().await;
            tally.end(got.connection);
            got.answer.send_response(Response::new(()), true).unwrap();
        }
    })
    .await;
    let limited = site(&[backend.address], Speech::H2C).change_pool("site", |pool| pool.max_connections = 3);
    let sluice = Sluice::start(limited).await;
    assert!(at_once(&sluice, 50).await.iter().all(|(status, _)| *status == StatusCode::OK));
    assert!(tally.most() <= 3, "{} at once", tally.most());
}

#[tokio::test]
async fn heads_bodies_and_trailers_pass_both_ways() {
    let backend = Backend::http2(Manner::default(), |mut got| async move {
        let head = got.request.headers().clone();
        assert_eq!(got.request.uri(), "http://a.test/shop.v1.Cart/Add?x");
        for (name, value) in [("te", "trailers"), ("x-forwarded-proto", "http"), ("x-forwarded-host", "a.test")] {
            assert_eq!(head[name], value);
        }
        assert!(!head.contains_key("host") && !head.contains_key("transfer-encoding"));
        let (body, trailers) = whole(got.request.body_mut()).await.unwrap();
        assert_eq!(trailers.unwrap()["x-sum"], "1");
        let mut sending = got.answer.send_response(Response::new(()), false).unwrap();
        sending.send_data(body.into(), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("7"));
        trailers.insert("grpc-message", HeaderValue::from_static("no"));
        sending.send_trailers(trailers).unwrap();
    })
    .await;
    let sluice = Sluice::start(site(&[backend.address], Speech::H2C)).await;
    let mut sender = connect(&sluice).await.ready().await.unwrap();
    let (answer, mut sending) = sender.send_request(post("/shop.v1.Cart/Add?x"), false).unwrap();
    sending.send_data(Bytes::from_static(b"hello"), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    sending.send_trailers(trailers).unwrap();
    let mut answer = soon("an answer", answer).await.unwrap();
    let (body, trailers) = soon("the rest", whole(answer.body_mut())).await.unwrap();
    let trailers = trailers.unwrap();
    assert_eq!(
        (body.as_slice(), &trailers["grpc-status"], &trailers["grpc-message"]),
        (&b"hello"[..], &HeaderValue::from_static("7"), &HeaderValue::from_static("no"))
    );
}

#[tokio::test]
async fn a_client_of_http1_reaches_a_backend_of_http2() {
    let backend = Backend::http2(Manner::default(), |mut got| async move {
        let method = got.request.method().clone();
        let authority = got.request.uri().authority().unwrap().to_string();
        let (body, _) = whole(got.request.body_mut()).await.unwrap();
        let text = format!("{method} {authority} {}", String::from_utf8(body).unwrap());
        let mut sending = got.answer.send_response(Response::new(()), method == "HEAD").unwrap();
        if method != "HEAD" {
            sending.send_data(text.into(), true).unwrap();
        }
    })
    .await;
    let sluice = Sluice::start(site(&[backend.address], Speech::H2C)).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    assert_eq!(client.get("a.test:8080", "/").await.text(), "GET a.test:8080 ");
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    assert_eq!(client.ask(chunked).await.text(), "POST a hi");
    let sized = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nho";
    assert_eq!(client.ask(sized).await.text(), "PUT a ho");
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.head().await.unwrap().status(), 200);
    assert_eq!(backend.opened(), 1);
}

#[tokio::test]
async fn an_upgrade_is_refused_in_words() {
    let backend = Backend::named(Manner::default()).await;
    let sluice = Sluice::start(site(&[backend.address], Speech::H2C)).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.text(), "502 the backend speaks HTTP/2, which cannot switch protocols\n");
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_stream_alone() {
    let (begun, reason) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (tell, seen) = (begun.clone(), reason.clone());
    let backend = Backend::http2(Manner::default(), move |mut got| {
        let (tell, seen) = (tell.clone(), seen.clone());
        async move {
            if got.request.uri().path() == "/hang" {
                tell.notify_one();
                let reset = std::future::poll_fn(|cx| got.answer.poll_reset(cx)).await.unwrap();
                return seen.store(u32::from(reset) as usize, SeqCst);
            }
            got.answer.send_response(Response::new(()), true).unwrap();
        }
    })
    .await;
    let sluice = Sluice::start(site(&[backend.address], Speech::H2C)).await;
    let sender = connect(&sluice).await;
    let (answer, mut stream) = sender.clone().ready().await.unwrap().send_request(get("/hang"), true).unwrap();
    begun.notified().await;
    stream.send_reset(Reason::CANCEL);
    drop(answer);
    let cancel = u32::from(Reason::CANCEL) as usize;
    eventually("the reset at the backend", || (reason.load(SeqCst) == cancel).then_some(())).await;
    assert_eq!(ask(&sender, get("/"), None).await.unwrap().0, StatusCode::OK);
    assert_eq!(backend.opened(), 1, "the connection goes on");
    let pool = sluice.snapshots.current().pools.values().next().unwrap().clone();
    eventually("the leases", || (pool.backends[0].state.active() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_reset_before_the_head_is_tried_elsewhere_where_that_is_safe() {
    let broken =
        Backend::frames(|_, frame| if frame.ends() { reset(frame.stream, INTERNAL_ERROR) } else { vec![] }).await;
    let whole = Backend::named(Manner::default()).await;
    let asked = site(&[broken.address, whole.address], Speech::H2C).change_pool("site", |pool| pool.ejection = None);
    let sluice = Sluice::start(asked).await;
    let sender = connect(&sluice).await;
    for _ in 0..4 {
        assert_eq!(ask(&sender, get("/"), None).await.unwrap().0, StatusCode::OK);
    }
    let mut statuses = Vec::new();
    for _ in 0..2 {
        statuses.push(ask(&sender, post("/"), Some(b"x")).await.unwrap().0.as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 502], "one of two in turn went to the broken backend, and there it stayed");
}

#[tokio::test]
async fn a_reset_after_the_head_is_one_to_the_client_too() {
    let backend = Backend::frames(|_, frame| match frame {
        frame if !frame.ends() => vec![],
        frame => {
            [head_200(frame.stream, 0), backend::frame(0, 0, frame.stream, b"half"), reset(frame.stream, 0xb)].concat()
        }
    })
    .await;
    let sluice = Sluice::start(site(&[backend.address], Speech::H2C)).await;
    let sender = connect(&sluice).await;
    let error = ask(&sender, get("/"), None).await.unwrap_err();
    assert_eq!((error.is_reset(), error.reason()), (true, Some(Reason::ENHANCE_YOUR_CALM)));
}

#[tokio::test]
async fn a_reset_after_the_head_is_a_body_without_its_end_in_http1() {
    // The head at once, the reset when the request has ended.
    let backend = Backend::frames(|_, frame| match frame {
        frame if frame.ends() => reset(frame.stream, INTERNAL_ERROR),
        frame if frame.kind == HEADERS => {
            [head_200(frame.stream, 0), backend::frame(0, 0, frame.stream, b"half")].concat()
        }
        _ => vec![],
    })
    .await;
    let sluice = Sluice::start(site(&[backend.address], Speech::H2C)).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n").await;
    assert_eq!(client.head().await.unwrap().status(), 200);
    assert_eq!(client.chunk().await.unwrap(), b"half");
    client.send("hi").await;
    assert!(client.chunk().await.is_none(), "and no last chunk");
}

/// Refuses the first stream of each connection that ends, and echoes what comes later.
fn refusing(backend_takes: usize) -> impl Fn(usize, &Frame) -> Vec<u8> {
    let refused = AtomicUsize::new(0);
    move |_, frame| match frame {
        frame if !frame.ends() => vec![],
        frame if refused.fetch_add(1, SeqCst) < backend_takes => reset(frame.stream, REFUSED_STREAM),
        frame => answer_200(frame.stream, &String::from_utf8_lossy(&frame.payload)),
    }
}

#[tokio::test]
async fn what_a_backend_refused_is_sent_again_with_its_body() {
    let backend = Backend::frames(refusing(1)).await;
    let sluice = Sluice::start(site(&[backend.address], Speech::H2C)).await;
    let sender = connect(&sluice).await;
    assert_eq!(ask(&sender, post("/"), Some(b"precious")).await.unwrap(), (StatusCode::OK, "precious".into()));
}

#[tokio::test]
async fn what_one_backend_refuses_another_takes_and_nobody_is_blamed() {
    let (full, free) = (Backend::frames(refusing(usize::MAX)).await, Backend::frames(refusing(0)).await);
    let sluice = Sluice::start(site(&[full.address, free.address], Speech::H2C)).await;
    let sender = connect(&sluice).await;
    for _ in 0..10 {
        assert_eq!(ask(&sender, post("/"), Some(b"x")).await.unwrap(), (StatusCode::OK, "x".into()));
    }
    let pool = sluice.snapshots.current().pools.values().next().unwrap().clone();
    assert!(pool.backends.iter().all(|backend| backend.is_available()));
    let alone = Sluice::start(site(&[full.address], Speech::H2C)).await;
    let answer = ask(&connect(&alone).await, post("/"), Some(b"x")).await.unwrap();
    assert_eq!(answer, (StatusCode::SERVICE_UNAVAILABLE, "503 the backend takes no more requests now\n".into()));
}

#[tokio::test]
async fn a_copy_for_a_mirror_is_sent_whole_or_not_again() {
    let (main, shadow) = (Peer::named("main").await, Backend::frames(refusing(1)).await);
    let mirror = Mirror { pool: PoolName::new("shadow"), permille: 1000, max_body: 1000 };
    let filters = Filters { mirror: Some(mirror), ..Filters::default() };
    let mut shadows = pool(&[shadow.address]);
    shadows.speech = Speech::H2C;
    let asked = Asked::site(&[main.address]).pool("shadow", shadows);
    let asked = asked.change_listener(web(), |listener| listener.routes[0].filters = Some(Arc::new(filters)));
    let sluice = Sluice::start(asked).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    let answer = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nprecious").await;
    assert_eq!(answer.text(), "main");
    let mirrors = || sluice.pool("shadow").mirrors();
    eventually("it to be refused", || (mirrors() != [0, 0, 0]).then_some(())).await;
    assert_eq!(mirrors(), [0, 1, 0], "an empty copy would have been answered");
}

#[tokio::test]
async fn who_waits_to_switch_protocols_is_told_when_the_pool_speaks_http2_by_then() {
    let go = Arc::new(Notify::new());
    let held = go.clone();
    let peer = Peer::serving(move |mut wire| {
        let held = held.clone();
        async move {
            wire.head().await.unwrap();
            held.notified().await;
            wire.send(answer("200 OK", "first")).await;
        }
    })
    .await;
    let asked = |speech| site(&[peer.address], speech).change_pool("site", |pool| pool.max_connections = 1);
    let sluice = Sluice::start(asked(Speech::default())).await;
    let address = sluice.address(web()).await;
    let (mut first, mut second) = (Wire::to(address).await, Wire::to(address).await);
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    eventually("the first to be served", || (peer.connections() == 1).then_some(())).await;
    second.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    eventually("the second to wait", || (sluice.pool("site").queue().length() == 1).then_some(())).await;
    assert_eq!(sluice.publish(&asked(Speech::H2C).into()), []);
    go.notify_one();
    assert_eq!(first.message().await.unwrap().text(), "first");
    let answer = second.message().await.unwrap();
    assert_eq!(answer.text(), "502 the backend speaks HTTP/2, which cannot switch protocols\n");
}

#[tokio::test]
async fn a_body_that_is_too_long_to_keep_is_not_sent_twice() {
    let backend = Backend::frames(|_, frame| match frame.kind {
        HEADERS | 0 if frame.flags & END_STREAM != 0 => reset(frame.stream, REFUSED_STREAM),
        // Room for more on the stream and on the connection.
        0 => [frame.stream, 0].map(|id| backend::frame(8, 0, id, &65_535_u32.to_be_bytes())).concat(),
        _ => vec![],
    })
    .await;
    let sluice = Sluice::start(site(&[backend.address], Speech::H2C)).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    let body = "x".repeat(200_000);
    let answer = client.ask(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n{body}")).await;
    assert_eq!((answer.status(), answer.text()), (503, "503 the backend takes no more requests now\n"));
}

#[tokio::test]
async fn a_backend_that_goes_away_finishes_what_it_began_and_the_rest_goes_elsewhere() {
    // The first connection takes one stream, sends the others away, and answers when they have come.
    let backend = Backend::frames(|connection, frame| match (connection, frame.stream) {
        _ if !frame.ends() => vec![],
        (1, 1) => head_200(1, 0),
        (1, 3) => [go_away(1), backend::frame(0, END_STREAM, 1, b"began")].concat(),
        (_, stream) => answer_200(stream, "anew"),
    })
    .await;
    let sluice = Sluice::start(site(&[backend.address], Speech::H2C)).await;
    let sender = connect(&sluice).await;
    let first = sender.clone().ready().await.unwrap().send_request(post("/"), true).unwrap().0;
    let mut first = soon("its head", first).await.unwrap();
    let second = ask(&sender, post("/"), Some(b"x")).await.unwrap();
    assert_eq!(second, (StatusCode::OK, "anew".into()));
    assert_eq!(soon("the rest", whole(first.body_mut())).await.unwrap().0, b"began");
    for _ in 0..3 {
        assert_eq!(ask(&sender, post("/"), Some(b"x")).await.unwrap().1, "anew");
    }
    assert_eq!(backend.opened(), 2);
}

#[tokio::test]
async fn a_connection_that_died_while_it_waited_is_replaced() {
    let backend = Backend::frames(|connection, frame| match frame {
        frame if !frame.ends() => vec![],
        frame if connection % 2 == 1 && frame.stream == 1 => [answer_200(1, "bye"), go_away(1)].concat(),
        frame => answer_200(frame.stream, "there"),
    })
    .await;
    let sluice = Sluice::start(site(&[backend.address], Speech::H2C)).await;
    let sender = connect(&sluice).await;
    for _ in 0..20 {
        assert_eq!(ask(&sender, post("/"), Some(b"x")).await.unwrap().0, StatusCode::OK);
    }
}

#[tokio::test]
async fn who_does_not_speak_http2_is_told_of_as_a_failure() {
    let peer = Peer::http(|_| Reply::Last(answer("400 Bad Request", ""))).await;
    let sluice = Sluice::start(site(&[peer.address], Speech::H2C)).await;
    let (status, _) = ask(&connect(&sluice).await, get("/"), None).await.unwrap();
    assert_eq!(status, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn a_pool_changes_its_protocol_while_requests_come() {
    let (old, new) = (Peer::http(|_| ok("old")).await, Backend::named(Manner::default()).await);
    let (plain, http2): (Asked, Asked) = (Asked::site(&[old.address]), site(&[new.address], Speech::H2C));
    let sluice = Sluice::start(plain.clone()).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    for round in 0..10 {
        let (asked, expected) = if round % 2 == 0 { (&http2, "1") } else { (&plain, "old") };
        assert_eq!(sluice.publish(&asked.0), []);
        assert_eq!(client.get("a", "/").await.text(), if expected == "old" { "old" } else { client_saw(&new) });
    }
}

/// The trunks of a plan end with it: each time it is asked for anew there is another.
fn client_saw(new: &Backend) -> &'static str {
    ["0", "1", "2", "3", "4", "5"][new.opened()]
}

#[tokio::test]
async fn a_connection_that_was_told_of_a_client_is_no_other_clients() {
    let backend = Backend::frames(|number, frame| match frame {
        frame if frame.ends() => answer_200(frame.stream, &number.to_string()),
        _ => vec![],
    })
    .await;
    let told = |pool: &mut sluice::model::intent::Pool| pool.send_proxy = Some(ProxyVersion::V1);
    let sluice = Sluice::start(site(&[backend.address], Speech::H2C).change_pool("site", told)).await;
    let (one, other) = (connect(&sluice).await, connect(&sluice).await);
    for _ in 0..3 {
        assert_eq!(ask(&one, get("/"), None).await.unwrap().1, "1");
        assert_eq!(ask(&other, get("/"), None).await.unwrap().1, "2");
    }
}
