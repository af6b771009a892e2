//! Connections that switch protocols.

use futures_util::{SinkExt, StreamExt};
use sluice::model::outcome::Outcome;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, client_async};

use crate::support::asked::web;
use crate::support::peer::answer;
use crate::support::{Asked, Peer, Sluice, Wire, eventually, soon};

async fn echo() -> Peer {
    Peer::serving(|wire| async move {
        let mut socket = accept_async(wire.stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() || message.is_binary() {
                socket.send(message).await.unwrap();
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_websocket_echoes_through_and_lives_through_swaps() {
    let (peer, other) = (echo().await, Peer::named("other").await);
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let address = sluice.address(web()).await;
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut socket, response) = soon("the switch", client_async("ws://a.test/chat", stream)).await.unwrap();
    assert_eq!(response.status(), 101);
    let old = std::sync::Arc::downgrade(&sluice.snapshots.current());
    for n in 0..10 {
        let text = Message::text(format!("message {n}"));
        socket.send(text.clone()).await.unwrap();
        assert_eq!(soon("the echo", socket.next()).await.unwrap().unwrap(), text);
        let backend = if n % 2 == 0 { other.address } else { peer.address };
        sluice.publish(&Asked::site(&[backend]).into());
    }
    eventually("the old snapshot to be freed", || old.upgrade().is_none().then_some(())).await;
    assert_eq!(sluice.answers("web", Some("site"), "101"), 1);
    let large = Message::binary(vec![7; 1_000_000]);
    socket.send(large.clone()).await.unwrap();
    assert_eq!(soon("the echo", socket.next()).await.unwrap().unwrap(), large);
    let (from_client, to_client) = sluice.listener(web()).bytes();
    assert!(from_client > 1_000_000 && to_client > 1_000_000);
    socket.close(None).await.unwrap();
    drop(socket);
    eventually("the end", || (sluice.listener(web()).ended(Outcome::Done) == 1).then_some(())).await;
    assert_eq!(sluice.listener(web()).active(), 0);
}

#[tokio::test]
async fn bytes_sent_ahead_of_the_switch_arrive() {
    let peer = Peer::serving(|mut wire| async move {
        let head = wire.head().await.unwrap();
        assert_eq!((head.field("connection"), head.field("upgrade")), (Some("upgrade"), Some("echo")));
        // The first bytes of the new protocol come with the head.
        wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nwelcome").await;
        let bytes = wire.exactly(5).await;
        wire.send(bytes).await;
        wire.end().await;
    })
    .await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello").await;
    let head = client.head().await.unwrap();
    assert_eq!((head.status(), head.field("upgrade"), head.field("connection")), (101, Some("echo"), Some("upgrade")));
    assert_eq!(client.exactly(12).await, b"welcomehello");
    client.finish().await;
    client.end().await;
    eventually("the end", || (sluice.listener(web()).ended(Outcome::Done) == 1).then_some(())).await;
}

#[tokio::test]
async fn a_backend_may_decline_the_switch() {
    let peer = Peer::http(|_| crate::support::Reply::Send(answer("426 Upgrade Required", "no"))).await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    assert_eq!(client.ask(request).await.status(), 426);
    assert_eq!(client.ask(request).await.status(), 426, "the connection goes on");
}

#[tokio::test]
async fn a_switch_that_nobody_asked_for_is_502() {
    let peer =
        Peer::http(|_| crate::support::Reply::Send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n".to_vec()))
            .await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    assert_eq!(client.get("a", "/").await.status(), 502);
}

/// What a tolerant backend could read as an offer of HTTP/2, or as two offers, is not passed on.
#[tokio::test]
async fn only_one_protocol_can_be_asked_for_and_never_http2() {
    let peer = Peer::named("plain").await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    for offer in ["h2c", "H2C", "h2c, websocket", "websocket, h2c", "websocket\r\nUpgrade: h2c", "websocket,"] {
        let answer =
            client.ask(format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: {offer}\r\n\r\n")).await;
        assert_eq!(answer.text(), "plain");
        let request = peer.requests().pop().unwrap();
        assert_eq!((request.field("upgrade"), request.field("connection")), (None, None), "{offer}");
    }
}

#[tokio::test]
async fn a_switch_to_another_protocol_than_asked_for_is_502() {
    let peer = Peer::serving(|mut wire| async move {
        while wire.head().await.is_some() {
            wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n").await;
        }
    })
    .await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    let asked = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(client.ask(asked).await.status(), 502);
}
