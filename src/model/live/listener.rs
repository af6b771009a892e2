//! What is happening on one listening address: whether its socket is open, its counts, what its limits hold; and what
//! each of its connections holds while it lives ([`Admitted`]). A UDP flow counts as a connection.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::datagrams::DatagramState;
use super::gate::{Gate, Place};
use super::quota::Bandwidth;
use super::shard::{Count, Sharded, sum};
use super::sources::{SourceGuard, Sources};
use crate::model::outcome::{Outcome, Refusal};
use crate::model::words::words;

words! {
    /// How payload went through the process.
    pub enum Path,
    /// The value of the label `path`.
    fn label {
        /// Through user space.
        Copy = "copy",
        /// From socket to socket inside the kernel.
        Splice = "splice",
    }
}

words! {
    /// How a TLS handshake went that ended well.
    pub enum Handshake,
    /// The value of the label `kind`.
    fn label {
        /// With a certificate, which costs a signature.
        Full = "full",
        /// By a session from before.
        Resumed = "resumed",
    }
}

/// Counters of one listening address, and whether its socket is open.
#[derive(Debug)]
pub struct ListenerState {
    shards: Sharded<ListenerShard>,
    socket: Mutex<Socket>,
    /// What a UDP listener counts beside its flows, which are its connections.
    pub datagrams: DatagramState,
    gate: Gate,
    bandwidth: Bandwidth,
    sources: OnceLock<Sources>,
}

/// Whether a listener's socket is open.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Socket {
    /// Not tried yet, or closed again.
    #[default]
    Closed,
    /// Listening, on this address (the kernel's choice where port 0 was asked).
    Open(SocketAddr),
    /// Could not be opened; why, and what to do.
    Failed(Arc<str>),
}

#[derive(Debug, Default)]
struct ListenerShard {
    accepted: Count,
    active: Count,
    bytes_in: [Count; Path::ALL.len()],
    bytes_out: [Count; Path::ALL.len()],
    refused: [Count; Refusal::ALL.len()],
    ended: [Count; Outcome::ALL.len()],
    shaken: [Count; Handshake::ALL.len()],
}

impl ListenerState {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            shards: Sharded::new(shards),
            socket: Mutex::default(),
            gate: Gate::default(),
            bandwidth: Bandwidth::default(),
            sources: OnceLock::new(),
            datagrams: DatagramState::new(shards),
        }
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// What is known of sources, made when a limit first asks for it.
    pub(super) fn sources(&self) -> &Sources {
        self.sources.get_or_init(Sources::default)
    }

    pub(super) fn sources_if_any(&self) -> Option<&Sources> {
        self.sources.get()
    }

    /// What all connections together have used of the listener's bandwidth.
    pub fn bandwidth(&self) -> &Bandwidth {
        &self.bandwidth
    }

    /// How many sources are remembered for their limits.
    pub fn sources_remembered(&self) -> usize {
        self.sources_if_any().map_or(0, Sources::remembered)
    }

    /// Whether the socket is open.
    pub fn socket(&self) -> Socket {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says what became of the socket. The proxy's supervisor alone does.
    pub fn set_socket(&self, socket: Socket) {
        *self.socket.lock().unwrap_or_else(PoisonError::into_inner) = socket;
    }

    /// A connection was refused.
    pub fn refuse(&self, why: Refusal) {
        self.refuse_many(why, 1);
    }

    /// So many datagrams that would have begun a flow were refused, which the kernel may hand over in one piece.
    pub fn refuse_many(&self, why: Refusal, datagrams: u64) {
        self.shards.here().refused[why as usize].add(datagrams);
    }

    /// Payload from clients and to clients that was copied, counted as it flows.
    pub fn moved(&self, from_client: u64, to_client: u64) {
        self.moved_by(Path::Copy, from_client, to_client);
    }

    /// Payload from clients and to clients, by the path it took, counted as it flows.
    pub fn moved_by(&self, path: Path, from_client: u64, to_client: u64) {
        let shard = self.shards.here();
        shard.bytes_in[path as usize].add(from_client);
        shard.bytes_out[path as usize].add(to_client);
    }

    /// A client shook hands.
    pub fn shook_hands(&self, how: Handshake) {
        self.shards.here().shaken[how as usize].add(1);
    }

    /// Handshakes that ended well and went this way.
    pub fn handshakes(&self, how: Handshake) -> u64 {
        sum(&self.shards, |s| &s.shaken[how as usize])
    }

    /// Connections accepted.
    pub fn accepted(&self) -> u64 {
        sum(&self.shards, |s| &s.accepted)
    }

    /// Connections open now.
    pub fn active(&self) -> u64 {
        sum(&self.shards, |s| &s.active)
    }

    /// Payload bytes from and to clients.
    pub fn bytes(&self) -> (u64, u64) {
        let by_path = Path::ALL.map(|path| self.bytes_by(path));
        by_path.iter().fold((0, 0), |(i, o): (u64, u64), path| (i.wrapping_add(path.0), o.wrapping_add(path.1)))
    }

    /// Payload bytes from and to clients that took this path.
    pub fn bytes_by(&self, path: Path) -> (u64, u64) {
        (sum(&self.shards, |s| &s.bytes_in[path as usize]), sum(&self.shards, |s| &s.bytes_out[path as usize]))
    }

    /// Connections and datagrams refused for this reason.
    pub fn refused(&self, why: Refusal) -> u64 {
        sum(&self.shards, |s| &s.refused[why as usize])
    }

    /// Connections that ended this way.
    pub fn ended(&self, how: Outcome) -> u64 {
        sum(&self.shards, |s| &s.ended[how as usize])
    }
}

/// One open connection of a client, or one flow: counted while it lives, its end counted once. Must be dropped on the
/// thread that made it.
#[derive(Debug)]
pub struct Admitted {
    state: Arc<ListenerState>,
    outcome: Outcome,
    place: Option<Place>,
    source: Option<SourceGuard>,
}

impl Admitted {
    /// Counts an accepted connection.
    pub fn new(state: Arc<ListenerState>) -> Self {
        let shard = state.shards.here();
        shard.accepted.add(1);
        shard.active.add(1);
        Self { state, outcome: Outcome::Stopped, place: None, source: None }
    }

    /// Holds a place of the listener while it lives.
    pub fn hold_place(&mut self, place: Option<Place>) {
        self.place = place;
    }

    /// Counts for its source while it lives.
    pub fn hold_source(&mut self, source: Option<SourceGuard>) {
        self.source = source;
    }

    /// Says how it ended; a connection whose task is dropped before was stopped.
    pub fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    /// The listener it came by.
    pub fn listener(&self) -> &Arc<ListenerState> {
        &self.state
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let shard = self.state.shards.here();
        shard.active.sub(1);
        shard.ended[self.outcome as usize].add(1);
    }
}
