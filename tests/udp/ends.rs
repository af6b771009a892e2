//! Flows end: unused, in a drain, with their listener, or because others need their place.

use sluice::model::intent::SourceRules;
use sluice::model::live::listener::Socket;
use sluice::model::outcome::{Outcome, Refusal};

use super::*;

#[tokio::test]
async fn an_unused_flow_ends_and_its_client_may_begin_another() {
    let backend = Answering::named("a:").await;
    let asked = datagrams(dns(), &[backend.address])
        .change_listener(dns(), |listener| listener.flow_idle = Some(Duration::from_millis(200)));
    let sluice = Sluice::start(asked).await;
    let client = Client::of(sluice.address(dns()).await).await;
    let began = tokio::time::Instant::now();
    client.ask(b"?").await;
    let listener = sluice.listener(dns());
    eventually("the flow to end", || (listener.ended(Outcome::Idle) == 1).then_some(())).await;
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert_eq!((listener.active(), backend_of(&sluice, backend.address).active()), (0, 0));
    assert_eq!(client.ask(b"!").await, b"a:!");
    assert_eq!(listener.accepted(), 2);
    let heard = backend.heard();
    assert_eq!(heard.len(), 2);
}

#[tokio::test]
async fn a_shorter_time_holds_for_flows_that_are_there() {
    let backend = Answering::named("a:").await;
    let sluice = Sluice::start(datagrams(dns(), &[backend.address])).await;
    Client::of(sluice.address(dns()).await).await.ask(b"?").await;
    let shorter = datagrams(dns(), &[backend.address])
        .change_listener(dns(), |listener| listener.flow_idle = Some(Duration::from_millis(50)));
    sluice.publish(&shorter.into());
    flows(&sluice, dns(), 0).await;
}

#[tokio::test]
async fn a_drain_lets_flows_go_on_and_none_begin() {
    let backend = Answering::named("a:").await;
    let asked = datagrams(dns(), &[backend.address])
        .change_listener(dns(), |listener| listener.flow_idle = Some(Duration::from_millis(500)));
    let mut sluice = Sluice::start_with(2, asked).await;
    let address = sluice.address(dns()).await;
    let clients: Vec<Client> = futures_util::future::join_all((0..8).map(|_| Client::of(address))).await;
    for client in &clients {
        client.ask(b"?").await;
    }
    let drained = sluice.drain(PATIENCE);
    let late = Client::of(address).await;
    let listener = sluice.listener(dns());
    eventually("the newcomer to be refused", || {
        let _ = late.0.try_send(b"?");
        (listener.refused(Refusal::NotServed) > 0).then_some(())
    })
    .await;
    for _ in 0..3 {
        for client in &clients {
            assert_eq!(client.ask(b"!").await, b"a:!");
        }
    }
    assert!(soon("the drain", drained).await.unwrap(), "it ends when the last flow is unused for long enough");
    assert_eq!(listener.ended(Outcome::Stopped), 0);
    assert_eq!(listener.active(), 0);
}

#[tokio::test]
async fn what_a_drain_leaves_is_stopped() {
    let backend = Answering::named("a:").await;
    let mut sluice = Sluice::start(datagrams(dns(), &[backend.address])).await;
    Client::of(sluice.address(dns()).await).await.ask(b"?").await;
    let listener = sluice.listener(dns());
    assert!(!soon("the drain", sluice.drain(Duration::from_millis(50))).await.unwrap());
    sluice.force().await;
    assert_eq!((listener.ended(Outcome::Stopped), listener.active()), (1, 0));
}

