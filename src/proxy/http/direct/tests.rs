//! Requests on a real socket.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;

use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A connection, and the backend's end of it.
async fn connected() -> (Rc<RefCell<Direct>>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (ours, theirs) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (Rc::new(RefCell::new(Direct::new(Line::Bare(ours.unwrap())))), theirs.unwrap().0)
}

fn plain(method: &str) -> Plain {
    let request = Request::builder().method(method).uri("/x?y").header("host", "a.test").header("x-many", "1");
    let request = request.header("x-many", "2").header("content-length", "5").body(()).unwrap();
    let value = HeaderValue::from_static("3");
    Plain::of(request, b"left from before".to_vec(), |_, bytes| write_field(bytes, "x-more", &value))
}

async fn asked(direct: &Rc<RefCell<Direct>>, plain: &Plain) -> Result<Response<Theirs>, Lost> {
    let head = poll_fn(|cx| direct.borrow_mut().poll_answer(cx, plain)).await?;
    Ok(head.map(|()| Theirs::on(direct)))
}

/// Reads a request to its end.
async fn heard(backend: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n\r\n") {
        assert!(backend.read_buf(&mut heard).await.unwrap() > 0);
    }
    String::from_utf8(heard).unwrap()
}

#[tokio::test]
async fn one_connection_carries_one_request_after_another() {
    let (direct, mut backend) = connected().await;
    for _ in 0..3 {
        let plain = plain("GET");
        let serving = async {
            let heard = heard(&mut backend).await;
            assert_eq!(heard, "GET /x?y HTTP/1.1\r\nhost: a.test\r\nx-many: 1\r\nx-many: 2\r\nx-more: 3\r\n\r\n");
            backend.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc").await.unwrap();
        };
        let (answer, ()) = tokio::join!(asked(&direct, &plain), serving);
        let answer = answer.unwrap();
        assert!(!direct.borrow().is_idle() && !answer.body().is_end_stream());
        assert_eq!(answer.body().size_hint().exact(), Some(3));
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "abc");
        assert!(direct.borrow_mut().is_open());
        assert_eq!(Rc::strong_count(&direct), 1);
    }
}

#[tokio::test]
async fn a_body_that_ended_reads_nothing_of_the_next() {
    let (direct, mut backend) = connected().await;
    let two = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na";
    let mut bodies = Vec::new();
    for _ in 0..2 {
        backend.write_all(two).await.unwrap();
        let mut body = asked(&direct, &plain("GET")).await.unwrap().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
        bodies.push(body);
    }
    backend.write_all(two).await.unwrap();
    let mut third = asked(&direct, &plain("GET")).await.unwrap().into_body();
    for body in &mut bodies {
        assert!(body.is_end_stream() && body.frame().await.is_none());
    }
    assert_eq!(third.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
}

#[tokio::test]
async fn what_was_closed_or_spoke_unasked_carries_nothing_more() {
    let (direct, backend) = connected().await;
    assert!(direct.borrow_mut().is_open());
    drop(backend);
    poll_fn(|cx| direct.borrow().socket().poll_read_ready(cx)).await.unwrap();
    assert!(!direct.borrow_mut().is_open());

    let (direct, mut backend) = connected().await;
    backend.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    poll_fn(|cx| direct.borrow().socket().poll_read_ready(cx)).await.unwrap();
    assert!(!direct.borrow_mut().is_open());

    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\naHTTP/1.1 200 OK\r\n"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\na",
        b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\na",
    ] {
        let (direct, mut backend) = connected().await;
        backend.write_all(answer).await.unwrap();
        let body = asked(&direct, &plain("GET")).await.unwrap().into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "a");
        assert!(!direct.borrow().is_idle());
    }
}

#[tokio::test]
async fn answers_that_break_off_are_seen_to() {
    for (answer, has_head) in [
        (&b""[..], false),
        (b"HTTP/1.1 200 OK\r\ncontent-le", false),
        (b"nonsense\r\n\r\n", false),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", false),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", true),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nabc", true),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", true),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", true),
    ] {
        let (direct, mut backend) = connected().await;
        backend.write_all(answer).await.unwrap();
        backend.shutdown().await.unwrap();
        match asked(&direct, &plain("GET")).await {
            Err(lost) => assert!(!has_head && lost == Lost::Broke, "{answer:?}"),
            Ok(answered) => assert!(has_head && answered.into_body().collect().await.is_err(), "{answer:?}"),
        }
        assert!(!direct.borrow().is_idle());
    }
}

#[tokio::test]
async fn a_body_without_an_end_lasts_until_the_connection_closes() {
    let (direct, mut backend) = connected().await;
    backend.write_all(b"HTTP/1.1 200 OK\r\n\r\nabc").await.unwrap();
    backend.shutdown().await.unwrap();
    let body = asked(&direct, &plain("GET")).await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "abc");
    assert!(!direct.borrow().is_idle());
}

#[tokio::test]
async fn an_answer_to_head_has_no_body() {
    let (direct, mut backend) = connected().await;
    backend.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n").await.unwrap();
    let answer = asked(&direct, &plain("HEAD")).await.unwrap();
    assert!(answer.body().is_end_stream());
    assert_eq!(answer.headers()["content-length"], "3");
    assert!(direct.borrow_mut().is_open());
}

/// Uses up what a task may do in one turn.
fn spend(cx: &mut Context<'_>) {
    while let Poll::Ready(spent) = tokio::task::coop::poll_proceed(cx) {
        spent.made_progress();
    }
}

#[tokio::test]
async fn a_closed_connection_is_seen_by_a_task_that_used_up_its_budget() {
    let (direct, backend) = connected().await;
    drop(backend);
    poll_fn(|cx| direct.borrow().socket().poll_read_ready(cx)).await.unwrap();
    let is_open = poll_fn(|cx| {
        spend(cx);
        Poll::Ready(direct.borrow_mut().is_open())
    });
    assert!(!is_open.await);
}

#[tokio::test]
async fn interim_answers_do_not_go_on_for_ever() {
    let (direct, mut backend) = connected().await;
    let plain = plain("GET");
    let flood = async { while backend.write_all(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n").await.is_ok() {} };
    let lost = tokio::select! {
        answer = asked(&direct, &plain) => answer.err(),
        () = flood => None,
    };
    assert_eq!(lost, Some(Lost::Broke));
    assert!(direct.borrow().has_spoken());
}
