//! Who may use a route, and how often.

use std::net::SocketAddr;
use std::time::Duration;

use sluice::model::intent::filter::{RateKey, RequestRate};
use sluice::model::intent::{Filters, Rate, SourceRules};
use tokio::net::TcpSocket;

use crate::support::asked::web;
use crate::support::{Peer, Sluice, Wire};
use crate::{filtered, started};

/// A client from another address of loopback.
async fn from(source: &str, to: SocketAddr) -> Wire {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(source.parse().unwrap(), 0)).unwrap();
    Wire::new(socket.connect(to).await.unwrap())
}

#[tokio::test]
async fn only_sources_that_may_use_the_route_reach_its_backend() {
    let peer = Peer::named("app").await;
    let sources =
        SourceRules { allow: vec!["127.0.0.0/30".parse().unwrap()], deny: vec!["127.0.0.2/32".parse().unwrap()] };
    let (sluice, mut client) = started(&peer, Filters { sources, ..Filters::default() }).await;
    let address = sluice.address(web()).await;
    assert_eq!(client.get("a", "/").await.status(), 200);
    for source in ["127.0.0.2", "127.0.0.4"] {
        let mut client = from(source, address).await;
        assert_eq!(client.get("a", "/").await.status(), 403, "{source}");
        assert_eq!(client.get("a", "/").await.status(), 403, "the connection goes on");
    }
    assert_eq!(peer.requests().len(), 1);
}

fn rate(count: u32, burst: u32, key: RateKey) -> Filters {
    let rate = Rate { count, per: Duration::from_secs(3600) };
    Filters { rate: Some(RequestRate { rate, burst, key, except: Vec::new() }), ..Filters::default() }
}

#[tokio::test]
async fn a_source_has_one_limit_over_all_threads_and_connections_and_a_swap() {
    let peer = Peer::named("app").await;
    let sluice = Sluice::start_with(3, filtered(&peer, rate(10, 2, RateKey::Source))).await;
    let address = sluice.address(web()).await;
    let mut passed = 0;
    for _ in 0..6 {
        let mut client = Wire::to(address).await;
        for _ in 0..5 {
            let answer = client.get("a", "/").await;
            match answer.status() {
                200 => passed += 1,
                429 => {
                    let wait: u64 = answer.field("retry-after").unwrap().parse().unwrap();
                    assert!((1..=360).contains(&wait), "{wait}");
                }
                other => panic!("{other}"),
            }
        }
    }
    assert_eq!((passed, peer.requests().len()), (12, 12));
    assert_eq!(from("127.0.0.2", address).await.get("a", "/").await.status(), 200, "another source has its own");
    // Something else changes, and nobody is forgotten.
    let filters = Filters { max_body: Some(5), ..rate(10, 2, RateKey::Source) };
    sluice.publish(&filtered(&peer, filters).into());
    let mut client = Wire::to(address).await;
    assert_eq!(client.get("a", "/").await.status(), 429);
    // Nobody limits any more.
    sluice.publish(&filtered(&peer, Filters { max_body: Some(5), ..Filters::default() }).into());
    assert_eq!(client.get("a", "/").await.status(), 200);
}

#[tokio::test]
async fn askers_can_be_told_apart_by_a_field() {
    let peer = Peer::named("app").await;
    let (_sluice, mut client) = started(&peer, rate(1, 0, RateKey::Header("x-api-key".into()))).await;
    let mut ask = async |key: &str| {
        let field = if key.is_empty() { String::new() } else { format!("X-Api-Key: {key}\r\n") };
        client.ask(format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n")).await.status()
    };
    let mut codes = Vec::new();
    for key in ["one", "one", "two", "two", "", ""] {
        codes.push(ask(key).await);
    }
    assert_eq!(codes, [200, 429, 200, 429, 200, 429]);
}
