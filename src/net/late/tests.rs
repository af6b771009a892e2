//! When a connection is watched, and that it reads and writes alike before and after.

use std::future::poll_fn;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;

/// A connection that nobody watches, and its client's end.
async fn pair() -> (Late, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.set_nodelay(true).unwrap();
    (Late::from(listener.accept().await.unwrap().0.into_std().unwrap()), client)
}

fn is_watched(late: &Late) -> bool {
    matches!(late.at, At::Watched(_))
}

/// Waits until there is something to read or an end, without having it watched.
fn until_there(late: &Late) {
    use rustix::event::{PollFd, PollFlags, poll};
    let socket = late.socket().unwrap();
    poll(&mut [PollFd::new(&socket, PollFlags::IN)], None).unwrap();
}

#[tokio::test]
async fn what_is_there_is_read_and_answered_without_a_watch() {
    let (mut late, mut client) = pair().await;
    client.write_all(b"ask").await.unwrap();
    client.shutdown().await.unwrap();
    until_there(&late);
    let mut asked = String::new();
    late.read_to_string(&mut asked).await.unwrap();
    assert_eq!(asked, "ask");
    late.write_all(b"answer").await.unwrap();
    late.shutdown().await.unwrap();
    assert!(!is_watched(&late));
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "answer");
}

#[tokio::test]
async fn who_has_to_wait_is_watched_and_woken() {
    let (mut late, mut client) = pair().await;
    let mut read = [0; 3];
    let (read_to, _) = tokio::join!(late.read_exact(&mut read), async {
        tokio::task::yield_now().await;
        client.write_all(b"ask").await.unwrap();
    });
    read_to.unwrap();
    assert_eq!(&read, b"ask");
    assert!(is_watched(&late));

    // The other way: more than fits between the two.
    let (mut late, mut client) = pair().await;
    let bytes: Vec<u8> = (0..32 * 1024 * 1024_u32).map(|i| (i / 7) as u8).collect();
    let mut came = Vec::new();
    let (wrote, read) = tokio::join!(
        async {
            late.write_all(&bytes).await.unwrap();
            late.shutdown().await
        },
        client.read_to_end(&mut came),
    );
    wrote.unwrap();
    read.unwrap();
    assert!(is_watched(&late) && came == bytes);
}

#[tokio::test]
async fn slices_arrive_in_their_order_however_many_and_long() {
    for (count, length) in [(1, 5), (2, 100), (3, 0), (7, 293), (2, SHORT), (40, 60_000)] {
        for watched in [false, true] {
            let (mut late, mut client) = pair().await;
            if watched {
                late.watched().unwrap();
            }
            let parts: Vec<Vec<u8>> = (0..count).map(|part| vec![part as u8 + 1; length]).collect();
            let all = parts.concat();
            let writing = async {
                let mut sent = 0;
                while sent < all.len() {
                    let mut before = 0;
                    let slices: Vec<_> = parts
                        .iter()
                        .map(|part| {
                            let from = (sent - before.min(sent)).min(part.len());
                            before += part.len();
                            IoSlice::new(&part[from..])
                        })
                        .collect();
                    sent += poll_fn(|cx| Pin::new(&mut late).poll_write_vectored(cx, &slices)).await.unwrap();
                }
                late.shutdown().await.unwrap();
            };
            let mut came = Vec::new();
            let (_, read) = tokio::join!(writing, client.read_to_end(&mut came));
            read.unwrap();
            assert!(came == all, "{count} of {length}, watched: {watched}");
        }
    }
}

#[tokio::test]
async fn errors_are_told_before_and_after_it_is_watched() {
    for watched in [false, true] {
        let (mut late, client) = pair().await;
        if watched {
            late.watched().unwrap();
        }
        crate::net::socket::abort_on_close(&client);
        drop(client);
        until_there(&late);
        let error = late.read(&mut [0; 1]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let error = late.write(b"x").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}

/// One that never has to wait must still let others have their turn.
#[tokio::test]
async fn it_has_no_more_turns_than_others() {
    let (mut late, mut client) = pair().await;
    client.write_all(&[b'x'; 4096]).await.unwrap();
    until_there(&late);
    let mut turns = 0;
    poll_fn(|cx| {
        let mut room = [0];
        while Pin::new(&mut late).poll_read(cx, &mut ReadBuf::new(&mut room)).is_ready() {
            turns += 1;
        }
        Poll::Ready(())
    })
    .await;
    assert!(turns < 1000 && !is_watched(&late), "{turns}");
    timeout(Duration::from_secs(5), late.read_exact(&mut [0; 1000])).await.unwrap().unwrap();
}

#[tokio::test]
async fn who_is_watched_since_this_turn_is_written_to_in_it() {
    let (mut late, mut client) = pair().await;
    let mut room = [0; 3];
    poll_fn(|cx| {
        let mut into = ReadBuf::new(&mut room);
        assert!(Pin::new(&mut late).poll_read(cx, &mut into).is_pending());
        let slices = [IoSlice::new(b"said "), IoSlice::new(b"first")];
        assert!(matches!(Pin::new(&mut late).poll_write_vectored(cx, &slices), Poll::Ready(Ok(10))));
        Poll::Ready(())
    })
    .await;
    assert!(is_watched(&late));
    let mut said = [0; 10];
    client.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"said first");
}
