//! Which backend a connection goes to, through a whole proxy: sticky clients, clients by hash, the first with room.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use sluice::model::intent::{Balance, Pool, Sticky};
use support::asked::web;
use support::{Asked, Peer, Sluice, Wire, eventually};

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
    let sticky = |pool: &mut Pool| pool.sticky = Some(Sticky { timeout: Duration::from_secs(600) });
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
