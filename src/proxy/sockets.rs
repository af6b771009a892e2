//! The supervisor: open sockets follow the snapshot, one set per data thread.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use super::Scarce;
use super::limit::descriptors::Budget;
use super::limit::memory::Memory;
use super::thread::{self, Birth, Command, Opened};
use super::thrift::Thrift;
use crate::drain;
use crate::model::intent::{ListenerKey, Transport};
use crate::model::live::Live;
use crate::model::live::listener::Socket;
use crate::model::snapshot::{Snapshot, Snapshots};
use crate::net::holder::{self, Holder, Table};
use crate::net::{datagram, reserve, socket};
use crate::ready::{Pending, Ready};

/// How a proxy is run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Data threads, at least 1.
    pub workers: usize,
    /// Starts the draws of chance.
    pub seed: u64,
    /// The most memory the process should take, in bytes; near it new connections are refused. `None`: no limit.
    pub memory_limit: Option<u64>,
}

/// How often a socket that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often it is looked for anew who holds an address, while the error stays the same: the search walks /proc.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// The data threads and what they listen on.
#[derive(Debug)]
pub struct Proxy {
    snapshots: Arc<Snapshots>,
    live: Arc<Live>,
    ready: Ready,
    memory: Memory,
    memory_limit: Option<u64>,
    thrift: Thrift,
    threads: Vec<Thread>,
    force: watch::Sender<bool>,
    /// What is open, with a share in its datagram sockets: as long as none of an address closes, the kernel gives a
    /// client's datagrams to the same one, even when some threads end before others.
    open: BTreeMap<ListenerKey, Vec<UdpSocket>>,
    missing: BTreeMap<ListenerKey, Missing>,
    /// Until the sockets of the first publication were tried.
    first: Option<Pending>,
}

/// A socket that could not be opened.
#[derive(Debug)]
struct Missing {
    /// What the system said, and which of our own listeners is in the way.
    cause: (io::ErrorKind, Option<SocketAddr>),
    explained: Instant,
    reason: String,
    /// While it is essential.
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Thread {
    commands: mpsc::UnboundedSender<Command>,
    /// `None`: whoever started it drives it.
    handle: Option<JoinHandle<()>>,
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
        let (mut proxy, birth) = Self::without_threads(settings, snapshots, live, ready, drain);
        for shard in 1..=settings.workers.max(1) {
            let (birth, commands) = birth(shard);
            let handle = Some(thread::spawn(birth)?);
            proxy.threads.push(Thread { commands, handle });
        }
        Ok(proxy)
    }

    /// A proxy without threads of its own: the work of its one data thread is the future, to be driven on a `LocalSet` of
    /// a single-threaded runtime. So client, proxy and backends can take turns on one thread, where nothing happens
    /// between the looks of who drives them; fuzz targets do. `settings.workers` is taken as 1.
    pub fn on_this_thread(
        settings: Settings,
        snapshots: Arc<Snapshots>,
        live: Arc<Live>,
        ready: Ready,
        drain: &drain::Watch,
    ) -> (Self, impl Future<Output = ()> + 'static) {
        let settings = Settings { workers: 1, ..settings };
        let (mut proxy, birth) = Self::without_threads(settings, snapshots, live, ready, drain);
        let (birth, commands) = birth(1);
        proxy.threads.push(Thread { commands, handle: None });
        (proxy, thread::serve(birth))
    }

    /// All but the threads, and what each is born with and told by.
    fn without_threads(
        settings: Settings,
        snapshots: Arc<Snapshots>,
        live: Arc<Live>,
        ready: Ready,
        drain: &drain::Watch,
    ) -> (Self, impl Fn(usize) -> (Birth, mpsc::UnboundedSender<Command>)) {
        let (force, forced) = watch::channel(false);
        let epoch = Instant::now();
        let memory = Memory::default();
        let workers = settings.workers.max(1);
        let descriptors = Budget::new(reserve::connections(), workers);
        let thrift = Thrift::default();
        let scarce = Scarce { descriptors, memory: memory.clone(), passwords: Arc::default(), thrift: thrift.clone() };
        let first = Some(ready.pending("listening sockets"));
        let proxy = Self {
            snapshots: snapshots.clone(),
            live,
            ready,
            memory,
            memory_limit: settings.memory_limit,
            thrift,
            threads: Vec::with_capacity(workers),
            force,
            open: BTreeMap::new(),
            missing: BTreeMap::new(),
            first,
        };
        let drain = drain.clone();
        let birth = move |shard: usize| {
            // Unbounded, since only the supervisor sends, a few words per listener and change.
            let (commands, inbox) = mpsc::unbounded_channel();
            let birth = Birth {
                shard,
                workers,
                epoch,
                seed: settings.seed.wrapping_add(shard as u64),
                scarce: scarce.clone(),
                snapshots: snapshots.clone(),
                drain: drain.clone(),
                force: forced.clone(),
                commands: inbox,
            };
            (birth, commands)
        };
        (proxy, birth)
    }

    /// Opens and closes sockets as snapshots come, tries those again that could not be opened, watches over the memory
    /// limit, and gives back what resting connections let go of, until the drain begins.
    pub async fn follow(&mut self, drain: drain::Watch) {
        let memory = self.memory.clone().watch(self.memory_limit);
        let thrift = self.thrift.clone().tidy();
        tokio::select! {
            () = self.follow_sockets(drain) => {}
            () = memory => {}
            () = thrift => {}
        }
    }

