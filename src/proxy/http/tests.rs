//! A client's patience and ours, on a clock that stands still until told.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::server::TlsStream;

use super::*;
use crate::drain;
use crate::model::intent::ListenerKey;
use crate::model::live::listener::Admitted;
use crate::model::live::{ListenerState, Live};
use crate::model::snapshot::Snapshots;
use crate::net::late::Late;
use crate::net::socket::Presence;
use crate::proxy::Scarce;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const PAUSE: Duration = Duration::from_secs(5);

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
    let (ours, theirs) = duplex(64 * 1024);
    served(theirs, |_| client(ours)).await
}

/// What stops the process, to be taken by whoever wants that.
type Stop = Rc<Cell<Option<drain::Trigger>>>;

/// The same over a real socket, which alone can tell that there is something to read.
async fn with_tcp_client<F: Future<Output = ()>>(client: impl FnOnce(TcpStream, Stop) -> F) -> Arc<ListenerState> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    ours.set_nodelay(true).unwrap();
    let (theirs, _) = listener.accept().await.unwrap();
    served(Late::from(theirs.into_std().unwrap()), |stop| client(ours, stop)).await
}

/// A connection of a listener that has no configuration.
fn admitted() -> (Rc<Worker>, Connection, Arc<ListenerState>, Stop) {
    let key = ListenerKey::tcp("127.0.0.1:80".parse().unwrap());
    let state = Live::new(1).listener(&key);
    let (trigger, drain) = drain::channel();
    let stop = Stop::new(Cell::new(Some(trigger)));
    let worker = Rc::new(Worker::new(Snapshots::default().reader(), drain, Instant::now(), 1, Scarce::default()));
    let peer = "127.0.0.1:1234".parse().unwrap();
    let admitted = Admitted::new(state.clone());
    let connection =
        Connection { key, peer, port: 80, to: None, admitted, speed: None, _busy: Rc::default(), _held: None };
    (worker, connection, state, stop)
}

async fn served<S: Transport, F: Future<Output = ()>>(stream: S, client: impl FnOnce(Stop) -> F) -> Arc<ListenerState> {
    let (worker, connection, state, stop) = admitted();
    LocalSet::new()
        .run_until(async {
            tokio::join!(serve(worker, connection, stream, None), client(stop.clone()));
        })
        .await;
    state
}

async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> String {
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

/// How many answers came.
fn answers(text: &str) -> usize {
    text.matches("503 this listener is closing").count()
}

#[tokio::test(start_paused = true)]
async fn whoever_rested_is_served_as_before() {
    let begun = Instant::now();
    let state = with_tcp_client(|mut client, _| async move {
        // Before its first word, between two requests, …
        for _ in 0..3 {
            sleep(PAUSE).await;
            client.write_all(REQUEST).await.unwrap();
        }
        sleep(PAUSE).await;
        // … in the middle of a head, …
        let (head, rest) = REQUEST.split_at(20);
        client.write_all(head).await.unwrap();
        sleep(PAUSE).await;
        client.write_all(rest).await.unwrap();
        sleep(PAUSE).await;
        // … and where one comes with half of the next.
        client.write_all(&[REQUEST, head].concat()).await.unwrap();
        sleep(PAUSE).await;
        client.write_all(rest).await.unwrap();
        assert_eq!(answers(&read_all(&mut client).await), 6);
    })
    .await;
    assert_eq!((begun.elapsed().as_secs(), state.ended(Outcome::Idle)), (7 * 5 + 60, 1));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_comes_slowly_to_one_who_rested_is_408() {
    let begun = Instant::now();
    let state = with_tcp_client(|mut client, _| async move {
        client.write_all(REQUEST).await.unwrap();
        sleep(PAUSE).await;
        client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        assert!(read_all(&mut client).await.contains("408 the request came too slowly"));
    })
    .await;
    assert_eq!((begun.elapsed().as_secs(), state.ended(Outcome::SlowHead)), (15, 1));
}

#[tokio::test(start_paused = true)]
async fn whoever_rests_is_let_go_by_a_drain_and_by_its_own_end() {
    let begun = Instant::now();
    let state = with_tcp_client(|mut client, stop| async move {
        client.write_all(REQUEST).await.unwrap();
        sleep(PAUSE).await;
        stop.take().unwrap().finish(Duration::ZERO).await;
        assert_eq!(answers(&read_all(&mut client).await), 1);
    })
    .await;
    assert_eq!((begun.elapsed().as_secs(), state.ended(Outcome::Done)), (5, 1));
    let state = with_tcp_client(|mut client, _| async move {
        client.write_all(REQUEST).await.unwrap();
        sleep(PAUSE).await;
        client.shutdown().await.unwrap();
        assert_eq!(answers(&read_all(&mut client).await), 1);
    })
    .await;
    assert_eq!((begun.elapsed().as_secs(), state.ended(Outcome::Done)), (10, 1));
}

#[tokio::test]
async fn who_has_said_all_gets_an_answer_and_an_end() {
    for last in ["Connection: close\r\n\r\n", "connection: Close\r\nAccept: */*\r\n\r\n"] {
        let state = with_tcp_client(|mut client, _| async move {
            client.write_all(&[b"GET / HTTP/1.1\r\nHost: a\r\n", last.as_bytes()].concat()).await.unwrap();
            assert_eq!(answers(&read_all(&mut client).await), 1);
        })
        .await;
        assert_eq!(state.ended(Outcome::Done), 1);
    }
    let state = with_tcp_client(|mut client, _| async move {
        client.write_all(REQUEST).await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(answers(&read_all(&mut client).await), 1);
    })
    .await;
    assert_eq!(state.ended(Outcome::Done), 1);
}

#[test]
fn a_waiting_connection_is_small() {
    fn size<S: Transport, F: Future>(_: fn(Rc<Worker>, Connection, S, Option<Tls>) -> F) -> usize {
        size_of::<F>()
    }
    let (clear, sealed) = (size(serve::<Late>), size(serve::<Box<TlsStream<TcpStream>>>));
    assert!(clear <= 1664 && sealed <= 1664, "{clear} {sealed}");
    assert!(size_of::<Session>() <= 776, "{}", size_of::<Session>());
}

/// As a task that moved 128 pieces of a body in one turn: tokio then tells it that nothing is ready, time included.
#[tokio::test(start_paused = true)]
async fn time_is_kept_for_who_used_up_the_budget_of_his_turn() {
    let (worker, connection, _state, _stop) = admitted();
    let session = Session::new(worker, &connection, connection.ends(|| None), None);
    let mut patience = Patience::new(&session, Arc::default(), true);
    poll_fn(|cx| {
        while let Poll::Ready(spent) = tokio::task::coop::poll_proceed(cx) {
            spent.made_progress();
        }
        assert!(patience.poll(cx, &session, false).is_pending());
        Poll::Ready(())
    })
    .await;
    let ended = poll_fn(|cx| patience.poll(cx, &session, false));
    timeout(Duration::from_secs(3600), ended).await.expect("who says nothing is not waited for for ever");
}
