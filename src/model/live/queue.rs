//! Limits of backends, and the line of those who wait for one that has room.
//!
//! Theory. Each backend of a pool with a limit has *slots*: one shared number, taken by compare-and-swap and given back
//! when the lease that holds one is dropped. The pool has one *line*. Whoever finds every backend full joins it; whoever
//! comes while somebody stands there joins it too, so that nobody is overtaken. Only the first in the line picks, by the
//! pool's own rule and the snapshot of that moment; a slot that is given back wakes the first, and whoever leaves the
//! line, served or not, wakes the one that is first then. A wake-up is a right to look and not a slot, so it cannot be
//! lost with a waiter that is dropped, and a backend that went away in between is simply not picked.
//!
//! That no wake-up is missed: a waiter first shows itself in `waiting` and then looks at the slots; who gives one back
//! first gives it back and then looks at `waiting`. Both are sequentially consistent, so one of the two sees the other.
//!
//! The line is locked by those who join, leave or wake, for a moment each, and never where no limit is set.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The line of one pool.
#[derive(Debug, Default)]
pub struct QueueState {
    waiting: AtomicUsize,
    line: Mutex<VecDeque<Arc<Notify>>>,
}

impl QueueState {
    /// How many wait now.
    pub fn length(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// Joins the line at its end. `None`: so many wait already.
    pub fn join(self: &Arc<Self>, most: u32) -> Option<Waiter> {
        let mut line = self.lock();
        if line.len() >= most as usize {
            return None;
        }
        let ticket = Arc::new(Notify::new());
        line.push_back(ticket.clone());
        self.waiting.store(line.len(), SeqCst);
        Some(Waiter { queue: self.clone(), ticket })
    }

    /// Lets the first in the line look, for a backend may have come up. Costs next to nothing where nobody waits.
    pub fn look(&self) {
        if self.length() > 0 {
            self.wake_first();
        }
    }

    fn wake_first(&self) {
        if let Some(first) = self.lock().front() {
            first.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Notify>>> {
        // A panic under the lock cannot leave the line half changed: each change is one call.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the line. Dropping it leaves the line, and lets the next one look.
#[derive(Debug)]
pub struct Waiter {
    queue: Arc<QueueState>,
    ticket: Arc<Notify>,
}

impl Waiter {
    /// Whether it is this one's turn to pick.
    pub fn is_first(&self) -> bool {
        self.queue.lock().front().is_some_and(|first| Arc::ptr_eq(first, &self.ticket))
    }

    /// Returns when this one may have become the first, or, being it, when there may be room. A wake-up from before the
    /// call counts. Cancellation loses nothing.
    pub async fn woken(&self) {
        self.ticket.notified().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut line = self.queue.lock();
        // Who leaves mostly is near the front.
        if let Some(at) = line.iter().position(|ticket| Arc::ptr_eq(ticket, &self.ticket)) {
            line.remove(at);
            self.queue.waiting.store(line.len(), SeqCst);
            if at == 0
                && let Some(first) = line.front()
            {
                first.notify_one();
            }
        }
    }
}

/// What one backend has taken of a pool's limit.
#[derive(Debug)]
pub struct SlotState {
    taken: AtomicU32,
    queue: Arc<QueueState>,
}

impl SlotState {
    pub(super) fn new(queue: Arc<QueueState>) -> Self {
        Self { taken: AtomicU32::new(0), queue }
    }

    /// Whether fewer than `most` are taken.
    pub fn has_room(&self, most: u32) -> bool {
        self.taken.load(SeqCst) < most
    }

    /// Takes one of `most`, if there is one.
    pub fn take(self: &Arc<Self>, most: u32) -> Option<Slot> {
        let more = |taken: u32| (taken < most).then_some(taken + 1);
        self.taken.fetch_update(SeqCst, SeqCst, more).is_ok().then(|| Slot(self.clone()))
    }
}

/// One slot of a backend. Dropping it gives it back and wakes the first who waits; any thread may.
#[derive(Debug)]
pub struct Slot(Arc<SlotState>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, SeqCst);
        self.0.queue.look();
    }
}

#[cfg(test)]
mod tests;