#[tokio::test]
async fn a_listener_that_leaves_frees_its_port_and_may_come_back() {
    let backend = Answering::named("a:").await;
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let key = ListenerKey::udp(port);
    let sluice = Sluice::start_with(2, datagrams(key, &[backend.address])).await;
    let client = Client::of(port).await;
    client.ask(b"?").await;
    let listener = sluice.listener(key);
    sluice.publish(&Asked::default().into());
    eventually("the flow to end", || (listener.ended(Outcome::Stopped) == 1).then_some(())).await;
    let taken = eventually("the port to be free", || std::net::UdpSocket::bind(port).ok()).await;
    sluice.publish(&datagrams(key, &[backend.address]).into());
    let reason = eventually("the reason", || match listener.socket() {
        Socket::Failed(reason) => Some(reason),
        _ => None,
    })
    .await;
    assert!(reason.contains("is taken by"), "{reason}");
    drop(taken);
    eventually("the listener to open", || matches!(listener.socket(), Socket::Open(_)).then_some(())).await;
    client.ask_until(b"!", b"a:!").await;
}

#[tokio::test]
async fn who_may_not_begins_no_flow() {
    let backend = Answering::named("a:").await;
    let asked = datagrams(dns(), &[backend.address]).change_listener(dns(), |listener| {
        listener.sources = SourceRules { allow: vec![], deny: vec!["127.0.0.9/32".parse().unwrap()] };
    });
    let sluice = Sluice::start(asked).await;
    let address = sluice.address(dns()).await;
    let denied = Client::from("127.0.0.9:0".parse().unwrap(), address).await;
    denied.send(b"?").await;
    let listener = sluice.listener(dns());
    eventually("the refusal", || (listener.refused(Refusal::Source) == 1).then_some(())).await;
    assert_eq!(Client::of(address).await.ask(b"!").await, b"a:!");
    assert_eq!(listener.accepted(), 1);
    assert_eq!(backend.heard().len(), 1);
}

#[tokio::test]
async fn a_flood_of_sources_is_bounded_and_leaves_those_who_talk() {
    const MOST: u32 = 50;
    const FLOOD: u32 = 2000;
    let backend = Answering::named("").await;
    let asked =
        datagrams(dns(), &[backend.address]).change_listener(dns(), |listener| listener.limits.connections = MOST);
    let sluice = Sluice::start(asked).await;
    let address = sluice.address(dns()).await;
    let mut talking = Vec::new();
    for n in 0..10u8 {
        let client = Client::of(address).await;
        // Answered, and heard again after that.
        client.ask(&[n]).await;
        client.ask(&[n]).await;
        talking.push(client);
    }
    let before = backend_of(&sluice, backend.address).connects();
    let listener = sluice.listener(dns());
    for n in 0..FLOOD {
        // Sources that are used once, each another address and port.
        let own = SocketAddr::from(([127, 0, (1 + n / 250) as u8, (1 + n % 250) as u8], 0));
        let source = std::net::UdpSocket::bind(own).unwrap();
        source.send_to(b"flood", address).unwrap();
        if n % 100 == 0 {
            tokio::time::timeout(PATIENCE, async {
                while listener.accepted() + 100 < u64::from(n) {
                    tokio::task::yield_now().await;
                }
            })
            .await
            .unwrap();
        }
        assert!(listener.active() <= u64::from(MOST));
    }
    eventually("the flood to be through", || (listener.accepted() >= u64::from(FLOOD)).then_some(())).await;
    let ports: Vec<SocketAddr> = backend.heard().iter().take(20).step_by(2).map(|(from, _)| *from).collect();
    for (n, client) in (0..10u8).zip(&talking) {
        assert_eq!(client.ask(&[n, n]).await, [n, n]);
    }
    let again: Vec<SocketAddr> =
        backend.heard().iter().filter(|(_, bytes)| bytes.len() == 2).map(|(from, _)| *from).collect();
    assert_eq!(again, ports, "by the sockets they had before the flood");
    assert!(listener.ended(Outcome::Evicted) >= u64::from(FLOOD + 10 - MOST) - 10);
    assert!(listener.active() <= u64::from(MOST));
    assert!(backend_of(&sluice, backend.address).connects() >= before);
}
