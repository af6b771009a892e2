//! Whatever two peers do, each gets what the other sent, byte for byte: over real sockets, by chance with seeds.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::net::TcpListener;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::*;
use crate::net::pipe::tests::{exhaust, standing};

/// What one peer does.
#[derive(Clone, Debug)]
struct Script {
    /// Sizes of its writes, with a pause after each of so many turns of the thread.
    writes: Vec<(usize, u8)>,
    /// How it ends.
    ends: Ends,
    /// The most it reads at a time, and how many turns it rests between.
    reads: (usize, u8),
    /// The send buffer of the relay's socket towards it. Small buffers to receive would show the kernel's own waits for
    /// room instead: with them a loopback of 64 KiB segments does nothing for 200 ms at a time.
    buffer: Option<usize>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ends {
    /// It says that it has sent all, and reads to the end.
    InOrder,
    /// It resets the connection as soon as it has sent all.
    Reset,
    /// It closes as soon as it has sent all, read or not.
    Close,
}

/// What one peer saw.
struct Seen {
    sent: usize,
    got: Vec<u8>,
}

fn script() -> impl Strategy<Value = Script> {
    let size = prop_oneof![3 => Just(1), 3 => 2..2_000usize, 2 => 2_000..70_000usize, 2 => 70_000..900_000usize];
    let writes = prop::collection::vec((size, 0..3u8), 0..8);
    let ends = prop_oneof![8 => Just(Ends::InOrder), 1 => Just(Ends::Reset), 1 => Just(Ends::Close)];
    let reads = (prop_oneof![1..100usize, 1_000..300_000usize], 0..3u8);
    let reads = reads.prop_map(|(size, rest)| if size < 100 { (size * 50, 0) } else { (size, rest) });
    (writes, ends, reads, prop::option::of(5_000..100_000usize)).prop_map(|(writes, ends, reads, buffer)| Script {
        writes,
        ends,
        reads,
        buffer,
    })
}

/// The byte at a place of what `who` sends.
fn byte(who: usize, at: usize) -> u8 {
    ((at as u32 ^ (who as u32 * 77)).wrapping_mul(2_654_435_761) >> 24) as u8
}

async fn rest(turns: u8) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}

async fn write(mut half: OwnedWriteHalf, who: usize, script: &Script) -> (OwnedWriteHalf, usize) {
    let mut sent = 0;
    for (size, turns) in &script.writes {
        let bytes: Vec<u8> = (sent..sent + size).map(|at| byte(who, at)).collect();
        if half.write_all(&bytes).await.is_err() {
            break;
        }
        sent += size;
        rest(*turns).await;
    }
    if script.ends == Ends::InOrder {
        // Who was reset cannot.
        let _ = half.shutdown().await;
    }
    (half, sent)
}

async fn read(half: &mut OwnedReadHalf, (most, turns): (usize, u8), got: &mut Vec<u8>) {
    let mut chunk = vec![0; most];
    while let Ok(1..) = half.read(&mut chunk).await.inspect(|n| got.extend_from_slice(&chunk[..*n])) {
        rest(turns).await;
    }
}

async fn act(stream: TcpStream, who: usize, script: &Script) -> Seen {
    let (mut reading, writing) = stream.into_split();
    let mut got = Vec::new();
    let in_order = script.ends == Ends::InOrder;
    let (writing, sent) = if in_order {
        tokio::join!(write(writing, who, script), read(&mut reading, script.reads, &mut got)).0
    } else {
        tokio::select! {
            written = write(writing, who, script) => written,
            () = async { read(&mut reading, script.reads, &mut got).await; std::future::pending().await } => unreachable!(),
        }
    };
    let stream = reading.reunite(writing).unwrap();
    if script.ends == Ends::Reset {
        socket::abort_on_close(&stream);
    }
    drop(stream);
    Seen { sent, got }
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

async fn story(client: &Script, backend: &Script) -> Result<Moved, TestCaseError> {
    let lent = standing().0;
    let ((outer_client, mut inner_client), (outer_backend, mut inner_backend)) = (pair().await, pair().await);
    for (inner, script) in [(&inner_client, client), (&inner_backend, backend)] {
        if let Some(bytes) = script.buffer {
            socket2::SockRef::from(inner).set_send_buffer_size(bytes).unwrap();
        }
    }
    let sum = Cell::new(Moved::default());
    let relayed = async {
        let end = relay(&mut inner_client, &mut inner_backend, options(HOUR), |now| {
            let Moved { copied_up, copied_down, spliced_up, spliced_down } = sum.get();
            sum.set(Moved {
                copied_up: copied_up + now.copied_up,
                copied_down: copied_down + now.copied_down,
                spliced_up: spliced_up + now.spliced_up,
                spliced_down: spliced_down + now.spliced_down,
            });
        })
        .await;
        drop((inner_client, inner_backend));
        end
    };
    let all = async { tokio::join!(relayed, act(outer_client, 0, client), act(outer_backend, 1, backend)) };
    let Ok((end, of_client, of_backend)) = timeout(Duration::from_secs(20), all).await else {
        return Err(TestCaseError::fail("it hangs"));
    };
    let sum = sum.get();
    for (who, seen, other, moved) in [(0, &of_backend, &of_client, sum.up()), (1, &of_client, &of_backend, sum.down())]
    {
        let wrong = seen.got.iter().enumerate().position(|(at, got)| *got != byte(who, at));
        prop_assert_eq!(wrong, None, "the first wrong byte from {}", who);
        prop_assert!(seen.got.len() as u64 <= moved);
        let whole: usize = [client, backend][who].writes.iter().map(|(size, _)| size).sum();
        prop_assert!(other.sent <= whole);
        if client.ends == Ends::InOrder && backend.ends == Ends::InOrder {
            prop_assert_eq!((seen.got.len(), moved as usize), (whole, whole));
        }
    }
    if client.ends == Ends::InOrder && backend.ends == Ends::InOrder {
        prop_assert!(matches!(end, End::Done), "{:?}", end);
    }
    prop_assert!(!matches!(end, End::Idle | End::HalfClosed | End::Stalled(_)), "{:?}", end);
    prop_assert_eq!(standing().0, lent, "every pipe came back or was closed");
    Ok(sum)
}

/// Bytes copied and spliced over all cases.
fn play(cases: u32) -> (u64, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sum = Cell::new((0, 0));
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    runner
        .run(&(script(), script()), |(client, backend)| {
            let moved = LocalSet::new().block_on(&runtime, story(&client, &backend))?;
            let (copied, spliced) = sum.get();
            let copied = copied + moved.copied_up + moved.copied_down;
            sum.set((copied, spliced + moved.spliced_up + moved.spliced_down));
            Ok(())
        })
        .unwrap();
    sum.get()
}

#[test]
fn every_byte_arrives_whatever_peers_do() {
    let (copied, spliced) = play(64);
    assert!(copied > 1_000_000 && spliced > 1_000_000, "both paths were walked: {copied}, {spliced}");
}

#[test]
fn every_byte_arrives_when_no_pipe_can_be_had() {
    let exhausted = exhaust();
    let (copied, spliced) = play(24);
    drop(exhausted);
    assert!(copied > 1_000_000 && spliced == 0, "{copied}, {spliced}");
}
