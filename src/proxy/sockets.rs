//! The supervisor: open sockets follow the snapshot, one set per data thread.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use super::thread::{self, Birth, Command};
use crate::drain;
use crate::model::intent::ListenerKey;
use crate::model::live::Live;
use crate::model::live::listener::Socket;
use crate::model::snapshot::{Snapshot, Snapshots};
use crate::net::{holder, socket};
use crate::ready::{Pending, Ready};

/// How a proxy is run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Data threads, at least 1.
    pub workers: usize,
    /// Starts the draws of chance.
    pub seed: u64,
}

/// How often a socket that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The data threads and what they listen on.
#[derive(Debug)]
pub struct Proxy {
    snapshots: Arc<Snapshots>,
    live: Arc<Live>,
    ready: Ready,
    threads: Vec<Thread>,
    force: watch::Sender<bool>,
    open: BTreeSet<ListenerKey>,
    missing: Vec<Missing>,
    /// Until the sockets of the first publication were tried.
    first: Option<Pending>,
}

/// A socket that could not be opened.
#[derive(Debug)]
struct Missing {
    key: ListenerKey,
    reason: String,
    /// While it is essential.
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Thread {
    commands: mpsc::UnboundedSender<Command>,
    handle: JoinHandle<()>,
}

impl Proxy {
    /// Starts the data threads. Nothing is listened on before [`Self::follow`].
    ///
    /// # Errors
    /// When the system gives no thread or no epoll.
    pub fn start(
        settings: Settings,
        snapshots: Arc<Snapshots>,
        live: Arc<Live>,
        ready: Ready,
        drain: &drain::Watch,
    ) -> io::Result<Self> {
        let (force, forced) = watch::channel(false);
        let mut threads = Vec::with_capacity(settings.workers);
        for shard in 1..=settings.workers.max(1) {
            // Unbounded, since only the supervisor sends, a few words per listener and change.
            let (commands, inbox) = mpsc::unbounded_channel();
            let handle = thread::spawn(Birth {
                shard,
                seed: settings.seed.wrapping_add(shard as u64),
                snapshots: snapshots.clone(),
                drain: drain.clone(),
                force: forced.clone(),
                commands: inbox,
            })?;
            threads.push(Thread { commands, handle });
        }
        let first = Some(ready.pending("listening sockets"));
        Ok(Self { snapshots, live, ready, threads, force, open: BTreeSet::new(), missing: Vec::new(), first })
    }

    /// Opens and closes sockets as snapshots come, and tries those again that could not be opened, until the drain
    /// begins.
    pub async fn follow(&mut self, drain: drain::Watch) {
        let mut changed = self.snapshots.changed();
        loop {
            let snapshot = self.snapshots.current();
            self.match_sockets(&snapshot).await;
            if snapshot.generation > 0 {
                self.first = None;
            }
            drop(snapshot);
            let retry = async {
                if self.missing.is_empty() { std::future::pending().await } else { tokio::time::sleep(RETRY).await }
            };
            tokio::select! {
                _ = changed.changed() => {}
                () = retry => {}
                () = drain.begun() => break,
            }
        }
    }

    /// Drops what still runs and waits for the threads. Blocks for an instant.
    pub fn force(self) {
        self.force.send_replace(true);
        for thread in self.threads {
            drop(thread.commands);
            // A thread that panicked has told so itself.
            let _ = thread.handle.join();
        }
    }

    async fn match_sockets(&mut self, snapshot: &Snapshot) {
        let gone: Vec<_> = self.open.iter().filter(|key| !snapshot.listeners.contains_key(key)).copied().collect();
        for key in gone {
            self.close(key);
        }
        self.missing.retain(|missing| snapshot.listeners.contains_key(&missing.key));
        let mut wanted: Vec<_> = snapshot.listeners.keys().filter(|key| !self.open.contains(key)).copied().collect();
        wanted.sort();
        for key in wanted {
            self.open(key).await;
        }
        for missing in &mut self.missing {
            let is_essential = snapshot.listeners.get(&missing.key).is_some_and(|plan| plan.intent.essential);
            if !is_essential {
                missing.pending = None;
            } else if missing.pending.is_none() {
                missing.pending = Some(self.ready.pending(format!("listener {}: {}", missing.key, missing.reason)));
            }
        }
    }

    async fn open(&mut self, key: ListenerKey) {
        let state = self.live.listener(&key);
        let error = match socket::listen(key.address, self.threads.len()) {
            Ok(sockets) => {
                let bound = sockets.first().and_then(|s| s.local_addr().ok()).unwrap_or(key.address);
                for (thread, socket) in self.threads.iter().zip(sockets) {
                    // A thread that is gone serves nothing any more; the others do.
                    let _ = thread.commands.send(Command::Open(key, socket, state.clone()));
                }
                state.set_socket(Socket::Open(bound));
                self.missing.retain(|missing| missing.key != key);
                self.open.insert(key);
                info!(address = %bound, "listening");
                return;
            }
            Err(error) => error,
        };
        if self.missing.iter().all(|missing| missing.key != key) {
            let reason = explain(key.address, &error).await;
            warn!(address = %key.address, "cannot listen: {reason}");
            state.set_socket(Socket::Failed(reason.as_str().into()));
            self.missing.push(Missing { key, reason, pending: None });
        }
    }

    fn close(&mut self, key: ListenerKey) {
        for thread in &self.threads {
            let _ = thread.commands.send(Command::Close(key));
        }
        self.live.listener(&key).set_socket(Socket::Closed);
        self.open.remove(&key);
        info!(address = %key.address, "no longer listening");
    }
}

/// What to do about an address that cannot be bound.
async fn explain(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let holder = tokio::task::spawn_blocking(move || holder::of(address)).await.ok().flatten();
            let by = holder.unwrap_or_else(|| "another process".to_owned());
            format!("{address} is taken by {by}; stop it or choose another port")
        }
        io::ErrorKind::PermissionDenied => {
            format!("{address} needs a right: run as root, or give CAP_NET_BIND_SERVICE, or choose a port from 1024 on")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("{address} is not an address of this host; add it to an interface or choose one that is")
        }
        _ => format!("{address}: {error}"),
    }
}
