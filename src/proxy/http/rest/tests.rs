//! A connection between two sockets, served by something simpler than hyper.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::ready;

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::net::late::Late;

/// Stands for hyper: reads words, and ends with a dot.
struct Reader {
    line: Option<Line<Late>>,
    read: String,
    is_finished: bool,
}

impl Future for Reader {
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while !this.is_finished && !this.read.ends_with('.') {
            let mut room = [0; 4];
            let mut room = ReadBuf::new(&mut room);
            ready!(Pin::new(this.line.as_mut().unwrap()).poll_read(cx, &mut room)).unwrap();
            this.read.push_str(std::str::from_utf8(room.filled()).unwrap());
        }
        Poll::Ready(Ok(()))
    }
}

async fn pair() -> (TcpStream, Late) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    ours.set_nodelay(true).unwrap();
    (ours, listener.accept().await.unwrap().0.into())
}

async fn is_pending(serving: &mut (impl Future + Unpin)) -> bool {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *serving).poll(cx))).await.is_pending()
}

fn reader(line: Line<Late>) -> Reader {
    Reader { line: Some(line), read: String::new(), is_finished: false }
}

fn finish(reader: Pin<&mut Reader>) {
    reader.get_mut().is_finished = true;
}

/// Gives back what it read, as hyper does what it did not use.
fn end(mut reader: Reader) -> Option<Line<Late>> {
    let read = Bytes::from(std::mem::take(&mut reader.read));
    reader.line.take().map(|line| line.again(read))
}

#[tokio::test]
async fn it_wakes_when_bytes_come_and_loses_none_of_them() {
    let (mut client, server) = pair().await;
    let begun = Cell::new(0);
    let begin = |line| {
        begun.set(begun.get() + 1);
        reader(line)
    };
    let mut serving = Resting::new(Watched::new(server), begin, finish, end);
    // A socket of tokio's is taken for readable until it was read once.
    assert!(is_pending(&mut serving).await);
    serving.rest();
    let before = begun.get();
    assert!(is_pending(&mut serving).await && !serving.is_awake(), "it rests until something comes");
    client.write_all(b"half").await.unwrap();
    while !serving.is_awake() {
        assert!(is_pending(&mut serving).await);
        tokio::task::yield_now().await;
    }
    serving.rest();
    assert!(!serving.is_awake());
    // What was not used comes again, and before what is new.
    assert!(is_pending(&mut serving).await && serving.is_awake());
    client.write_all(b" whole.").await.unwrap();
    (&mut serving).await.unwrap();
    assert_eq!(begun.get(), before + 2);
    let (read, _) = serving.into_stream().unwrap();
    assert_eq!(read, "half whole.");
}

#[tokio::test]
async fn what_is_given_away_is_over_and_what_rests_can_be_finished() {
    let (_client, server) = pair().await;
    let mut serving = Resting::new(Watched::new(server), reader, finish, end);
    serving.finish();
    (&mut serving).await.unwrap();
    serving.rest();
    assert!(serving.into_stream().is_some());

    let (mut client, server) = pair().await;
    client.write_all(b"word").await.unwrap();
    let mut serving = Resting::new(Watched::new(server), reader, finish, |_| None);
    while !serving.is_awake() {
        assert!(is_pending(&mut serving).await);
        tokio::task::yield_now().await;
    }
    serving.rest();
    (&mut serving).await.unwrap();
    assert!(serving.into_stream().is_none());
    drop(client);
}
