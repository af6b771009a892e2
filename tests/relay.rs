//! The relay inside a whole proxy: which path bytes take, how ends and breaks are passed on in the middle of a stream,
//! what a slow reader costs, and what happens where pipes are scarce.

#![allow(clippy::disallowed_methods, reason = "tests own their tasks")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use sluice::model::live::listener::Path;
use sluice::model::outcome::Outcome;
use support::asked::web;
use support::{Asked, Peer, Sluice, Wire, eventually, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

/// A proxy before one backend, and where it listens.
async fn before(backend: &Peer) -> (Sluice, SocketAddr) {
    let sluice = Sluice::start(Asked::stream(&[backend.address])).await;
    let address = sluice.address(web()).await;
    (sluice, address)
}

/// The same, with a time of its pool changed.
async fn with_times(backend: &Peer, change: fn(&mut sluice::model::intent::Timeouts)) -> (Sluice, SocketAddr) {
    let asked = Asked::stream(&[backend.address]).change_pool("site", |pool| change(&mut pool.timeouts));
    let sluice = Sluice::start(asked).await;
    let address = sluice.address(web()).await;
    (sluice, address)
}

async fn ended(sluice: &Sluice, outcome: Outcome) {
    let listener = sluice.listener(web());
    eventually(outcome.label(), || (listener.ended(outcome) == 1).then_some(())).await;
    eventually("nothing to be open", || (listener.active() == 0).then_some(())).await;
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Sends a body and reads it back from an echo.
async fn echo(client: &mut Wire, body: &[u8]) {
    let (mut read, mut write) = client.stream.split();
    let mut back = vec![0; body.len()];
    let both = async { tokio::join!(write.write_all(body), read.read_exact(&mut back)) };
    let (sent, got) = soon("the echo", both).await;
    sent.unwrap();
    got.unwrap();
    assert!(back == body, "bytes differ");
}

/// Waits until just so many bytes are counted, from and to the client: a peer may have them a moment earlier.
async fn counted(sluice: &Sluice, path: Option<Path>, bytes: usize) {
    let listener = sluice.listener(web());
    let wanted = (bytes as u64, bytes as u64);
    let count = || path.map_or_else(|| listener.bytes(), |path| listener.bytes_by(path));
    eventually("the bytes to be counted", || (count() == wanted).then_some(())).await;
}

/// So many bytes are a stream.
const STREAM: usize = 4_000_000;

#[tokio::test]
async fn a_stream_is_spliced_and_what_follows_in_small_pieces_is_copied() {
    let peer = Peer::echo().await;
    let (sluice, address) = before(&peer).await;
    let mut client = Wire::to(address).await;
    echo(&mut client, &pattern(STREAM)).await;
    let listener = sluice.listener(web());
    let (spliced_in, spliced_out) = listener.bytes_by(Path::Splice);
    // What comes back comes in the small pieces of the echo, and may be copied.
    assert!(spliced_in + spliced_out > STREAM as u64 / 4, "{spliced_in}, {spliced_out}");
    counted(&sluice, None, STREAM).await;
    // A few small messages bring it back to copying.
    for n in 0..10 {
        echo(&mut client, &[n; 10]).await;
    }
    let before = listener.bytes_by(Path::Splice);
    for n in 0..100 {
        echo(&mut client, &[n; 100]).await;
    }
    assert_eq!(listener.bytes_by(Path::Splice), before, "small messages are copied");
    counted(&sluice, None, STREAM + 10_100).await;
}

#[tokio::test]
async fn messages_are_copied() {
    let peer = Peer::echo().await;
    let (sluice, address) = before(&peer).await;
    let mut client = Wire::to(address).await;
    for n in 1..=200 {
        echo(&mut client, &pattern(n * 50)).await;
    }
    counted(&sluice, Some(Path::Copy), 50 * 200 * 201 / 2).await;
    assert_eq!(sluice.listener(web()).bytes_by(Path::Splice), (0, 0));
}

#[tokio::test]
async fn a_connection_that_switched_protocols_is_spliced_too_after_what_was_read_ahead() {
    let peer = Peer::serving(|mut wire| async move {
        wire.head().await.unwrap();
        let mut answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n".to_vec();
        // The first bytes of the new protocol come with the head.
        answer.extend(pattern(STREAM));
        wire.send(answer).await;
        wire.end().await;
    })
    .await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n").await;
    client.until("\r\n\r\n").await.unwrap();
    assert!(client.exactly(STREAM).await == pattern(STREAM));
    client.finish().await;
    ended(&sluice, Outcome::Done).await;
    let (_, spliced) = sluice.listener(web()).bytes_by(Path::Splice);
    assert!(spliced > STREAM as u64 / 4, "{spliced}");
}

#[tokio::test]
async fn each_side_may_end_first_in_the_middle_of_the_others_stream() {
    for client_first in [true, false] {
        let body = pattern(STREAM);
        let peer = Peer::serving(move |mut wire| async move {
            if client_first {
                assert!(wire.rest().await.0.is_empty());
                wire.send(pattern(STREAM)).await;
            } else {
                wire.finish().await;
                let (got, how) = wire.rest().await;
                assert!(got == pattern(STREAM) && how.is_ok());
            }
        })
        .await;
        let (sluice, address) = before(&peer).await;
        let mut client = Wire::to(address).await;
        if client_first {
            client.finish().await;
            let (got, how) = client.rest().await;
            assert!(got == body && how.is_ok());
        } else {
            assert!(client.rest().await.0.is_empty());
            client.send(&body).await;
            client.finish().await;
        }
        ended(&sluice, Outcome::Done).await;
        let (spliced_in, spliced_out) = sluice.listener(web()).bytes_by(Path::Splice);
        assert!(spliced_in + spliced_out > STREAM as u64 / 4);
    }
}

#[tokio::test]
async fn a_backend_that_resets_in_the_middle_of_a_stream_is_seen_as_a_break() {
    let peer = Peer::serving(|mut wire| async move {
        wire.send(pattern(STREAM)).await;
        wire.exactly(1).await;
        wire.reset();
    })
    .await;
    let (sluice, address) = before(&peer).await;
    let mut client = Wire::to(address).await;
    assert!(client.exactly(STREAM).await == pattern(STREAM));
    client.send("!").await;
    assert!(client.rest().await.1.is_err(), "a clean end would hide the loss");
    ended(&sluice, Outcome::BackendBroke).await;
}

#[tokio::test]
async fn a_client_that_resets_in_the_middle_of_a_stream_frees_the_backend() {
    let peer = Peer::serving(|mut wire| async move {
        let endless = async { while wire.try_send(pattern(1_000_000)).await.is_ok() {} };
        endless.await;
    })
    .await;
    let (sluice, address) = before(&peer).await;
    let mut client = Wire::to(address).await;
    client.exactly(STREAM).await;
    client.reset();
    ended(&sluice, Outcome::ClientGone).await;
}

#[tokio::test]
async fn a_reader_that_takes_nothing_slows_its_writer_down_and_ends_with_the_stall_time() {
    let peer = Peer::serving(|mut wire| async move {
        // Takes nothing until it is told that the connection is dead.
        soon("a reset", async {
            while socket2::SockRef::from(&wire.stream).take_error().unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        wire.end().await;
    })
    .await;
    let (sluice, address) = with_times(&peer, |times| times.stall = Duration::from_millis(400)).await;
    let mut client = Wire::to(address).await;
    let block = vec![7; 1_000_000];
    let mut sent = 0;
    let broken = soon("the reset", async {
        loop {
            match client.stream.write(&block).await {
                Ok(taken) => sent += taken,
                Err(error) => break error,
            }
        }
    })
    .await;
    assert!(broken.kind() != std::io::ErrorKind::TimedOut, "{broken}");
    // What was taken is what four socket buffers, one pipe and one buffer hold.
    assert!(sent < 40_000_000, "{sent}");
    ended(&sluice, Outcome::Stalled).await;
}

#[tokio::test]
async fn a_backend_that_stays_silent_after_the_clients_end_has_the_half_closed_time() {
    let peer = Peer::serving(|mut wire| async move {
        wire.exactly(1).await;
        std::future::pending().await
    })
    .await;
    let (sluice, address) = with_times(&peer, |times| times.half_closed = Duration::from_millis(200)).await;
    let mut client = Wire::to(address).await;
    client.send("?").await;
    client.finish().await;
    let began = Instant::now();
    client.end().await;
    assert!(began.elapsed() >= Duration::from_millis(195), "{:?}", began.elapsed());
    ended(&sluice, Outcome::HalfClosed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_stream_leaves_the_thread_to_others() {
    let peer = Peer::serving(|mut wire| async move {
        let first = wire.exactly(1).await;
        if first == b"f" {
            let block = pattern(1_000_000);
            while wire.try_send(&block).await.is_ok() {}
        } else {
            wire.send(first).await;
        }
    })
    .await;
    let (sluice, address) = before(&peer).await;
    let mut flooded = Wire::to(address).await;
    flooded.send("f").await;
    let draining = tokio::spawn(async move {
        let mut buffer = vec![0; 1_000_000];
        while flooded.stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
    });
    let listener = sluice.listener(web());
    let moved = || listener.bytes_by(Path::Splice).1;
    eventually("the flood", || (moved() > STREAM as u64).then_some(())).await;
    for _ in 0..20 {
        let mut client = Wire::to(address).await;
        client.send("x").await;
        assert_eq!(client.exactly(1).await, b"x");
    }
    assert!(!draining.is_finished());
    draining.abort();
}

/// Runs a story of this file in a process of its own, which may be given less than this one. The story is one of the
/// ignored tests, so that it runs nowhere else.
fn apart(story: &str, with: impl FnOnce(PathBuf) -> Command) {
    let this = std::env::current_exe().unwrap();
    let mut command = with(this);
    let done = command.args(["--exact", story, "--ignored", "--nocapture"]).output().unwrap();
    let said = [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(done.status.success() && said.contains("1 passed"), "{story}: {said}");
}

async fn everything_is_copied() {
    let peer = Peer::echo().await;
    let (sluice, address) = before(&peer).await;
    let mut client = Wire::to(address).await;
    echo(&mut client, &pattern(STREAM)).await;
    counted(&sluice, Some(Path::Copy), STREAM).await;
    assert_eq!(sluice.listener(web()).bytes_by(Path::Splice), (0, 0));
}

#[test]
fn without_descriptors_for_pipes_streams_are_copied() {
    apart("no_descriptor_is_left", Command::new);
}

#[tokio::test]
#[ignore = "takes all descriptors of its process"]
async fn no_descriptor_is_left() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = Rlimit { current: Some(128), ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, limit).unwrap();
    let peer = Peer::echo().await;
    let (sluice, address) = before(&peer).await;
    let mut client = Wire::to(address).await;
    echo(&mut client, b"both sides are open").await;
    let mut hoard = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hoard.push(file);
    }
    echo(&mut client, &pattern(STREAM)).await;
    assert_eq!(sluice.listener(web()).bytes_by(Path::Splice), (0, 0));
    drop(hoard);
    // It recovers as soon as there are some.
    echo(&mut client, &pattern(2 * STREAM)).await;
    assert!(sluice.listener(web()).bytes_by(Path::Splice).0 > 0);
}

#[test]
fn above_the_kernels_share_of_pipe_pages_streams_are_copied() {
    const NOBODY: u32 = 65_534;
    apart("the_share_of_pages_is_used_up", |this| {
        let mut command = Command::new(this);
        // The superuser has no such limit.
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY).current_dir("/");
        }
        command
    });
}

#[tokio::test]
#[ignore = "uses its user's share of pages in pipes up"]
async fn the_share_of_pages_is_used_up() {
    let mut hoard = Vec::new();
    // The kernel gives ever smaller pipes, then refuses to enlarge them.
    loop {
        let pipe = rustix::pipe::pipe().unwrap();
        let enlarged = rustix::pipe::fcntl_setpipe_size(&pipe.1, 1 << 20);
        hoard.push(pipe);
        if enlarged.is_err() || hoard.len() > 2_000 {
            break;
        }
    }
    assert!(hoard.len() < 2_000, "no limit here: pipe-user-pages-soft is 0?");
    while let Ok(pipe) = rustix::pipe::pipe()
        && rustix::pipe::fcntl_getpipe_size(&pipe.1).unwrap() > 8192
        && hoard.len() < 2_000
    {
        hoard.push(pipe);
    }
    everything_is_copied().await;
}

#[test]
fn segments_of_ethernets_size_fill_a_pipe_by_slots_and_lose_no_wake() {
    let permitted = Command::new("unshare").args(["-rn", "true"]).status().is_ok_and(|status| status.success());
    if !permitted {
        println!("SKIPPED: this user may make no network namespace, so loopback keeps its large segments");
        return;
    }
    apart("loopback_is_an_ethernet", |this| {
        let mut command = Command::new("unshare");
        let script = "ip link set lo up mtu 1500 && ip link set lo gso_max_segs 1 && exec \"$0\" \"$@\"";
        command.args(["-rn", "sh", "-c", script]).arg(this);
        command
    });
}

#[tokio::test]
#[ignore = "wants a loopback of its own"]
async fn loopback_is_an_ethernet() {
    let peer = Peer::echo().await;
    let (sluice, address) = before(&peer).await;
    let mut client = Wire::to(address).await;
    echo(&mut client, &pattern(4 * STREAM)).await;
    counted(&sluice, None, 4 * STREAM).await;
    assert!(sluice.listener(web()).bytes_by(Path::Splice).0 > STREAM as u64);
}
