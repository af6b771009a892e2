//! Half-closes, slow sinks, byte-exact content and idleness.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

impl Leg for DuplexStream {}

fn options(idle: Duration) -> Options {
    Options::new(Times { idle, half_closed: idle, stall: idle })
}

/// A relay between two pipes of `room` bytes; the outer ends are returned.
async fn with_relay<F: Future>(
    room: usize,
    idle: Duration,
    story: impl FnOnce(DuplexStream, DuplexStream) -> F,
) -> (End, F::Output, (u64, u64)) {
    let (client, mut inner_client) = duplex(room);
    let (backend, mut inner_backend) = duplex(room);
    let mut bytes = (0, 0);
    let relayed = async {
        let end = relay(&mut inner_client, &mut inner_backend, options(idle), |moved| {
            bytes = (bytes.0 + moved.up(), bytes.1 + moved.down());
        })
        .await;
        // The relay's owner closes both sides once it ended.
        drop((inner_client, inner_backend));
        end
    };
    let (end, output) = LocalSet::new().run_until(async { tokio::join!(relayed, story(client, backend)) }).await;
    (end, output, bytes)
}

#[tokio::test]
async fn each_direction_closes_by_itself() {
    let (end, (), bytes) = with_relay(64, HOUR, |mut client, mut backend| async move {
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut asked = String::new();
        backend.read_to_string(&mut asked).await.unwrap();
        assert_eq!(asked, "question");
        backend.write_all(b"a late answer").await.unwrap();
        drop(backend);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "a late answer");
    })
    .await;
    assert!(matches!(end, End::Done), "{end:?}");
    assert_eq!(bytes, (8, 13));
}

#[tokio::test]
async fn a_slow_sink_gets_every_byte_in_order() {
    let sent: Vec<u8> = (0..1_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let expected = sent.clone();
    let (end, (), bytes) = with_relay(777, HOUR, |mut client, mut backend| async move {
        let send = async {
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
            client
        };
        let take = async {
            let mut got = Vec::new();
            let mut chunk = [0; 100];
            loop {
                let n = backend.read(&mut chunk).await.unwrap();
                if n == 0 {
                    break;
                }
                got.extend_from_slice(&chunk[..n]);
                tokio::task::yield_now().await;
            }
            assert!(got == expected, "bytes differ");
            drop(backend);
        };
        tokio::join!(send, take);
    })
    .await;
    assert!(matches!(end, End::Done), "{end:?}");
    assert_eq!(bytes, (1_000_000, 0));
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_nothing_moved_for_the_idle_time_and_not_before() {
    let idle = Duration::from_secs(40);
    let (end, opened, _) = with_relay(64, idle, |mut client, backend| async move {
        let opened = Instant::now();
        for _ in 0..10 {
            sleep(Duration::from_secs(30)).await;
            client.write_all(b"x").await.unwrap();
        }
        // Both outer ends stay open until the relay gave up and closed its own.
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest).await;
        drop(backend);
        opened
    })
    .await;
    let lived = opened.elapsed();
    assert!(matches!(end, End::Idle), "{end:?}");
    assert!((340..=351).contains(&lived.as_secs()), "{lived:?}");
}
