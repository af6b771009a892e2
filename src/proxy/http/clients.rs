//! Connections to backends that wait for their next request: one set a data thread, the last one used first.
//!
//! A connection comes back when its answer ended and hyper says that it is ready for another request, which includes
//! that the request was sent whole. It leaves when it is used, when the backend closes it, and after [`IDLE`]. A direct
//! connection, which nobody polls while it waits, is seen to be closed when it is to be used, or by the sweep.

use std::cell::{Cell, RefCell};
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

use super::body::RequestBody;
use super::direct::Direct;
use super::trunks::{Seat, Trunks};
use crate::model::map::Map;
use crate::model::speech::SpeechPlan;

/// How long a connection waits before it is closed. It bounds how long one stays open to a backend that left.
const IDLE: Duration = Duration::from_secs(30);
/// How often those that waited too long are looked for, while any wait.
const SWEEP: Duration = Duration::from_secs(5);
/// The most that wait for one backend on one thread.
const MOST: usize = 128;

/// The waiting connections of one data thread.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Clients(Rc<Shelves>);

#[derive(Debug, Default)]
struct Shelves {
    by_backend: RefCell<Map<SocketAddr, Rc<Shelf>>>,
    // Of backends that are spoken to otherwise than in HTTP/1.1 in the clear.
    sealed: RefCell<Map<Spoken, Rc<Shelf>>>,
    shared: RefCell<Map<Spoken, Rc<Trunks>>>,
    sweeping: Cell<bool>,
}

/// A backend and how it is spoken to. What was made under one plan is nobody's who goes by another.
#[derive(Clone, Debug)]
struct Spoken {
    backend: SocketAddr,
    plan: Arc<SpeechPlan>,
}

impl PartialEq for Spoken {
    fn eq(&self, other: &Self) -> bool {
        self.backend == other.backend && Arc::ptr_eq(&self.plan, &other.plan)
    }
}

impl Eq for Spoken {}

impl Hash for Spoken {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.backend.hash(state);
        Arc::as_ptr(&self.plan).hash(state);
    }
}

/// Those of one backend.
#[derive(Debug)]
pub(super) struct Shelf {
    waiting: RefCell<Vec<Waiting>>,
    directs: RefCell<Vec<(Rc<RefCell<Direct>>, Instant)>>,
    all: Weak<Shelves>,
}

#[derive(Debug)]
struct Waiting {
    sender: SendRequest<RequestBody>,
    since: Instant,
}

/// A connection in use, and where it goes afterwards.
#[derive(Debug)]
pub(super) struct Borrowed {
    /// Sends one request.
    pub(super) sender: SendRequest<RequestBody>,
    home: Rc<Shelf>,
}

/// A connection that carries a request, until its answer has ended.
#[derive(Debug)]
pub(super) enum Lent {
    /// By itself, through hyper.
    Own(Borrowed),
    /// By itself, read by its own client's task; and where it goes afterwards.
    Direct(Rc<RefCell<Direct>>, Rc<Shelf>),
    /// Among others.
    Shared(Seat),
}

impl Lent {
    /// Gives it back, if it can carry another request. Never blocks.
    pub(super) fn give_back(self, now: Instant) {
        match self {
            Self::Own(borrowed) => borrowed.give_back(now),
            Self::Direct(direct, home) => home.give_back(direct, now),
            Self::Shared(seat) => seat.give_back(now),
        }
    }
}

impl Clients {
    /// The connections to one backend that speak HTTP/1.1 in the clear, or as `speech` says.
    pub(super) fn of(&self, backend: SocketAddr, speech: Option<&Arc<SpeechPlan>>) -> Rc<Shelf> {
        let new =
            || Rc::new(Shelf { waiting: RefCell::default(), directs: RefCell::default(), all: Rc::downgrade(&self.0) });
        let Some(plan) = speech else {
            return self.0.by_backend.borrow_mut().entry(backend).or_insert_with(new).clone();
        };
        let spoken = Spoken { backend, plan: plan.clone() };
        self.0.sealed.borrow_mut().entry(spoken).or_insert_with(new).clone()
    }

    /// The connections to one backend that speak HTTP/2.
    pub(super) fn trunks(&self, backend: SocketAddr, plan: &Arc<SpeechPlan>) -> Rc<Trunks> {
        let spoken = Spoken { backend, plan: plan.clone() };
        self.0.begin_to_sweep();
        self.0.shared.borrow_mut().entry(spoken).or_default().clone()
    }
}

impl Shelves {
    fn begin_to_sweep(self: &Rc<Self>) {
        if !self.sweeping.replace(true) {
            tokio::task::spawn_local(sweep(Rc::downgrade(self)));
        }
    }
}

impl Shelf {
    /// The connection used last, if one waits that is still open.
    pub(super) fn take(self: &Rc<Self>) -> Option<Borrowed> {
        let mut waiting = self.waiting.borrow_mut();
        loop {
            let Waiting { sender, .. } = waiting.pop()?;
            if sender.is_ready() {
                return Some(Borrowed { sender, home: self.clone() });
            }
        }
    }

    /// The direct connection used last, if one waits that is still open.
    pub(super) fn take_direct(&self) -> Option<Rc<RefCell<Direct>>> {
        let mut directs = self.directs.borrow_mut();
        loop {
            let (direct, _) = directs.pop()?;
            if direct.borrow_mut().is_open() {
                return Some(direct);
            }
        }
    }

    fn give_back(&self, direct: Rc<RefCell<Direct>>, now: Instant) {
        // Nobody may still read of it.
        if Rc::strong_count(&direct) > 1 || !direct.borrow().is_idle() {
            return;
        }
        let mut directs = self.directs.borrow_mut();
        if directs.len() + self.waiting.borrow().len() < MOST {
            directs.push((direct, now));
        }
        drop(directs);
        if let Some(all) = self.all.upgrade() {
            all.begin_to_sweep();
        }
    }

