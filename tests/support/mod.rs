//! What the tests of the data plane share: a whole proxy in this process, peers on loopback, raw wires.
//!
//! `asked` makes intents, `peer` backends, `wire` speaks to either side byte by byte. Nothing here sleeps for a fixed
//! time: what must come is waited for, at most [`PATIENCE`].

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::disallowed_methods, reason = "tests own their tasks")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]
#![allow(unused_imports, reason = "each test binary uses its part")]
#![allow(unreachable_pub, reason = "shared by test binaries, which have no outside")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sluice::drain;
use sluice::model::compile::compile;
use sluice::model::intent::{Intent, ListenerKey, PoolName};
use sluice::model::live::listener::Socket;
use sluice::model::live::{ListenerState, Live, PoolState, ServeKey, ServeState};
use sluice::model::problem::Problem;
use sluice::model::snapshot::Snapshots;
use sluice::proxy::{Proxy, Settings};
use sluice::ready::Ready;
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub mod asked;
pub mod introduced;
pub mod peer;
pub mod plain;
pub mod tls;
pub mod wire;

pub use asked::Asked;
pub use peer::{Peer, Reply};
pub use wire::{Message, Wire};

/// How long anything may take that must come.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until `found` gives something, looking again and again. Panics with `what` when it does not come.
pub async fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits for a future. Panics with `what` when it takes too long.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} for {what}"),
    }
}

/// A proxy in this process. Its data threads end when it is dropped and their connections have ended.
pub struct Sluice {
    pub snapshots: Arc<Snapshots>,
    pub live: Arc<Live>,
    pub ready: Ready,
    trigger: Option<drain::Trigger>,
    following: JoinHandle<Proxy>,
}

impl Sluice {
    /// Starts a proxy with one data thread and waits until its listeners are open.
    pub async fn start(intent: impl Into<Intent>) -> Self {
        Self::start_with(1, intent).await
    }

    /// Starts a proxy with so many data threads.
    pub async fn start_with(workers: usize, intent: impl Into<Intent>) -> Self {
        Self::start_in(workers, None, intent).await
    }

    /// Starts a proxy with so many data threads and so much memory.
    pub async fn start_in(workers: usize, memory_limit: Option<u64>, intent: impl Into<Intent>) -> Self {
        let snapshots = Arc::new(Snapshots::default());
        let live = Arc::new(Live::new(workers));
        let ready = Ready::default();
        let (trigger, watch) = drain::channel();
        let settings = Settings { workers, seed: 7, memory_limit };
        let mut proxy = Proxy::start(settings, snapshots.clone(), live.clone(), ready.clone(), &watch).unwrap();
        let following = tokio::spawn(async move {
            proxy.follow(watch).await;
            proxy
        });
        let sluice = Self { snapshots, live, ready, trigger: Some(trigger), following };
        let intent = intent.into();
        let problems = sluice.publish(&intent);
        assert_eq!(problems, [], "the intent has problems");
        for key in intent.listeners.keys() {
            sluice.address(*key).await;
        }
        sluice
    }

    /// Makes an intent the current one, as control does.
    pub fn publish(&self, intent: &Intent) -> Vec<Problem> {
        let (snapshot, problems) = compile(intent, &self.snapshots.current(), &self.live);
        self.snapshots.publish(snapshot);
        problems
    }

    /// Where a listener really listens, as soon as it does.
    pub async fn address(&self, key: ListenerKey) -> SocketAddr {
        let state = self.live.listener(&key);
        eventually("the listener to open", || match state.socket() {
            Socket::Open(address) => Some(address),
            Socket::Failed(reason) => panic!("{reason}"),
            Socket::Closed => None,
        })
        .await
    }

    /// The counters of a listener.
    pub fn listener(&self, key: ListenerKey) -> Arc<ListenerState> {
        self.live.listener(&key)
    }

    /// The counters of a pool.
    pub fn pool(&self, name: &str) -> Arc<PoolState> {
        self.live.pool(&PoolName::new(name))
    }

    /// The answers of listener `listener` from a pool, or those without a route.
    pub fn serve(&self, listener: &str, pool: Option<&str>) -> Arc<ServeState> {
        self.live.serve(&ServeKey { listener: listener.into(), pool: pool.map(PoolName::new) })
    }

    /// How many answers with this code went from a pool, or without a route.
    pub fn answers(&self, listener: &str, pool: Option<&str>, code: &str) -> u64 {
        let answers = self.serve(listener, pool).answers();
        answers.iter().filter(|(label, _)| label.to_string() == code).map(|(_, count)| count).sum()
    }

    /// Begins the drain; the handle tells whether everything ended within the time.
    pub fn drain(&mut self, within: Duration) -> JoinHandle<bool> {
        let trigger = self.trigger.take().expect("drained once");
        tokio::spawn(trigger.finish(within))
    }

    /// Drops what still runs and waits for the threads.
    pub async fn force(mut self) {
        // A dropped trigger ends the following too.
        drop(self.trigger.take());
        let proxy = soon("the supervisor to end", &mut self.following).await.unwrap();
        tokio::task::spawn_blocking(move || proxy.force()).await.unwrap();
    }
}