    async fn follow_sockets(&mut self, drain: drain::Watch) {
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
            let _ = thread.handle.map(JoinHandle::join);
        }
    }

    async fn match_sockets(&mut self, snapshot: &Snapshot) {
        let gone: Vec<_> = self.open.keys().filter(|key| !snapshot.listeners.contains_key(key)).copied().collect();
        for key in gone {
            self.close(key);
        }
        self.missing.retain(|key, _| snapshot.listeners.contains_key(key));
        let mut wanted: Vec<_> =
            snapshot.listeners.keys().filter(|key| !self.open.contains_key(key)).copied().collect();
        wanted.sort();
        for key in wanted {
            self.open(key).await;
        }
        for (key, missing) in &mut self.missing {
            let is_essential = snapshot.listeners.get(key).is_some_and(|plan| plan.intent.essential);
            if !is_essential {
                missing.pending = None;
            } else if missing.pending.is_none() {
                missing.pending = Some(self.ready.pending(format!("listener {key}: {}", missing.reason)));
            }
        }
    }

    async fn open(&mut self, key: ListenerKey) {
        let state = self.live.listener(&key);
        let error = match listen(key, self.threads.len()) {
            Ok((sockets, bound, shares)) => {
                for (thread, socket) in self.threads.iter().zip(sockets) {
                    // A thread that is gone serves nothing any more; the others do.
                    let _ = thread.commands.send(Command::Open(key, socket, state.clone()));
                }
                state.set_socket(Socket::Open(bound));
                self.missing.remove(&key);
                self.open.insert(key, shares);
                info!(address = %ListenerKey { address: bound, ..key }, "listening");
                return;
            }
            Err(error) => error,
        };
        let cause = (error.kind(), self.in_the_way(key));
        let known = self.missing.get(&key);
        if known.is_some_and(|known| known.cause == cause && known.explained.elapsed() < LOOK_AGAIN) {
            return;
        }
        let reason = explain(key, &error, cause.1).await;
        if let Some(known) = self.missing.get_mut(&key).filter(|known| known.reason == reason) {
            (known.cause, known.explained) = (cause, Instant::now());
            return;
        }
        warn!(address = %key, "cannot listen: {reason}");
        state.set_socket(Socket::Failed(reason.as_str().into()));
        // The round that opens sockets makes readiness wait for it, if it is essential.
        self.missing.insert(key, Missing { cause, explained: Instant::now(), reason, pending: None });
    }

    /// The address of our own that excludes `key`: one of the two is every address of the family, on the same port.
    fn in_the_way(&self, key: ListenerKey) -> Option<SocketAddr> {
        let wanted = key.address;
        let open = self.open.keys().filter(|open| open.transport == key.transport);
        let bound = open.filter_map(|open| match self.live.listener(open).socket() {
            Socket::Open(bound) => Some(bound),
            Socket::Closed | Socket::Failed(_) => None,
        });
        let mut same = bound.filter(|b| b.port() == wanted.port() && b.is_ipv4() == wanted.is_ipv4());
        same.find(|b| *b == wanted || b.ip().is_unspecified() || wanted.ip().is_unspecified())
    }

    fn close(&mut self, key: ListenerKey) {
        for thread in &self.threads {
            let _ = thread.commands.send(Command::Close(key));
        }
        self.live.listener(&key).set_socket(Socket::Closed);
        self.open.remove(&key);
        info!(address = %key, "no longer listening");
    }
}

/// Opens a socket a thread; returns them, their address, and a share in each that has datagrams.
fn listen(key: ListenerKey, threads: usize) -> io::Result<(Vec<Opened>, SocketAddr, Vec<UdpSocket>)> {
    match key.transport {
        Transport::Tcp => {
            let sockets = socket::listen(key.address, threads)?;
            let bound = sockets.first().and_then(|s| s.local_addr().ok()).unwrap_or(key.address);
            Ok((sockets.into_iter().map(Opened::Streams).collect(), bound, Vec::new()))
        }
        Transport::Udp => {
            let sockets = datagram::listen(key.address, threads)?;
            let bound = sockets.first().and_then(|s| s.local_addr().ok()).unwrap_or(key.address);
            let shares = sockets.iter().map(UdpSocket::try_clone).collect::<io::Result<_>>()?;
            Ok((sockets.into_iter().map(Opened::Datagrams).collect(), bound, shares))
        }
    }
}

/// What to do about an address that cannot be bound. `ours` is the open listener of our own that has it.
async fn explain(key: ListenerKey, error: &io::Error, ours: Option<SocketAddr>) -> String {
    let address = key.address;
    let table = match key.transport {
        Transport::Tcp => Table::Tcp,
        Transport::Udp => Table::Udp,
    };
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            if let Some(ours) = ours {
                return format!("{address} is taken by our own listener {ours}; keep one, or choose another port");
            }
            match tokio::task::spawn_blocking(move || holder::of(address, table)).await.ok().flatten() {
                Some(Holder::Ourselves) => format!(
                    "{address} is taken by sluice itself (see process.admin; or a listener is just closing); \
                     choose another port"
                ),
                Some(Holder::Other(name)) => format!("{address} is taken by {name}; stop it or choose another port"),
                None => format!("{address} is taken by another process; stop it or choose another port"),
            }
        }
        io::ErrorKind::PermissionDenied => {
            format!("{address} needs a right: run as root, or give CAP_NET_BIND_SERVICE, or choose a port from 1024 on")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("{address} is not an address of this host; add it to an interface or choose one that is")
        }
        _ if error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => {
            format!("{address}: {error}; raise the limit of open files (LimitNOFILE)")
        }
        _ => format!("{address}: {error}"),
    }
}

#[cfg(test)]
mod tests;