    fn sweep(&self, now: Instant) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        waiting.retain(|w| now - w.since < IDLE && !w.sender.is_closed());
        let mut directs = self.directs.borrow_mut();
        directs.retain(|(direct, since)| now - *since < IDLE && direct.borrow_mut().is_open());
        !waiting.is_empty() || !directs.is_empty()
    }

    /// A fresh connection that belongs here.
    pub(super) fn lend(self: Rc<Self>, sender: SendRequest<RequestBody>) -> Borrowed {
        Borrowed { sender, home: self }
    }
}

impl Borrowed {
    /// Lets it wait for its next request, if it can take one. Never blocks.
    pub(super) fn give_back(self, now: Instant) {
        let Self { sender, home } = self;
        if !sender.is_ready() {
            return;
        }
        let mut waiting = home.waiting.borrow_mut();
        if waiting.len() + home.directs.borrow().len() < MOST {
            waiting.push(Waiting { sender, since: now });
        }
        if let Some(all) = home.all.upgrade() {
            all.begin_to_sweep();
        }
    }
}

/// Closes what waited too long, until nothing waits any more.
async fn sweep(all: Weak<Shelves>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(all) = all.upgrade() else { return };
        let now = Instant::now();
        // One whose connections are all in use is kept: they find their way back to it.
        let is_used = |shelf: &Rc<Shelf>| shelf.sweep(now) || Rc::strong_count(shelf) > 1;
        let mut shelves = all.by_backend.borrow_mut();
        shelves.retain(|_, shelf| is_used(shelf));
        let (mut sealed, mut shared) = (all.sealed.borrow_mut(), all.shared.borrow_mut());
        sealed.retain(|_, shelf| is_used(shelf));
        shared.retain(|_, trunks| trunks.sweep(now, IDLE) || Rc::strong_count(trunks) > 1);
        if shelves.is_empty() && sealed.is_empty() && shared.is_empty() {
            all.sweeping.set(false);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::client::conn::http1::handshake;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::LocalSet;
    use tokio::time::sleep;

    use super::*;
    use crate::proxy::http::line::Line;

    async fn connected(shelf: &Rc<Shelf>) -> (Borrowed, DuplexStream) {
        let (ours, theirs) = duplex(1024);
        let (mut sender, connection) = handshake(TokioIo::new(ours)).await.unwrap();
        tokio::task::spawn_local(connection);
        sender.ready().await.unwrap();
        (shelf.clone().lend(sender), theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_one_is_used_first_and_what_waits_too_long_is_closed() {
        LocalSet::new()
            .run_until(async {
                let clients = Clients::default();
                let shelf = clients.of("127.0.0.1:1".parse().unwrap(), None);
                let ((old, mut old_end), (new, mut new_end)) = (connected(&shelf).await, connected(&shelf).await);
                old.give_back(Instant::now());
                sleep(IDLE / 2).await;
                new.give_back(Instant::now());
                sleep(IDLE / 2 + SWEEP).await;
                // The old one was closed, so what is left is the new one.
                assert_eq!(old_end.read(&mut [0]).await.unwrap(), 0);
                let new = shelf.take().unwrap();
                assert!(shelf.take().is_none());
                new.give_back(Instant::now());
                drop(shelf);
                sleep(IDLE + SWEEP).await;
                assert_eq!(new_end.read(&mut [0]).await.unwrap(), 0);
                sleep(SWEEP).await;
                assert!(clients.0.by_backend.borrow().is_empty() && !clients.0.sweeping.get());
            })
            .await;
    }

    #[tokio::test]
    async fn a_direct_connection_comes_back_when_nobody_reads_of_it_and_leaves_when_it_is_closed() {
        LocalSet::new()
            .run_until(async {
                let clients = Clients::default();
                let shelf = clients.of("127.0.0.1:1".parse().unwrap(), None);
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let at = listener.local_addr().unwrap();
                let (ours, theirs) = tokio::join!(TcpStream::connect(at), listener.accept());
                let direct = Rc::new(RefCell::new(Direct::new(Line::Bare(ours.unwrap()))));
                let lend = || Lent::Direct(direct.clone(), shelf.clone());
                // Somebody else has it still: the test itself.
                lend().give_back(Instant::now());
                assert!(shelf.take_direct().is_none());
                let now = Instant::now();
                Lent::Direct(direct, shelf.clone()).give_back(now);
                let direct = shelf.take_direct().unwrap();
                assert!(shelf.take_direct().is_none());
                Lent::Direct(direct, shelf.clone()).give_back(now);
                assert!(shelf.sweep(now + IDLE / 2) && !shelf.sweep(now + IDLE));

                let (ours, closed) = tokio::join!(TcpStream::connect(at), listener.accept());
                let ours = ours.unwrap();
                drop((theirs, closed));
                ours.readable().await.unwrap();
                let direct = Rc::new(RefCell::new(Direct::new(Line::Bare(ours))));
                Lent::Direct(direct, shelf.clone()).give_back(now);
                assert!(!shelf.sweep(now) && shelf.take_direct().is_none());
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_the_backend_closed_is_not_used() {
        LocalSet::new()
            .run_until(async {
                let shelf = Clients::default().of("127.0.0.1:1".parse().unwrap(), None);
                let ((closed, end), (open, _end)) = (connected(&shelf).await, connected(&shelf).await);
                open.give_back(Instant::now());
                closed.give_back(Instant::now());
                drop(end);
                // Its task sees the end as soon as it runs.
                sleep(Duration::from_millis(1)).await;
                assert!(shelf.take().is_some() && shelf.take().is_none());
            })
            .await;
    }
}
