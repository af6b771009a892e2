//! Half-closes, slow sinks, byte-exact content and idleness.

use std::pin::Pin;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

impl Leg for DuplexStream {}

fn all(time: Duration) -> Times {
    Times { idle: time, half_closed: time, stall: time }
}

fn options(time: Duration) -> Options {
    Options::new(all(time))
}

/// A relay between two pipes of `room` bytes; the outer ends are returned.
async fn with_relay<F: Future>(
    room: usize,
    times: Times,
    story: impl FnOnce(DuplexStream, DuplexStream) -> F,
) -> (End, F::Output, (u64, u64)) {
    let (client, mut inner_client) = duplex(room);
    let (backend, mut inner_backend) = duplex(room);
    let mut bytes = (0, 0);
    let relayed = async {
        let end = relay(&mut inner_client, &mut inner_backend, Options::new(times), |moved| {
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
    let (end, (), bytes) = with_relay(64, all(HOUR), |mut client, mut backend| async move {
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
    let (end, (), bytes) = with_relay(777, all(HOUR), |mut client, mut backend| async move {
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
    let (end, opened, _) = with_relay(64, all(idle), |mut client, backend| async move {
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

/// Gives without end and takes everything.
#[derive(Debug, Default)]
struct Endless(usize);

impl Leg for Endless {}

impl AsyncRead for Endless {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        into.advance(into.remaining());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0 += bytes.len();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_connection_without_end_leaves_the_thread_to_others() {
    const PINGS: u64 = 50;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut far = listener.accept().await.unwrap().0;
    let mut flowed = 0;
    let flood = async { relay(&mut Endless(0), &mut Endless(0), options(HOUR), |m| flowed += m.up() + m.down()).await };
    // Each ping needs the thread to ask for events, not only to have a turn.
    let others = async {
        for _ in 0..PINGS {
            near.write_all(b"x").await.unwrap();
            far.read_exact(&mut [0]).await.unwrap();
        }
    };
    let both = async {
        tokio::select! {
            end = flood => panic!("{end:?}"),
            () = others => {}
        }
    };
    LocalSet::new().run_until(both).await;
    assert!(flowed / PINGS <= 4 * 1024 * 1024, "{} bytes a ping", flowed / PINGS);
}

#[tokio::test]
async fn bytes_read_ahead_go_first() {
    let (mut outer_client, mut client) = duplex(64);
    let (mut outer_backend, mut backend) = duplex(64);
    let mut options = options(HOUR);
    (options.from_client, options.from_backend) = (b"hello ".to_vec(), b"welcome ".to_vec());
    let mut bytes = (0, 0);
    let story = async {
        outer_client.write_all(b"world").await.unwrap();
        outer_client.shutdown().await.unwrap();
        outer_backend.write_all(b"home").await.unwrap();
        outer_backend.shutdown().await.unwrap();
        let (mut asked, mut answered) = (String::new(), String::new());
        outer_backend.read_to_string(&mut asked).await.unwrap();
        outer_client.read_to_string(&mut answered).await.unwrap();
        (asked, answered)
    };
    let mut count = |m: Moved| bytes = (bytes.0 + m.up(), bytes.1 + m.down());
    let relayed = async { relay(&mut client, &mut backend, options, &mut count).await };
    let (end, (asked, answered)) = LocalSet::new().run_until(async { tokio::join!(relayed, story) }).await;
    assert!(matches!(end, End::Done), "{end:?}");
    assert_eq!((asked.as_str(), answered.as_str()), ("hello world", "welcome home"));
    assert_eq!(bytes, (11, 12));
}

/// Lets ten bytes through a second, in each direction.
#[derive(Debug)]
struct TenASecond {
    allowed: [usize; 2],
    timer: Pin<Box<tokio::time::Sleep>>,
}

impl Pace for TenASecond {
    fn allowance(&mut self, from: Side, cx: &mut Context<'_>) -> Poll<usize> {
        if self.timer.as_mut().poll(cx).is_ready() {
            self.allowed = [10, 10];
            self.timer.as_mut().reset(Instant::now() + Duration::from_secs(1));
            let _ = self.timer.as_mut().poll(cx);
        }
        match self.allowed[from as usize] {
            0 => Poll::Pending,
            some => Poll::Ready(some),
        }
    }

    fn spent(&mut self, from: Side, bytes: usize) {
        self.allowed[from as usize] -= bytes;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pace_is_kept_each_way() {
    let (mut outer_client, mut client) = duplex(1_000);
    let (mut outer_backend, mut backend) = duplex(1_000);
    let began = Instant::now();
    let pace = TenASecond { allowed: [10, 10], timer: Box::pin(sleep(Duration::from_secs(1))) };
    let options = Options { pace: Some(Box::new(pace)), ..options(HOUR) };
    let story = async {
        outer_client.write_all(&[1; 95]).await.unwrap();
        outer_backend.write_all(&[2; 35]).await.unwrap();
        outer_backend.read_exact(&mut [0; 95]).await.unwrap();
        assert_eq!(began.elapsed().as_secs(), 9);
        outer_client.read_exact(&mut [0; 35]).await.unwrap();
        drop((outer_client, outer_backend));
    };
    let relayed = async { relay(&mut client, &mut backend, options, |_| {}).await };
    LocalSet::new().run_until(async { tokio::join!(relayed, story) }).await;
}

#[tokio::test(start_paused = true)]
async fn a_side_that_stays_open_alone_has_the_half_closed_time() {
    let times = Times { idle: HOUR, half_closed: Duration::from_secs(40), stall: HOUR };
    let (mut outer_client, mut client) = duplex(64);
    let (_outer_backend, mut backend) = duplex(64);
    let opened = Instant::now();
    let story = async {
        sleep(Duration::from_secs(1_000)).await;
        outer_client.shutdown().await.unwrap();
    };
    let relayed = async { relay(&mut client, &mut backend, Options::new(times), |_| {}).await };
    let (end, ()) = LocalSet::new().run_until(async { tokio::join!(relayed, story) }).await;
    assert!(matches!(end, End::HalfClosed), "{end:?}");
    let lived = opened.elapsed();
    assert!((1_040..=1_050).contains(&lived.as_secs()), "{lived:?}");
}

#[tokio::test(start_paused = true)]
async fn a_side_that_takes_nothing_has_the_stall_time() {
    let times = Times { idle: HOUR, half_closed: HOUR, stall: Duration::from_secs(40) };
    let (mut outer_client, mut client) = duplex(64);
    let (mut outer_backend, mut backend) = duplex(64);
    let story = async {
        outer_client.write_all(&[7; 1_000]).await.unwrap_err();
    };
    let relayed = async {
        let opened = Instant::now();
        let end = relay(&mut client, &mut backend, Options::new(times), |_| {}).await;
        drop((client, backend));
        (end, opened.elapsed())
    };
    let slow = async {
        // A byte now and then is slow, not stuck.
        for _ in 0..20 {
            sleep(Duration::from_secs(30)).await;
            outer_backend.read_exact(&mut [0]).await.unwrap();
        }
        sleep(HOUR).await;
    };
    let all = async { tokio::join!(relayed, story, slow) };
    let ((end, lived), ..) = LocalSet::new().run_until(all).await;
    assert!(matches!(end, End::Stalled(Side::Client)), "{end:?}");
    assert!((640..=650).contains(&lived.as_secs()), "{lived:?}");
}

#[test]
fn a_relay_at_rest_is_small() {
    assert!(size_of::<Direction>() <= 96, "{}", size_of::<Direction>());
    fn size<'a, F: Future>(_: impl FnOnce(&'a mut TcpStream, &'a mut TcpStream, Options, fn(Moved)) -> F) -> usize {
        size_of::<F>()
    }
    let size = size(|client, backend, options, moved| relay(client, backend, options, moved));
    assert!(size <= 400, "{size}");
}

#[tokio::test(start_paused = true)]
async fn bytes_that_wait_make_any_silence_a_stall() {
    for ends in [false, true] {
        let times = Times { stall: HOUR, ..all(Duration::from_secs(40)) };
        let (end, (), _) = with_relay(64, times, |mut client, mut backend| async move {
            if ends {
                client.shutdown().await.unwrap();
            }
            backend.write_all(&[7; 100]).await.unwrap();
            // It takes none of it, until the relay gives up.
            let _ = backend.write_all(&[7; 1000]).await;
            drop(client);
        })
        .await;
        assert!(matches!(end, End::Stalled(Side::Backend)), "{end:?}");
    }
}

/// Lets ten bytes go every half minute.
#[derive(Debug, Default)]
struct Slow(Option<std::pin::Pin<Box<tokio::time::Sleep>>>);

impl Pace for Slow {
    fn allowance(&mut self, _: Side, cx: &mut Context<'_>) -> Poll<usize> {
        match &mut self.0 {
            Some(timer) => timer.as_mut().poll(cx).map(|()| 10),
            None => Poll::Ready(10),
        }
    }

    fn spent(&mut self, _: Side, _: usize) {
        self.0 = Some(Box::pin(sleep(Duration::from_secs(30))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_pace_slower_than_the_times_ends_nothing() {
    let (mut client, mut inner_client) = duplex(64);
    let (mut inner_backend, backend) = duplex(64);
    let options = Options { pace: Some(Box::<Slow>::default()), ..Options::new(all(Duration::from_secs(12))) };
    let relayed = async {
        let end = relay(&mut inner_client, &mut inner_backend, options, |_| {}).await;
        drop((inner_client, inner_backend));
        end
    };
    let story = async {
        client.write_all(&[7; 35]).await.unwrap();
        client.shutdown().await.unwrap();
        let (mut reading, writing) = tokio::io::split(backend);
        let mut got = Vec::new();
        reading.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, [7; 35]);
        drop((reading, writing));
    };
    let (end, ()) = LocalSet::new().run_until(async { tokio::join!(relayed, story) }).await;
    assert!(matches!(end, End::Done), "{end:?}");
}

/// Both ends of a connection.
async fn wire() -> (TcpStream, TcpStream) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (ours, listener.accept().await.unwrap().0)
}

#[tokio::test]
async fn urgent_data_in_a_stream_is_passed_over_and_what_follows_it_comes() {
    let ((mut client, mut inner_client), (mut inner_backend, mut backend)) = (wire().await, wire().await);
    let mut spliced = 0;
    let relayed = async {
        relay(&mut inner_client, &mut inner_backend, options(HOUR), |moved| spliced += moved.spliced_up).await
    };
    let story = async {
        let mut got = vec![0; 4 << 20];
        let (sent, taken) = tokio::join!(client.write_all(&[7; 4 << 20]), backend.read_exact(&mut got));
        sent.and(taken).unwrap();
        socket2::SockRef::from(&client).send_out_of_band(b"!").unwrap();
        client.write_all(b"what follows").await.unwrap();
        // The client waits for an answer, so nothing more comes that would wake the relay.
        backend.read_exact(&mut got[..12]).await.unwrap();
        assert_eq!(&got[..12], b"what follows");
        drop((client, backend));
    };
    let tasks = LocalSet::new();
    let both = tasks.run_until(async { tokio::join!(relayed, story) });
    let (end, ()) = tokio::time::timeout(Duration::from_secs(10), both).await.unwrap();
    assert!(matches!(end, End::Done), "{end:?}");
    assert!(spliced > 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_lasts_gets_keepalive_and_a_short_one_is_spared_the_calls() {
    let ((client, mut inner_client), (mut inner_backend, backend)) = (wire().await, wire().await);
    let seen = socket2::SockRef::from(&inner_backend).try_clone().unwrap();
    let relayed = async { relay(&mut inner_client, &mut inner_backend, options(HOUR), |_| {}).await };
    let story = async {
        sleep(Duration::from_secs(1)).await;
        assert!(!seen.keepalive().unwrap());
        sleep(HOUR / 2).await;
        assert!(seen.keepalive().unwrap(), "set without a byte that moved");
        drop((client, backend));
    };
    let (end, ()) = LocalSet::new().run_until(async { tokio::join!(relayed, story) }).await;
    assert!(matches!(end, End::Done), "{end:?}");
}

mod oracle;
