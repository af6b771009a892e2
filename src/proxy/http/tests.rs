//! A client's patience and ours, on a clock that stands still until told.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use super::*;
use crate::drain;
use crate::model::intent::ListenerKey;
use crate::model::live::listener::Admitted;
use crate::model::live::{ListenerState, Live};
use crate::model::snapshot::Snapshots;
use crate::proxy::Scarce;

impl Transport for DuplexStream {
    fn abort_on_close(&self) {}

    fn presence(&self) -> Presence {
        Presence::There
    }

    fn local(&self) -> Option<SocketAddr> {
        None
    }
}

/// Serves one connection of a listener that has no configuration, so each request is answered at once.
async fn with_client<F: Future<Output = ()>>(client: impl FnOnce(DuplexStream) -> F) -> Arc<ListenerState> {
    let key = ListenerKey::tcp("127.0.0.1:80".parse().unwrap());
    let state = Live::new(1).listener(&key);
    let (_trigger, drain) = drain::channel();
    let worker = Rc::new(Worker::new(Snapshots::default().reader(), drain, Instant::now(), 1, Scarce::default()));
    let peer = "127.0.0.1:1234".parse().unwrap();
    let admitted = Admitted::new(state.clone());
    let connection =
        Connection { key, peer, port: 80, to: None, admitted, speed: None, _busy: Rc::default(), _held: None };
    let (ours, theirs) = duplex(64 * 1024);
    LocalSet::new()
        .run_until(async {
            tokio::join!(serve(worker, connection, theirs, None), client(ours));
        })
        .await;
    state
}

async fn read_all(stream: &mut DuplexStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test(start_paused = true)]
async fn a_head_that_comes_too_slowly_is_408() {
    let begun = Instant::now();
    let state = with_client(|mut client| async move {
        client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        for _ in 0..9 {
            sleep(Duration::from_secs(1)).await;
            client.write_all(b"X-A: b\r\n").await.unwrap();
        }
        let answer = read_all(&mut client).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 408 ") && head.contains(&format!("content-length: {}", body.len())),
            "{answer}"
        );
    })
    .await;
    assert_eq!((begun.elapsed().as_secs(), state.ended(Outcome::SlowHead)), (10, 1));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_closed_without_a_word() {
    let begun = Instant::now();
    let state = with_client(|mut client| async move { assert_eq!(read_all(&mut client).await, "") }).await;
    assert_eq!((begun.elapsed().as_secs(), state.ended(Outcome::Idle)), (10, 1));
}

#[tokio::test(start_paused = true)]
async fn between_requests_there_is_more_time() {
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let begun = Instant::now();
    let state = with_client(|mut client| async move {
        client.write_all(REQUEST).await.unwrap();
        sleep(Duration::from_secs(55)).await;
        client.write_all(REQUEST).await.unwrap();
        let answers = read_all(&mut client).await;
        assert_eq!(answers.matches("503 this listener is closing").count(), 2, "{answers}");
    })
    .await;
    assert_eq!((begun.elapsed().as_secs(), state.ended(Outcome::Idle)), (115, 1));
}

#[tokio::test(start_paused = true)]
async fn a_second_head_must_come_as_quickly_as_the_first() {
    let begun = Instant::now();
    let state = with_client(|mut client| async move {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        sleep(Duration::from_secs(20)).await;
        client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        assert!(read_all(&mut client).await.contains("408 the request came too slowly"));
    })
    .await;
    assert_eq!((begun.elapsed().as_secs(), state.ended(Outcome::SlowHead)), (30, 1));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_answers_is_given_up() {
    let state = with_client(|mut client| async move {
        // More than fits between us: their answers are never read.
        let requests = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(4096);
        assert!(client.write_all(&requests).await.is_err());
    })
    .await;
    assert_eq!((state.ended(Outcome::Stalled), state.active()), (1, 0));
}
