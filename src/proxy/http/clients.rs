//! Connections to backends that wait for their next request: one set a data thread, the last one used first.
//!
//! A connection comes back when its answer ended and hyper says that it is ready for another request, which includes
//! that the request was sent whole. It leaves when it is used, when the backend closes it, and after [`IDLE`].

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

use super::body::RequestBody;

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
    by_backend: RefCell<HashMap<SocketAddr, Rc<Shelf>>>,
    sweeping: Cell<bool>,
}

/// Those of one backend.
#[derive(Debug)]
pub(super) struct Shelf {
    waiting: RefCell<Vec<Waiting>>,
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

impl Clients {
    /// The connections to one backend.
    pub(super) fn of(&self, backend: SocketAddr) -> Rc<Shelf> {
        let mut shelves = self.0.by_backend.borrow_mut();
        let new = || Rc::new(Shelf { waiting: RefCell::default(), all: Rc::downgrade(&self.0) });
        shelves.entry(backend).or_insert_with(new).clone()
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
        if waiting.len() < MOST {
            waiting.push(Waiting { sender, since: now });
        }
        if let Some(all) = home.all.upgrade()
            && !all.sweeping.replace(true)
        {
            tokio::task::spawn_local(sweep(Rc::downgrade(&all)));
        }
    }
}

/// Closes what waited too long, until nothing waits any more.
async fn sweep(all: Weak<Shelves>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(all) = all.upgrade() else { return };
        let now = Instant::now();
        let mut shelves = all.by_backend.borrow_mut();
        shelves.retain(|_, shelf| {
            let mut waiting = shelf.waiting.borrow_mut();
            waiting.retain(|w| now - w.since < IDLE && !w.sender.is_closed());
            // One whose connections are all in use is kept: they find their way back to it.
            !waiting.is_empty() || Rc::strong_count(shelf) > 1
        });
        if shelves.is_empty() {
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
    use tokio::task::LocalSet;
    use tokio::time::sleep;

    use super::*;

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
                let shelf = clients.of("127.0.0.1:1".parse().unwrap());
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

    #[tokio::test(start_paused = true)]
    async fn one_that_the_backend_closed_is_not_used() {
        LocalSet::new()
            .run_until(async {
                let shelf = Clients::default().of("127.0.0.1:1".parse().unwrap());
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
