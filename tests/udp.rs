//! UDP flows through a whole proxy: addresses, affinity, ends, moves, floods.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "udp/ends.rs"]
mod ends;
#[path = "udp/moves.rs"]
mod moves;
#[path = "udp/passing.rs"]
mod passing;
mod support;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sluice::model::intent::{ListenerKey, Protocol};
use sluice::model::live::{BackendKey, BackendState};
use support::asked::{pool, route};
use support::{Asked, PATIENCE, Sluice, eventually, soon};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// The UDP listener of these tests.
fn dns() -> ListenerKey {
    ListenerKey::udp("127.0.0.1:0".parse().unwrap())
}

/// A UDP listener `dns` whose flows go to a pool `site` of these backends.
fn datagrams(key: ListenerKey, backends: &[SocketAddr]) -> Asked {
    Asked::default().listener(key, "dns", Protocol::Udp, vec![route("*", "/", "site")]).pool("site", pool(backends))
}

/// Datagrams, and where each came from.
type Heard = Vec<(SocketAddr, Vec<u8>)>;

/// A backend that answers each datagram with `NAME:` and its bytes, and remembers where they came from.
struct Answering {
    address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    _task: JoinSet<()>,
}

impl Answering {
    async fn named(name: &str) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), name).await
    }

    async fn at(address: SocketAddr, name: &str) -> Self {
        let socket = UdpSocket::bind(address).await.unwrap();
        let address = socket.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (name, told) = (name.to_owned(), heard.clone());
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut bytes = vec![0; 70_000];
            loop {
                let Ok((length, from)) = socket.recv_from(&mut bytes).await else { continue };
                told.lock().unwrap().push((from, bytes[..length].to_vec()));
                let answer = [name.as_bytes(), &bytes[..length]].concat();
                let _ = socket.send_to(&answer, from).await;
            }
        });
        Self { address, heard, _task: task }
    }

    /// What came, and from which of the proxy's ports.
    fn heard(&self) -> Heard {
        self.heard.lock().unwrap().clone()
    }
}

/// A client on a port of its own, connected: it hears answers from the address it sends to alone.
struct Client(UdpSocket);

impl Client {
    async fn of(proxy: SocketAddr) -> Self {
        let any = if proxy.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        Self::from(any.parse().unwrap(), proxy).await
    }

    async fn from(own: SocketAddr, proxy: SocketAddr) -> Self {
        let socket = UdpSocket::bind(own).await.unwrap();
        socket.connect(proxy).await.unwrap();
        Self(socket)
    }

    async fn send(&self, bytes: &[u8]) {
        self.0.send(bytes).await.unwrap();
    }

    async fn answer(&self) -> Vec<u8> {
        let mut bytes = vec![0; 70_000];
        let length = soon("an answer", self.0.recv(&mut bytes)).await.unwrap();
        bytes.truncate(length);
        bytes
    }

    async fn ask(&self, bytes: &[u8]) -> Vec<u8> {
        self.send(bytes).await;
        self.answer().await
    }

    /// Asks until the answer is this one. Datagrams may be lost on the way, as when their backend goes.
    async fn ask_until(&self, bytes: &[u8], wanted: &[u8]) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut answer = vec![0; 70_000];
        loop {
            assert!(tokio::time::Instant::now() < deadline, "waited for {}", String::from_utf8_lossy(wanted));
            self.send(bytes).await;
            let one = tokio::time::timeout(Duration::from_millis(100), self.0.recv(&mut answer)).await;
            if let Ok(Ok(length)) = one
                && answer[..length] == *wanted
            {
                return;
            }
        }
    }
}

/// The live state of a backend.
fn backend_of(sluice: &Sluice, address: SocketAddr) -> Arc<BackendState> {
    sluice.live.backend(&BackendKey { address, instance: "".into() })
}

/// Waits until the listener has so many flows.
async fn flows(sluice: &Sluice, key: ListenerKey, count: u64) {
    let listener = sluice.listener(key);
    eventually("the flows to be counted", || (listener.active() == count).then_some(())).await;
}
