//! Canaries and mirrors.

use std::time::Duration;

use sluice::model::intent::filter::{Canary, Mirror};
use sluice::model::intent::{Filters, PoolName};

use super::support::asked::{pool, web};
use super::support::peer::{nobody, ok};
use super::support::{Asked, Peer, Reply, Sluice, Wire, eventually};
use super::{filtered, serving};

fn with_canary(main: &Peer, next: &Peer, permille: u16) -> Asked {
    let canary = Canary {
        pool: PoolName::new("next"),
        header: Some(("x-canary".into(), None)),
        cookie: Some("canary".into()),
        permille,
    };
    let filters = Filters { canary: Some(canary), ..Filters::default() };
    filtered(&[main.address], filters).pool("next", pool(&[next.address]))
}

#[tokio::test]
async fn a_part_of_the_requests_goes_to_the_canary_and_those_that_say_so() {
    let (main, next) = (Peer::named("main").await, Peer::named("next").await);
    let (sluice, mut client) = serving(with_canary(&main, &next, 200)).await;
    for _ in 0..500 {
        client.get("a", "/").await;
    }
    let went = next.requests().len();
    assert!((50..=150).contains(&went), "{went} of 500 at 20 %");
    assert_eq!(sluice.answers("web", Some("next"), "200"), went as u64);
    assert_eq!(sluice.answers("web", Some("site"), "200"), 500 - went as u64);
    for _ in 0..20 {
        let says = |field: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
        assert_eq!(client.ask(says("X-Canary: always")).await.text(), "next");
        assert_eq!(client.ask(says("X-Canary: never")).await.text(), "main");
        assert_eq!(client.ask(says("Cookie: a=b; canary=always")).await.text(), "next");
        assert_eq!(client.ask(says("Cookie: canary=never")).await.text(), "main");
    }
}

#[tokio::test]
async fn a_canary_that_does_not_exist_takes_nothing_away() {
    let main = Peer::named("main").await;
    let (sluice, mut client) = serving(filtered(&[main.address], Filters::default())).await;
    let mut asked = with_canary(&main, &main, 1000);
    asked.0.pools.remove(&PoolName::new("next"));
    let problems = sluice.publish(&asked.into());
    assert!(problems[0].reason.contains("canary names pool next"), "{problems:?}");
    assert_eq!(client.get("a", "/").await.text(), "main");
}

fn with_mirror(main: &Peer, shadow: std::net::SocketAddr, max_body: u64) -> Asked {
    let mirror = Mirror { pool: PoolName::new("shadow"), permille: 1000, max_body };
    let filters = Filters { mirror: Some(mirror), ..Filters::default() };
    filtered(&[main.address], filters).pool("shadow", pool(&[shadow]))
}

fn mirrors(sluice: &Sluice) -> [u64; 3] {
    sluice.pool("shadow").mirrors()
}

#[tokio::test]
async fn the_mirror_hears_the_same_and_its_answer_is_dropped() {
    let main = Peer::named("main").await;
    let shadow = Peer::http(|_| ok("shadow")).await;
    let (sluice, mut client) = serving(with_mirror(&main, shadow.address, 1000)).await;
    assert_eq!(client.get("a", "/one").await.text(), "main");
    let post = "POST /two HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n";
    assert_eq!(client.ask(post).await.text(), "main");
    eventually("both to be heard", || (mirrors(&sluice) == [2, 0, 0]).then_some(())).await;
    let mut heard = shadow.requests();
    heard.sort_by(|a, b| a.head.cmp(&b.head));
    assert_eq!(heard[0].first_line(), "GET /one HTTP/1.1");
    assert_eq!((heard[1].first_line(), heard[1].text()), ("POST /two HTTP/1.1", "abcdefg"));
    assert_eq!((heard[1].field("content-length"), heard[1].field("transfer-encoding")), (Some("7"), None));
    assert_eq!(heard[1].field("x-a"), Some("1"));
    assert_eq!(sluice.answers("web", Some("shadow"), "200"), 0, "nobody got it as an answer");
}

#[tokio::test]
async fn long_and_broken_bodies_are_not_mirrored_and_counted() {
    let main = Peer::named("main").await;
    let shadow = Peer::named("shadow").await;
    let (sluice, mut client) = serving(with_mirror(&main, shadow.address, 10)).await;
    let body = "b".repeat(11);
    let known = client.ask(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n{body}")).await;
    assert_eq!(known.status(), 200);
    let chunked =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nbbbbbb\r\n6\r\nbbbbbb\r\n0\r\n\r\n";
    assert_eq!(client.ask(chunked).await.status(), 200);
    assert_eq!(main.requests()[1].text().len(), 12);
    let mut broken = Wire::to(sluice.address(web()).await).await;
    broken.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nbb").await;
    broken.reset();
    eventually("three to be dropped", || (mirrors(&sluice) == [0, 0, 3]).then_some(())).await;
    assert_eq!(shadow.requests().len(), 0);
}

#[tokio::test]
async fn a_mirror_that_hangs_or_is_away_is_not_felt() {
    let main = Peer::named("main").await;
    let hangs = Peer::http(|_| Reply::Hang).await;
    let (sluice, mut client) = serving(with_mirror(&main, hangs.address, 1000)).await;
    let began = tokio::time::Instant::now();
    for _ in 0..200 {
        assert_eq!(client.get("a", "/").await.text(), "main");
    }
    assert!(began.elapsed() < Duration::from_secs(4), "none waited for the mirror");
    eventually("the rest to be dropped", || (mirrors(&sluice)[2] >= 72).then_some(())).await;
    assert!(hangs.connections() <= 128, "{} under way", hangs.connections());
    // The client's connection is not kept busy by what it does not know of.
    assert_eq!(sluice.publish(&with_mirror(&main, nobody().await, 1000).into()), []);
    assert_eq!(client.get("a", "/").await.text(), "main");
}
