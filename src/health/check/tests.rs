//! How soon what falls silent is found, on a clock that tests hold.

use std::net::SocketAddr;

use super::*;
use crate::model::live::{BackendKey, Live, ProbeKey};

/// An address that answers no handshake: its queue is full and nobody takes from it.
struct Dark {
    address: SocketAddr,
    _socket: tokio::net::TcpListener,
    _filler: std::net::TcpStream,
}

fn dark() -> Dark {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let socket = socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap();
    let filler = std::net::TcpStream::connect(address).unwrap();
    Dark { address, _socket: socket, _filler: filler }
}

/// A check of this address that found it up a moment ago.
fn check(live: &Live, address: SocketAddr, probe: Probe) -> Check {
    let key = BackendKey { address, instance: "".into() };
    let state = live.probe(&ProbeKey { backend: key.clone(), probe: probe.clone(), send_proxy: None });
    state.set(Verdict::Up, 0, None);
    let target = Target { address, send_proxy: None };
    Check { target, probe, state, backend: live.backend(&key), permits: Arc::new(Semaphore::new(4)) }
}

/// How long after a good check it is found down that the backend fell silent.
async fn found_after(probe: Probe) -> Duration {
    let (live, dark) = (Live::new(1), dark());
    let check = check(&live, dark.address, probe.clone());
    let (state, began) = (check.state.clone(), Instant::now());
    let story = async {
        while state.is_up() {
            sleep(Duration::from_millis(10)).await;
        }
        began.elapsed()
    };
    tokio::select! {
        () = check.run(probe.every) => unreachable!("it checks for ever"),
        found = story => found,
    }
}

#[tokio::test(start_paused = true)]
async fn what_falls_silent_is_found_down_in_two_and_a_half_seconds() {
    let found = found_after(Probe::default()).await;
    let bounds = Duration::from_millis(2_500)..Duration::from_millis(2_550);
    assert!(bounds.contains(&found), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn more_failures_take_longer_but_no_whole_interval_each() {
    let found = found_after(Probe { fall: 4, ..Probe::default() }).await;
    // Two rounds of one and a half timeouts, the second at once after the first.
    let bounds = Duration::from_millis(4_000)..Duration::from_millis(4_050);
    assert!(bounds.contains(&found), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn one_machine_that_is_silent_is_told_to_its_node() {
    let (live, dark) = (Live::new(1), dark());
    let check = check(&live, dark.address, Probe::default());
    check.round().await;
    assert_eq!(check.state.verdict(), Verdict::Down);
    assert_eq!(check.state.reason().as_deref(), Some("cannot connect: no answer within 1s"));
    assert!(check.backend.node().is_down(), "it has no other backend there");
    check.backend.connected();
    assert!(!check.backend.node().is_down());
}

#[tokio::test]
async fn a_refusal_says_that_the_machine_is_there() {
    let live = Live::new(1);
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let check = check(&live, address, Probe::default());
    check.round().await;
    assert_eq!((check.state.verdict(), check.state.streak()), (Verdict::Up, 1));
    check.round().await;
    assert_eq!(check.state.verdict(), Verdict::Down);
    assert!(!check.backend.node().is_suspected());
}
