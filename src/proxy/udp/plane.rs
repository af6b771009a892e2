//! The work of one UDP socket: datagrams to backends, replies to clients, flows that begin, move and end.
//!
//! Reads a batch from clients, sorts it by flow and begins flows; [`sending`] passes each flow's part on, [`replies`]
//! brings answers back. Owns how many flows there may be and how long they live; which one gives way is for `flows`,
//! where one leads for `backend`. Never waits: `udp` does, and says what the time is.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::backend::{self, Flow, Found, Reached};
use super::flows::{FlowId, Flows, Key};
use super::room::{Commons, Share};
use crate::model::balance::Tried;
use crate::model::intent::ListenerKey;
use crate::model::live::listener::Admitted;
use crate::model::live::{BackendState, ListenerState, Loss};
use crate::model::outcome::{Outcome, Refusal};
use crate::model::snapshot::{Decision, ListenerPlan, PoolPlan};
use crate::net::datagram::{self, Batch, Readiness, batch::SLOTS};
use crate::proxy::{Worker, limit};

/// The number of the listening socket among those waited for; no flow's, whose places end before.
const LISTENER: u64 = u64::MAX;
/// Rounds of work before other tasks of the thread have their turn.
const ROUNDS: usize = 4;
/// From so many numbers told on, doubles are taken out.
const CROWD: usize = 128;
/// Flows that are remembered when the listener has no limit of its own.
const MOST: u64 = 65_536;
/// How long a flow lives unused, and on the port of DNS, where a question has one answer.
const IDLE: Duration = Duration::from_secs(60);
const IDLE_DNS: Duration = Duration::from_secs(10);

mod replies;
mod sending;

/// One UDP socket and its flows.
#[derive(Debug)]
pub(super) struct Plane {
    /// Waits for all its sockets.
    pub(super) readiness: Readiness,
    /// Numbers of sockets that have something.
    pub(super) told: Vec<u64>,
    worker: Rc<Worker>,
    commons: Rc<Commons>,
    share: Share,
    key: ListenerKey,
    socket: UdpSocket,
    bound: SocketAddr,
    state: Arc<ListenerState>,
    listener: Option<Arc<ListenerPlan>>,
    pool: Option<Arc<PoolPlan>>,
    /// Whether any backend of the pool is available, once somebody asked in this round.
    is_up: Option<bool>,
    flows: Flows<Flow>,
    now: Duration,
    /// The listening socket may have more.
    is_ready: bool,
    is_stopping: bool,
    /// Keeps the thread from ending while there are flows.
    busy: Option<Rc<()>>,
}

impl Plane {
    /// Serves this socket by the snapshot of now.
    pub(super) fn new(
        worker: Rc<Worker>,
        commons: Rc<Commons>,
        key: ListenerKey,
        socket: UdpSocket,
        state: Arc<ListenerState>,
    ) -> io::Result<Self> {
        let readiness = Readiness::new()?;
        readiness.add(&socket, LISTENER)?;
        let bound = socket.local_addr()?;
        let share = commons.share();
        let mut plane = Self {
            readiness,
            told: Vec::new(),
            worker,
            commons,
            share,
            key,
            socket,
            bound,
            state,
            listener: None,
            pool: None,
            is_up: None,
            flows: Flows::default(),
            now: Duration::ZERO,
            is_ready: true,
            is_stopping: false,
            busy: None,
        };
        plane.follow();
        Ok(plane)
    }

