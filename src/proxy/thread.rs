//! One data thread: its runtime, its listeners, its end.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::error;

use super::{Scarce, Worker, listener, udp};
use crate::drain;
use crate::model::intent::{ListenerKey, Transport};
use crate::model::live::{ListenerState, shard};
use crate::model::snapshot::Snapshots;
use crate::net::accept::Listening;
use crate::net::socket;

/// What the supervisor tells a data thread.
#[derive(Debug)]
pub(super) enum Command {
    /// Serve this socket.
    Open(ListenerKey, Opened, Arc<ListenerState>),
    /// Stop accepting on it; its connections go on, its flows end.
    Close(ListenerKey),
}

/// A listening socket.
#[derive(Debug)]
pub(super) enum Opened {
    /// Of connections.
    Streams(std::net::TcpListener),
    /// Of datagrams.
    Datagrams(std::net::UdpSocket),
}

/// What a data thread is born with.
pub(super) struct Birth {
    /// Its shard of every counter, from 1.
    pub(super) shard: usize,
    /// How many data threads there are.
    pub(super) workers: usize,
    /// Where the time of picks begins.
    pub(super) epoch: Instant,
    /// Starts the thread's draws of chance.
    pub(super) seed: u64,
    pub(super) scarce: Scarce,
    pub(super) snapshots: Arc<Snapshots>,
    pub(super) drain: drain::Watch,
    /// Becomes true when what is left must be dropped.
    pub(super) force: watch::Receiver<bool>,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
}

/// How often a draining thread looks whether its last connection has ended.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// Starts the thread.
pub(super) fn spawn(birth: Birth) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("data-{}", birth.shard)).spawn(move || {
        let tasks = tokio::task::LocalSet::new();
        // As a task of its own: what the set itself waits for is polled whenever any task of it is woken.
        let living = tasks.spawn_local(serve(birth));
        if let Err(error) = tasks.block_on(&runtime, living) {
            error!(%error, "a data thread ended before its time");
        }
        // Dropping the set drops what was forced to end; each connection counts itself as stopped.
    })
}

/// What the thread does: serves until it is to end. Counts on the thread that it is first polled on.
pub(super) async fn serve(birth: Birth) {
    let Birth { shard, workers, epoch, seed, scarce, snapshots, drain, mut force, mut commands } = birth;
    shard::enter(shard);
    let mut changed = snapshots.changed();
    let guard = drain.guard();
    let worker = Rc::new(Worker::new(snapshots.reader(), drain, epoch, seed, scarce));
    let commons = Rc::new(udp::Commons::new(socket::descriptors(), workers));
    let mut accepting = Accepting::default();
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Open(key, Opened::Streams(socket), state)) => {
                    accepting.open(&worker, key, socket, state);
                }
                Some(Command::Open(key, Opened::Datagrams(socket), state)) => {
                    let changed = snapshots.changed();
                    let serving = udp::serve(worker.clone(), commons.clone(), key, socket, state, changed);
                    accepting.0.insert(key, tokio::task::spawn_local(serving).abort_handle());
                }
                Some(Command::Close(key)) => accepting.close(&key),
                // The supervisor is gone: the process is stopping.
                None => break,
            },
            Ok(()) = changed.changed() => {
                worker.reader.refresh();
                worker.published.notify_waiters();
            }
            () = worker.drain.begun() => break,
        }
    }
    drop(accepting);
    let idle = async {
        while !worker.is_idle() {
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    };
    tokio::select! {
        () = idle => {}
        _ = force.wait_for(|force| *force) => {}
    }
    drop(guard);
}

/// The accept loops of this thread, and the tasks of its UDP sockets.
#[derive(Default)]
struct Accepting(HashMap<ListenerKey, AbortHandle>);

impl Accepting {
    fn open(
        &mut self,
        worker: &Rc<Worker>,
        key: ListenerKey,
        socket: std::net::TcpListener,
        state: Arc<ListenerState>,
    ) {
        match Listening::new(socket) {
            Ok(socket) => {
                let task = tokio::task::spawn_local(listener::accept(worker.clone(), key, socket, state));
                self.0.insert(key, task.abort_handle());
            }
            Err(error) => error!(listener = %key, %error, "cannot watch a socket on this thread"),
        }
    }

    fn close(&mut self, key: &ListenerKey) {
        if let Some(task) = self.0.remove(key) {
            task.abort();
        }
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        // Flows need their listening socket to the end; by themselves they see that no new one may begin.
        let streams = self.0.iter().filter(|(key, _)| key.transport == Transport::Tcp);
        streams.for_each(|(_, task)| task.abort());
    }
}
