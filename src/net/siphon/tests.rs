//! Stand-ins, exchanged over real sockets.

use std::future::poll_fn;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::net::pipe;

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (ours, listener.accept().await.unwrap().0)
}

async fn next(siphon: &Siphon) -> io::Result<Next> {
    poll_fn(|cx| siphon.poll_next(cx)).await
}

async fn stand_ins(siphon: &Siphon) -> Bytes {
    match next(siphon).await.unwrap() {
        Next::StandIns(bytes) => bytes,
        Next::Bytes(bytes) => panic!("{} bytes were copied", bytes.len()),
    }
}

async fn pour(siphon: &Siphon, slices: &[&[u8]], sink: &TcpStream) -> io::Result<usize> {
    let slices: Vec<_> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
    poll_fn(|cx| siphon.poll_pour(cx, &slices, sink)).await
}

#[tokio::test]
async fn stand_ins_become_the_bytes_themselves() {
    let ((mut peer, source), (sink, mut client)) = (pair().await, pair().await);
    let siphon = Siphon::default();
    siphon.begin(source, 20);
    peer.write_all(b"some bytes").await.unwrap();
    let some = stand_ins(&siphon).await;
    assert!(is_stand_in(&some) && some.iter().all(|byte| *byte == MARK) && some.len() == 10);
    peer.write_all(b", and more than that").await.unwrap();
    assert_eq!(pour(&siphon, &[&some], &sink).await.unwrap(), 10);
    let more = stand_ins(&siphon).await;
    assert_eq!(pour(&siphon, &[&more[..3], &more[3..], b"x"], &sink).await.unwrap(), 10);
    let mut got = [0; 20];
    client.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"some bytes, and more", "and nothing of what is beyond");
    let mut rest = [0; 10];
    siphon.end().unwrap().read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, b" than that");
    assert_eq!(pipe::tests::standing().0, 0, "at rest it holds none");
}

#[tokio::test]
async fn what_went_ahead_is_exchanged_without_a_call() {
    let ((mut peer, source), (sink, mut client)) = (pair().await, pair().await);
    let siphon = Siphon::default();
    let bytes: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
    siphon.begin(source, bytes.len() as u64);
    let sending = async { peer.write_all(&bytes).await.unwrap() };
    let flowing = async {
        let (mut left, mut largest) = (bytes.len(), 0);
        while left > 0 {
            let mut given = match next(&siphon).await.unwrap() {
                Next::StandIns(given) => given,
                Next::Bytes(copied) => {
                    left -= copied.len();
                    sink.writable().await.unwrap();
                    assert_eq!(sink.try_write(&copied).unwrap(), copied.len());
                    continue;
                }
            };
            left -= given.len();
            while !given.is_empty() {
                let exchanged = pour(&siphon, &[&given], &sink).await.unwrap();
                largest = largest.max(siphon.inside().ahead);
                drop(given.split_to(exchanged));
            }
        }
        largest
    };
    let taking = async {
        let mut got = vec![0; bytes.len()];
        client.read_exact(&mut got).await.unwrap();
        got
    };
    let ((), largest, got) = tokio::join!(sending, flowing, taking);
    assert!(got == bytes && largest <= TURN + REGION, "{largest}");
}

#[tokio::test]
async fn who_waits_for_it_to_be_empty_is_woken() {
    let ((mut peer, source), (sink, _client)) = (pair().await, pair().await);
    let siphon = Siphon::default();
    siphon.begin(source, 5);
    peer.write_all(b"12").await.unwrap();
    let first = stand_ins(&siphon).await;
    let pouring = async {
        tokio::task::yield_now().await;
        pour(&siphon, &[&first], &sink).await.unwrap();
        peer.write_all(b"345").await.unwrap();
    };
    let (rest, ()) = tokio::join!(next(&siphon), pouring);
    // It may be read, as the turn before had found nothing.
    assert!(matches!(rest.unwrap(), Next::StandIns(bytes) | Next::Bytes(bytes) if bytes.len() == 3));
}

#[tokio::test]
async fn a_source_that_ends_before_its_time_or_is_none_is_an_error() {
    let (peer, source) = pair().await;
    let siphon = Siphon::default();
    assert_eq!(next(&siphon).await.unwrap_err().kind(), io::ErrorKind::NotConnected);
    siphon.begin(source, 5);
    drop(peer);
    assert_eq!(next(&siphon).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn without_a_pipe_the_bytes_are_read() {
    let (mut peer, source) = pair().await;
    let siphon = Siphon::default();
    siphon.begin(source, 3);
    peer.write_all(b"four").await.unwrap();
    let exhausted = pipe::tests::exhaust();
    assert!(matches!(next(&siphon).await.unwrap(), Next::Bytes(bytes) if bytes == "fou"));
    drop(exhausted);
}

#[tokio::test]
async fn where_there_are_more_stand_ins_than_bytes_nothing_is_sent() {
    let ((mut peer, source), (sink, client)) = (pair().await, pair().await);
    let siphon = Siphon::default();
    assert!(pour(&siphon, &[&STAND_INS[..1]], &sink).await.is_err(), "nothing is in it");
    siphon.begin(source, 4);
    peer.write_all(b"four").await.unwrap();
    let four = stand_ins(&siphon).await;
    for wrong in [&[&four[..], &four[..1]][..], &[b"x", &four[..]], &[]] {
        assert!(pour(&siphon, wrong, &sink).await.is_err(), "{wrong:?}");
    }
    assert_eq!(client.try_read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(pour(&siphon, &[&four], &sink).await.unwrap(), 4);
    assert!(pour(&siphon, &[&four], &sink).await.is_err(), "each once");
}

#[test]
fn only_the_region_itself_is_taken_for_it() {
    let copy = STAND_INS.to_vec();
    assert!(!is_stand_in(&copy) && !is_stand_in(b"") && is_stand_in(&STAND_INS[REGION - 1..]));
    let slices = [IoSlice::new(b"a"), IoSlice::new(&copy), IoSlice::new(&STAND_INS[5..6]), IoSlice::new(b"b")];
    assert_eq!((before_stand_ins(&slices), before_stand_ins(&slices[2..]), before_stand_ins(&slices[3..])), (2, 0, 1));
}
