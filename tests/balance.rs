//! Which backend a connection goes to, through a whole proxy: sticky clients, clients by hash, the first with room.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use sluice::model::intent::{Admin, Balance, Pool, SameSite, Sticky, StickyCookie};
use support::asked::web;
use support::{Asked, Message, Peer, Sluice, Wire, eventually};

/// Backends that say who they are and then wait for the client to end.
async fn named(names: &[&'static str]) -> Vec<Peer> {
    let mut peers = Vec::new();
    for &name in names {
        let peer = Peer::serving(move |mut wire| async move {
            wire.send(name).await;
            let _ = wire.rest().await;
        });
        peers.push(peer.await);
    }
    peers
}

fn asked(peers: &[Peer], edit: impl FnOnce(&mut Pool)) -> Asked {
    let addresses: Vec<SocketAddr> = peers.iter().map(|peer| peer.address).collect();
    Asked::stream(&addresses).change_pool("site", edit)
}

/// A connection, and the one letter that its backend is called.
async fn greeted(address: SocketAddr) -> (Wire, String) {
    let mut client = Wire::to(address).await;
    let name = client.exactly(1).await;
    (client, String::from_utf8(name).unwrap())
}

async fn idle(sluice: &Sluice) {
    let listener = sluice.listener(web());
    eventually("nothing to be open", || (listener.active() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_sticky_client_stays_on_every_thread_and_across_a_swap() {
    let peers = named(&["a", "b", "c", "d"]).await;
    let sticky = |pool: &mut Pool| pool.sticky = Some(Sticky::Source { timeout: Duration::from_secs(600) });
    let sluice = Sluice::start_with(2, asked(&peers, sticky)).await;
    let address = sluice.address(web()).await;
    let mut names = BTreeSet::new();
    for _ in 0..20 {
        names.insert(greeted(address).await.1);
    }
    let reversed: Vec<Peer> = peers.into_iter().rev().collect();
    assert_eq!(sluice.publish(&asked(&reversed, sticky).into()), []);
    for _ in 0..20 {
        names.insert(greeted(address).await.1);
    }
    assert_eq!(names.len(), 1, "{names:?}");
    idle(&sluice).await;
}

#[tokio::test]
async fn a_client_by_hash_has_one_backend_until_it_dies_and_then_one_other() {
    let mut peers = named(&["a", "b", "c", "d"]).await;
    let sluice = Sluice::start(asked(&peers, |pool| pool.balance = Balance::HashSource)).await;
    let address = sluice.address(web()).await;
    let home = greeted(address).await.1;
    for _ in 0..10 {
        assert_eq!(greeted(address).await.1, home);
    }
    let at = ["a", "b", "c", "d"].iter().position(|name| **name == home).unwrap();
    let gone = peers.remove(at).address;
    eventually("its port to be closed", || std::net::TcpStream::connect(gone).is_err().then_some(())).await;
    let second = greeted(address).await.1;
    assert_ne!(second, home, "the connect was refused, and the next place was tried");
    for _ in 0..10 {
        assert_eq!(greeted(address).await.1, second);
    }
    idle(&sluice).await;
}

#[tokio::test]
async fn the_first_with_room_takes_the_connection() {
    let peers = named(&["a", "b", "c"]).await;
    let first = |pool: &mut Pool| {
        pool.balance = Balance::First;
        pool.max_connections = 2;
    };
    let sluice = Sluice::start(asked(&peers, first)).await;
    let address = sluice.address(web()).await;
    let (mut held, mut names) = (Vec::new(), String::new());
    for _ in 0..5 {
        let (wire, name) = greeted(address).await;
        held.push(wire);
        names += &name;
    }
    assert_eq!(names, "aabbc");
    drop(held.swap_remove(0));
    let listener = sluice.listener(web());
    eventually("the first to be free", || (listener.active() == 4).then_some(())).await;
    assert_eq!(greeted(address).await.1, "a");
}

fn by_cookie(pool: &mut Pool) {
    let key = Some(sluice::model::secret::Secret::new(*b"of both instances"));
    let same_site = SameSite::default();
    pool.sticky = Some(Sticky::Cookie(StickyCookie { name: "SRV".into(), ttl: None, secure: None, same_site, key }));
}

/// HTTP backends that answer with their names.
async fn named_http(names: &[&str]) -> Vec<Peer> {
    let mut peers = Vec::new();
    for name in names {
        peers.push(Peer::named(name).await);
    }
    peers
}

fn asked_http(peers: &[Peer], edit: impl FnOnce(&mut Pool)) -> Asked {
    let addresses: Vec<SocketAddr> = peers.iter().map(|peer| peer.address).collect();
    Asked::site(&addresses).change_pool("site", edit)
}

async fn get_with(client: &mut Wire, path: &str, fields: &str) -> Message {
    client.ask(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await
}

/// The pair of a cookie that an answer sets.
fn set(answer: &Message) -> String {
    let field = answer.field("set-cookie").expect("a cookie is set");
    let (pair, attributes) = field.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
    pair.to_owned()
}

#[tokio::test]
async fn a_client_keeps_its_backend_by_cookie_at_every_instance_and_after_a_restart() {
    let peers = named_http(&["a", "b", "c"]).await;
    let one = Sluice::start(asked_http(&peers, by_cookie)).await;
    let other = Sluice::start(asked_http(&peers, by_cookie)).await;
    let mut client = Wire::to(one.address(web()).await).await;
    for _ in 0..3 {
        let first = client.get("a", "/").await;
        let (home, cookie) = (first.text().to_owned(), set(&first));
        assert_eq!(first.field("cache-control"), Some("private"), "no shared cache hands it on");
        let port = peers.iter().map(|peer| peer.address.port().to_string());
        assert!(port.into_iter().all(|port| !cookie.contains(&port)), "it shows nothing of the backend: {cookie}");
        for sluice in [&one, &other] {
            let mut client = Wire::to(sluice.address(web()).await).await;
            for _ in 0..4 {
                let fields = format!("Cookie: theme=dark; {cookie}; lang=en\r\n");
                let answer = get_with(&mut client, "/", &fields).await;
                assert_eq!(answer.text(), home);
                assert_eq!((answer.field("set-cookie"), answer.field("cache-control")), (None, None), "nothing new");
            }
        }
    }
    let all: Vec<Message> = peers.iter().flat_map(Peer::requests).collect();
    assert!(all.iter().all(|request| !request.head.contains("SRV")), "it is between the client and us");
    assert_eq!(all.iter().filter(|request| request.field("cookie") == Some("theme=dark; lang=en")).count(), 24);
}

#[tokio::test]
async fn a_cookie_that_nobody_made_leads_nowhere() {
    let peers = named_http(&["a", "b"]).await;
    let sluice = Sluice::start(asked_http(&peers, by_cookie)).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    let mut names = BTreeSet::new();
    let address = peers[0].address.to_string();
    for value in [address.as_str(), "", "000000000000000000000000", "a.b.c.d", "\u{e4}"] {
        for _ in 0..2 {
            let answer = get_with(&mut client, "/", &format!("Cookie: SRV={value}\r\n")).await;
            names.insert(answer.text().to_owned());
            set(&answer);
        }
    }
    assert_eq!(names.len(), 2, "each in turn");
}

#[tokio::test]
async fn who_is_drained_keeps_its_clients_and_who_is_dead_loses_them() {
    let mut peers = named_http(&["a", "b", "c"]).await;
    let sluice = Sluice::start(asked_http(&peers, by_cookie)).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    let first = client.get("a", "/").await;
    let (home, cookie) = (first.text().to_owned(), format!("Cookie: {}\r\n", set(&first)));
    let at = ["a", "b", "c"].iter().position(|name| **name == home).unwrap();
    let drained = asked_http(&peers, |pool| {
        by_cookie(pool);
        pool.backends[at].admin = Admin::Drain;
    });
    assert_eq!(sluice.publish(&drained.into()), []);
    for _ in 0..5 {
        assert_eq!(get_with(&mut client, "/", &cookie).await.text(), home);
        assert_ne!(client.get("a", "/").await.text(), home, "nobody new");
    }
    drop(peers.remove(at));
    let moved = get_with(&mut client, "/", &cookie).await;
    assert_ne!(moved.text(), home);
    let cookie = format!("Cookie: {}\r\n", set(&moved));
    for _ in 0..5 {
        assert_eq!(get_with(&mut client, "/", &cookie).await.text(), moved.text());
    }
}

#[tokio::test]
async fn a_hash_goes_by_what_it_was_asked_to_and_by_source_where_that_is_not_there() {
    let peers = named_http(&["a", "b", "c", "d"]).await;
    for (balance, fields) in [
        (Balance::HashUri, ""),
        (Balance::HashHeader("x-user".into()), "X-User: N\r\n"),
        (Balance::HashCookie("sid".into()), "Cookie: x=1; sid=N\r\n"),
    ] {
        let rule = balance.clone();
        let sluice = Sluice::start(asked_http(&peers, |pool| pool.balance = balance)).await;
        let mut client = Wire::to(sluice.address(web()).await).await;
        let mut names = BTreeSet::new();
        for n in 0..40 {
            let fields = fields.replace('N', &n.to_string());
            let path = |n: u32, query| if rule == Balance::HashUri { format!("/{n}{query}") } else { "/".to_owned() };
            let name = get_with(&mut client, &path(n, ""), &fields).await.text().to_owned();
            assert_eq!(get_with(&mut client, &path(n, "?page=2"), &fields).await.text(), name, "{rule} {n}");
            names.insert(name);
        }
        assert_eq!(names.len(), 4, "{rule}");
        if rule != Balance::HashUri {
            let (one, other) = (client.get("a", "/1").await, client.get("a", "/2").await);
            assert_eq!(one.text(), other.text(), "{rule}: by source");
        }
    }
}

#[tokio::test]
async fn what_is_no_request_goes_by_source_and_that_is_told() {
    let peers = named(&["a", "b", "c", "d"]).await;
    let sluice = Sluice::start(asked(&peers, |_| {})).await;
    let problems = sluice.publish(&asked(&peers, |pool| pool.balance = Balance::HashUri).into());
    assert!(problems[0].reason.contains("whose balance is hash uri, and tcp has no requests"), "{problems:?}");
    let address = sluice.address(web()).await;
    let home = greeted(address).await.1;
    for _ in 0..10 {
        assert_eq!(greeted(address).await.1, home);
    }
    let problems = sluice.publish(&asked(&peers, by_cookie).into());
    assert!(problems[0].reason.contains("which is sticky by cookie SRV, and tcp has no requests"), "{problems:?}");
    let mut names = BTreeSet::new();
    for _ in 0..8 {
        names.insert(greeted(address).await.1);
    }
    assert_eq!(names.len(), 4);
}
