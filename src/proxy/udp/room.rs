//! What the UDP listeners of one data thread share: batches to read into, and the descriptors their flows may use.
//!
//! A flow costs a descriptor, and sources can be invented, so flows together may use no more than a part of what the
//! process may open: the rest is for connections. Each listener is sure of an equal share, however many flows others
//! have; so in the worst case twice the part is used, which is why it is a quarter.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::net::datagram::Batch;

/// What the UDP listeners of one data thread share.
#[derive(Debug)]
pub(in crate::proxy) struct Commons {
    /// Where datagrams from clients are read to, then those from backends. Never borrowed across an await.
    pub(super) batches: RefCell<(Batch, Batch)>,
    room: Rc<Room>,
}

#[derive(Debug)]
struct Room {
    /// Flows that may be open.
    most: usize,
    flows: Cell<usize>,
    listeners: Cell<usize>,
}

/// One listener's claim to a share.
#[derive(Debug)]
pub(super) struct Share(Rc<Room>);

/// One flow's descriptor, taken while it lives.
#[derive(Debug)]
pub(super) struct Taken(Rc<Room>);

impl Commons {
    /// For one of `threads` data threads of a process that may open `descriptors`.
    pub(in crate::proxy) fn new(descriptors: usize, threads: usize) -> Self {
        let most = (descriptors / 4 / threads.max(1)).max(1);
        let room = Room { most, flows: Cell::new(0), listeners: Cell::new(0) };
        Self { batches: RefCell::default(), room: Rc::new(room) }
    }

    /// Counts a listener in.
    pub(super) fn share(&self) -> Share {
        self.room.listeners.set(self.room.listeners.get() + 1);
        Share(self.room.clone())
    }
}

impl Share {
    /// Whether the listener, which has `own` flows, may open one more.
    pub(super) fn has_room(&self, own: usize) -> bool {
        let room = &self.0;
        room.flows.get() < room.most || own < (room.most / room.listeners.get().max(1)).max(1)
    }

    /// Takes the place of one flow.
    pub(super) fn take(&self) -> Taken {
        self.0.flows.set(self.0.flows.get() + 1);
        Taken(self.0.clone())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.listeners.set(self.0.listeners.get().saturating_sub(1));
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.flows.set(self.0.flows.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_late_has_its_share_all_the_same() {
        let commons = Commons::new(800, 2);
        let (greedy, late) = (commons.share(), commons.share());
        let mut taken = Vec::new();
        while greedy.has_room(taken.len()) {
            taken.push(greedy.take());
        }
        assert_eq!(taken.len(), 100, "a quarter of the process, half of it for this thread");
        let mut own = Vec::new();
        while late.has_room(own.len()) {
            own.push(late.take());
        }
        assert_eq!(own.len(), 50);
        drop(taken);
        assert!(greedy.has_room(0));
        drop(late);
        drop(own);
        let again: Vec<_> = (0..100).map(|_| greedy.take()).collect();
        assert!(!greedy.has_room(again.len()));
    }
}
