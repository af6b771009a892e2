//! Real sockets on loopback, and the traps that a pipe sets.

use std::future::poll_fn;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::*;
use crate::net::socket;

/// Two ends of a connection.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(10), future).await.expect("in time")
}

/// Fills a pipe as a direction does: where a splice finds nothing, the socket is asked. 0: the end.
async fn fill(source: &TcpStream, pipe: &mut Pipe) -> io::Result<usize> {
    loop {
        let spliced = poll_fn(|cx| poll_in(cx, source, pipe, usize::MAX)).await?;
        let ask = || Ok(rustix::net::recv(source, &mut [0; 1], rustix::net::RecvFlags::PEEK)?.0);
        if spliced > 0 {
            return Ok(spliced);
        }
        match source.try_io(Interest::READABLE, ask) {
            Ok(0) => return Ok(0),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[tokio::test]
async fn a_pipe_of_one_slot_moves_all() {
    let ((mut client, source), (sink, mut backend)) = (pair().await, pair().await);
    let body = pattern(3_000_000);
    let send = async {
        client.write_all(&body).await.unwrap();
        client.shutdown().await.unwrap();
    };
    let relayed = async {
        let mut moved = 0;
        loop {
            let mut pipe = Pipe::of_size(4096);
            let read = fill(&source, &mut pipe).await.unwrap();
            if read == 0 {
                break;
            }
            assert_eq!(pipe.held(), read);
            while pipe.held() > 0 {
                moved += poll_fn(|cx| poll_out(cx, &mut pipe, &sink)).await.unwrap();
            }
        }
        drop(sink);
        moved
    };
    let take = async {
        let mut got = Vec::new();
        let mut chunk = vec![0; 10_000];
        loop {
            match backend.read(&mut chunk).await.unwrap() {
                0 => break got,
                n => got.extend_from_slice(&chunk[..n]),
            }
            tokio::task::yield_now().await;
        }
    };
    let ((), moved, got) = soon(async { tokio::join!(send, relayed, take) }).await;
    assert!(got == body, "bytes differ");
    assert_eq!(moved, body.len());
}

#[tokio::test]
async fn an_empty_source_is_waited_for_and_its_next_byte_wakes() {
    let (mut client, source) = pair().await;
    let mut pipe = Pipe::borrow().unwrap();
    for n in 0..5 {
        assert!(timeout(Duration::from_millis(1), fill(&source, &mut pipe)).await.is_err(), "nothing is there");
        let bytes = [n];
        let wait = fill(&source, &mut pipe);
        let (read, sent) = soon(async { tokio::join!(wait, client.write_all(&bytes)) }).await;
        sent.unwrap();
        assert_eq!(read.unwrap(), 1);
        let mut byte = [0];
        rustix::io::read(pipe.ends().unwrap().0, &mut byte).unwrap();
        pipe.drained(1);
        assert_eq!(byte, [n]);
    }
    drop(client);
    assert_eq!(soon(fill(&source, &mut pipe)).await.unwrap(), 0);
}

#[tokio::test]
async fn a_full_sink_is_waited_for_and_its_room_wakes() {
    let ((mut client, source), (sink, mut backend)) = (pair().await, pair().await);
    let sending = async {
        let block = pattern(100_000);
        while client.write_all(&block).await.is_ok() {}
    };
    let story = async {
        // Fills the sink until it takes no more.
        let mut pipe = Pipe::borrow().unwrap();
        let mut moved = 0;
        loop {
            if pipe.held() == 0 {
                fill(&source, &mut pipe).await.unwrap();
            }
            match poll_fn(|cx| Poll::Ready(poll_out(cx, &mut pipe, &sink))).await {
                Poll::Ready(taken) => moved += taken.unwrap(),
                Poll::Pending => break,
            }
        }
        let wait = poll_fn(|cx| poll_out(cx, &mut pipe, &sink));
        let mut got = vec![0; moved];
        let (taken, read) = tokio::join!(wait, backend.read_exact(&mut got));
        assert!(taken.unwrap() > 0);
        read.unwrap();
    };
    soon(async {
        tokio::select! {
            () = sending => unreachable!("the source stays open"),
            () = story => {}
        }
    })
    .await;
}

#[tokio::test]
async fn a_closed_sink_is_an_error_and_not_the_end_of_the_process() {
    let ((mut client, source), (sink, backend)) = (pair().await, pair().await);
    socket::abort_on_close(&backend);
    drop(backend);
    let mut pipe = Pipe::borrow().unwrap();
    // The reset is told first; the next one would raise SIGPIPE.
    for _ in 0..3 {
        if pipe.held() == 0 {
            client.write_all(&[1; 100]).await.unwrap();
            soon(fill(&source, &mut pipe)).await.unwrap();
        }
        let error = soon(poll_fn(|cx| poll_out(cx, &mut pipe, &sink))).await.unwrap_err();
        assert!(socket::is_peer_gone(&error), "{error}");
    }
}
