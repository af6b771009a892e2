//! READS. Serves what the snapshot says, on one data thread per core.
//!
//! The supervisor runs on the control runtime: it opens and closes sockets so that they follow the snapshot, and hands
//! each data thread its own of every address. A data thread is a single-threaded runtime; a connection never leaves the
//! thread that accepted it. The threads share the snapshot, Live and what is scarce in the process (descriptors,
//! memory), and nothing else.
//!
//! Knows nothing of who wrote the configuration.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::drain;
use crate::model::balance::{Ask, Client};
use crate::model::intent::{ListenerKey, Sticky};
use crate::model::live::listener::Admitted;
use crate::model::snapshot::{PoolPlan, Reader};
use crate::net::proxy_protocol::Ends;

mod announce;
mod connect;
mod http;
mod limit;
mod listener;
mod outcome;
mod passthrough;
mod passwords;
mod preface;
mod relay;
mod sockets;
mod tcp;
mod thread;
mod thrift;
mod tls;
pub mod udp;

pub use sockets::{Proxy, Settings};

/// A client's connection, whatever is spoken on it.
#[derive(Debug)]
struct Connection {
    /// The listener it came by.
    key: ListenerKey,
    /// The client: the peer, or who the peer's PROXY protocol header names.
    peer: SocketAddr,
    /// The port the client connected to.
    port: u16,
    /// The address the client connected to, where a PROXY protocol header told; otherwise the socket knows.
    to: Option<SocketAddr>,
    /// Counts it while it lives.
    admitted: Admitted,
    /// How fast it may go; `None`: as fast as it can.
    speed: Option<Rc<limit::speed::Speed>>,
    /// Tells the thread that it lives.
    _busy: Rc<()>,
    /// The descriptors that it may use.
    _held: Option<limit::descriptors::Held>,
}

/// What the process has only so much of, shared by all threads.
#[derive(Clone, Debug, Default)]
struct Scarce {
    descriptors: Arc<limit::descriptors::Budget>,
    memory: limit::memory::Memory,
    passwords: Arc<passwords::Passwords>,
    thrift: thrift::Thrift,
}

impl Connection {
    /// Both ends of the client's connection. `local` asks the socket, which is done only where the listener is open on
    /// all addresses.
    fn ends(&self, local: impl FnOnce() -> Option<SocketAddr>) -> Ends {
        let asked = self.key.address.ip();
        let here = || if asked.is_unspecified() { local() } else { None };
        let to = self.to.or_else(here).unwrap_or_else(|| SocketAddr::new(asked, self.port));
        Ends { from: self.peer, to }
    }
}

/// What every task of one data thread shares.
#[derive(Debug)]
struct Worker {
    /// The thread's view of the snapshot.
    reader: Reader,
    /// Tells that the process is stopping.
    drain: drain::Watch,
    /// Pooled connections to backends.
    clients: http::Clients,
    /// Where the time of picks and limits begins; the same for all threads.
    epoch: Instant,
    /// The places for connections that this thread has to give.
    descriptors: Rc<limit::descriptors::Descriptors>,
    /// Whether memory is short.
    memory: limit::memory::Memory,
    /// Checks names and passwords.
    passwords: Arc<passwords::Passwords>,
    /// Is told when a connection let go of memory.
    thrift: thrift::Thrift,
    /// Counts the bodies that are being compressed: one more than there are.
    encoders: Rc<()>,
    /// What mirrors have under way.
    mirrors: Rc<http::Mirrors>,
    /// How often clients' certificates were refused lately.
    refused: tls::Refused,
    /// Wakes at each publication.
    published: Notify,
    draws: Cell<u64>,
    busy: Rc<()>,
}

impl Worker {
    fn new(reader: Reader, drain: drain::Watch, epoch: Instant, seed: u64, scarce: Scarce) -> Self {
        Self {
            reader,
            drain,
            clients: http::Clients::default(),
            epoch,
            descriptors: limit::descriptors::Descriptors::new(scarce.descriptors),
            memory: scarce.memory,
            passwords: scarce.passwords,
            thrift: scarce.thrift,
            encoders: Rc::default(),
            mirrors: Rc::default(),
            refused: tls::Refused::default(),
            published: Notify::new(),
            draws: Cell::new(seed),
            busy: Rc::new(()),
        }
    }

    /// A number of chance (SplitMix64): good enough to spread load, not for secrets.
    fn draw(&self) -> u64 {
        let state = self.draws.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.draws.set(state);
        let mut x = state;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// What a pick for this client goes by.
    fn ask(&self, pool: &PoolPlan, client: &Client) -> Ask {
        let &Client { source, hash, kept } = client;
        // Nobody else looks at the clock.
        let looks = matches!(pool.intent.sticky, Some(Sticky::Source { .. }));
        let now = if looks { self.epoch.elapsed() } else { Duration::ZERO };
        Ask { chance: self.draw(), source, now, hash, kept }
    }

    /// Held by each connection, so that the thread knows when its last one ended.
    fn busy(&self) -> Rc<()> {
        self.busy.clone()
    }

    fn is_idle(&self) -> bool {
        Rc::strong_count(&self.busy) == 1
    }
}