    /// Goes by the current snapshot from now on. A flow whose backend left the pool still passes on what that one has
    /// to say, and moves with its client's next datagram.
    pub(super) fn follow(&mut self) {
        let (listener, pool) = self.worker.reader.read(|snapshot| {
            let pool = match snapshot.decide_connection(&self.key) {
                Decision::Forward { pool, .. } => Some(pool),
                _ => None,
            };
            (snapshot.listeners.get(&self.key).cloned(), pool)
        });
        self.listener = listener;
        let is_same = match (&self.pool, &pool) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (old, new) => old.is_none() && new.is_none(),
        };
        self.pool = pool;
        if is_same {
            return;
        }
        let backends = self.pool.iter().flat_map(|pool| (0u16..).zip(&pool.backends));
        let places: HashMap<*const BackendState, u16> =
            backends.map(|(place, backend)| (Arc::as_ptr(&backend.state), place)).collect();
        for flow in self.flows.values_mut() {
            let state = ptr::from_ref(flow.lease.state());
            flow.backend = places.get(&state).copied().unwrap_or(Flow::GONE);
        }
    }

    /// Begins no more flows.
    pub(super) fn stop_opening(&mut self) {
        self.is_stopping = true;
    }

    /// Ends flows of which nothing was heard for too long; returns when to look again, if any are left.
    pub(super) fn expire(&mut self) -> Option<Duration> {
        let asked = self.listener.as_ref().and_then(|listener| listener.intent.flow_idle);
        let idle = asked.unwrap_or_else(|| if self.bound.port() == 53 { IDLE_DNS } else { IDLE });
        while let Some(flow) = self.flows.expire(self.now, idle) {
            flow.admitted.end(Outcome::Idle);
        }
        self.keep_busy();
        // Not for each one by itself: those that end at about the same time end together.
        let grain = (idle / 64).min(Duration::from_secs(1));
        self.flows.next_expiry(idle).map(|next| next.max(self.now + grain))
    }

    /// Moves what can be moved without waiting. True when there is more to do at once.
    pub(super) fn work(&mut self, now: Duration) -> bool {
        (self.now, self.is_up) = (now, None);
        if self.told.len() > CROWD {
            // One that had more than was read stays, and may be told again.
            self.told.sort_unstable();
            self.told.dedup();
        }
        let commons = self.commons.clone();
        let (from_clients, from_backends) = &mut *commons.batches.borrow_mut();
        for _ in 0..ROUNDS {
            self.return_replies(from_backends);
            if self.is_ready {
                self.forward(from_clients);
            }
            if !self.is_ready && self.told.is_empty() {
                break;
            }
        }
        self.keep_busy();
        self.is_ready || !self.told.is_empty()
    }

    fn keep_busy(&mut self) {
        if self.flows.is_empty() {
            self.busy = None;
        } else if self.busy.is_none() {
            self.busy = Some(self.worker.busy());
        }
    }

    /// Reads a batch from clients and sends each flow's part to its backend.
    fn forward(&mut self, batch: &mut Batch) {
        batch.clear();
        // An error is none of a single client's; what comes after it is told anew.
        let count = batch.receive(&self.socket, SLOTS, false).unwrap_or(0);
        self.is_ready = count == SLOTS;
        let (mut datagrams, mut bytes) = (0, 0);
        let mut owners: [Option<FlowId>; SLOTS] = [None; SLOTS];
        for (n, owner) in owners.iter_mut().enumerate().take(count) {
            let slot = *batch.slot(n);
            datagrams += slot.datagrams();
            bytes += slot.length as u64;
            *owner = self.flow_of(slot.peer, slot.local.unwrap_or_else(|| self.bound.ip()), slot.datagrams());
        }
        self.state.moved(bytes, 0);
        self.state.datagrams.moved(datagrams, 0);
        for n in 0..count {
            let Some(id) = owners[n].take() else { continue };
            let mut part = [n; SLOTS];
            let mut length = 1;
            for (other, owner) in owners.iter_mut().enumerate().take(count).skip(n + 1) {
                if *owner == Some(id) {
                    *owner = None;
                    part[length] = other;
                    length += 1;
                }
            }
            self.send_part(batch, id, &part[..length]);
        }
    }

    /// The flow of a client, begun or moved if need be. `None`: its datagrams are dropped, and counted.
    fn flow_of(&mut self, client: SocketAddr, local: std::net::IpAddr, datagrams: u64) -> Option<FlowId> {
        let key = Key { client, local };
        let Some(id) = self.flows.heard(&key, self.now) else { return self.open(key, datagrams) };
        let (_, flow) = self.flows.get(id)?;
        let (backend, is_refused) = (flow.backend, flow.is_refused);
        if !is_refused && self.may_stay(backend) || self.relocate(id) {
            return Some(id);
        }
        self.state.datagrams.lose(Loss::NoBackend, datagrams);
        None
    }

    fn may_stay(&mut self, backend: u16) -> bool {
        let is_up = &mut self.is_up;
        self.pool
            .as_ref()
            .is_some_and(|pool| backend::may_stay(pool, backend, || *is_up.get_or_insert_with(|| pool.is_up())))
    }

    fn open(&mut self, key: Key, datagrams: u64) -> Option<FlowId> {
        let refusal = match &self.listener {
            None => Some(Refusal::NotServed),
            _ if self.is_stopping => Some(Refusal::NotServed),
            Some(listener) if !listener.sources.admits(key.client) => Some(Refusal::Source),
            // A client that claims to be us would be answered for ever.
            Some(_) if key.client == SocketAddr::new(key.local, self.bound.port()) => Some(Refusal::Source),
            Some(_) => None,
        };
        if let Some(why) = refusal {
            self.state.refuse_many(why, datagrams);
            return None;
        }
        let Some(pool) = self.pool.clone() else { return self.unserved(datagrams) };
        let source = key.client.ip();
        let limits = self.listener.as_ref().map(|listener| listener.intent.limits).unwrap_or_default();
        let held = match limit::admit_flow(&self.worker, &self.state, &limits, source) {
            Ok(held) => held,
            Err(why) => {
                self.state.refuse_many(why, datagrams);
                return None;
            }
        };
        self.make_room();
        let found = match backend::find(&self.worker, &pool, source, None, Tried::default()) {
            Found::Exhausted if self.evict() => backend::find(&self.worker, &pool, source, None, Tried::default()),
            found => found,
        };
        let Reached { socket, lease, backend } = match found {
            Found::Backend(reached) => reached,
            Found::Nothing | Found::Same => return self.unserved(datagrams),
            Found::Exhausted => {
                self.state.refuse_many(Refusal::Capacity, datagrams);
                return None;
            }
        };
        let mut counted = Admitted::new(self.state.clone());
        counted.hold_source(held);
        let flow = Flow {
            socket,
            lease,
            backend,
            is_refused: false,
            is_answered: false,
            is_coalescing: false,
            admitted: counted,
            _taken: self.share.take(),
        };
        let id = self.flows.open(key, flow, self.now)?;
        let watched = self.watch(id);
        if watched.is_none() {
            self.state.refuse_many(Refusal::Capacity, datagrams);
        }
        watched
    }

    fn watch(&mut self, id: FlowId) -> Option<FlowId> {
        let (_, flow) = self.flows.get(id)?;
        if self.readiness.add(&flow.socket, id.number()).is_ok() {
            return Some(id);
        }
        // Without watching, replies would be lost.
        self.end(id, Outcome::NoBackend);
        None
    }

    /// Counts a flow that could not begin for want of a backend.
    fn unserved(&self, datagrams: u64) -> Option<FlowId> {
        Admitted::new(self.state.clone()).end(Outcome::NoBackend);
        self.state.datagrams.lose(Loss::NoBackend, datagrams);
        None
    }

    /// Lets flows give way until one more fits. The limit is of all threads together; each lets its own give way.
    fn make_room(&mut self) {
        let asked = self.listener.as_ref().map_or(0, |listener| u64::from(listener.intent.limits.connections));
        let most = if asked == 0 { MOST } else { asked };
        while self.state.active() >= most || !self.share.has_room(self.flows.len()) {
            if !self.evict() {
                break;
            }
        }
    }

    fn evict(&mut self) -> bool {
        let gone = self.flows.give_way();
        gone.map(|flow| flow.admitted.end(Outcome::Evicted)).is_some()
    }

    fn end(&mut self, id: FlowId, outcome: Outcome) {
        if let Some(flow) = self.flows.close(id) {
            flow.admitted.end(outcome);
        }
    }

    /// Gives a flow another backend. False: there is none, and the flow has ended.
    fn relocate(&mut self, id: FlowId) -> bool {
        let Some((key, flow)) = self.flows.get(id) else { return false };
        let (source, current, is_refused) = (key.client.ip(), flow.backend, flow.is_refused);
        let mut tried = Tried::default();
        if is_refused && current != Flow::GONE {
            tried.add(usize::from(current));
        }
        let found = match &self.pool {
            Some(pool) => backend::find(&self.worker, pool, source, Some(current), tried),
            None => Found::Nothing,
        };
        match found {
            Found::Backend(reached) => {
                if let Some(pool) = &self.pool {
                    pool.state.retried();
                }
                if let Some((_, flow)) = self.flows.get_mut(id) {
                    (flow.socket, flow.lease, flow.backend) = (reached.socket, reached.lease, reached.backend);
                    (flow.is_refused, flow.is_answered, flow.is_coalescing) = (false, false, false);
                }
                return self.watch(id).is_some();
            }
            // No better one: it may have come back, and the next datagram will show.
            Found::Same | Found::Exhausted => {}
            Found::Nothing if is_refused && self.may_stay(current) => {}
            Found::Nothing => {
                self.end(id, Outcome::NoBackend);
                return false;
            }
        }
        if let Some((_, flow)) = self.flows.get_mut(id) {
            flow.is_refused = false;
        }
        true
    }
}

fn loss_of(error: &io::Error) -> Loss {
    if error.kind() == io::ErrorKind::WouldBlock {
        Loss::BufferFull
    } else if datagram::is_too_long(error) {
        Loss::TooLong
    } else {
        Loss::Unsendable
    }
}
