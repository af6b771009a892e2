//! A place for each connection of a client among the process's descriptors, taken before it is accepted.
//!
//! Theory: a connection that was accepted must be able to dial, and probes, the admin port and the watches of clusters
//! must go on whatever clients do. So connections are given a number of places that leaves a reserve
//! (`net::reserve`); when all are taken, threads stop accepting, and who comes waits in the kernel's queue until one
//! ends. One number for all threads would be a cache line that every accept fights for; so a thread borrows places by
//! the chunk and keeps up to two chunks of them. While others lack, it keeps none.
//!
//! Connections may need more than was planned for (HTTP/2 streams, waiting connections to backends, pipes). If the
//! system then has no descriptor for an accept, the thread rests for a moment; the reserve is for that too.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// A thread without a place looks again after this long: another may have given some back.
const LOOK: Duration = Duration::from_millis(100);
/// At most one line in the log in this time and thread.
const TELL: Duration = Duration::from_secs(10);
/// The largest chunk that is borrowed.
const CHUNK: usize = 64;

/// The places that no thread has.
#[derive(Debug)]
pub(in crate::proxy) struct Budget {
    left: AtomicUsize,
    chunk: usize,
    is_short: AtomicBool,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: AtomicUsize::new(usize::MAX / 2), chunk: CHUNK, is_short: AtomicBool::new(false) }
    }
}

impl Budget {
    /// A budget of so many places, for so many threads to borrow from. `None`: there is no limit.
    pub(in crate::proxy) fn new(places: Option<usize>, threads: usize) -> Arc<Self> {
        let Some(places) = places else { return Arc::default() };
        let chunk = (places / threads.max(1) / 16).clamp(1, CHUNK);
        Arc::new(Self { left: AtomicUsize::new(places), chunk, is_short: AtomicBool::new(false) })
    }

    /// Takes up to a chunk.
    fn borrow(&self) -> usize {
        let less = |left: usize| (left > 0).then(|| left - left.min(self.chunk));
        match self.left.fetch_update(Relaxed, Relaxed, less) {
            Ok(before) => before.min(self.chunk),
            Err(_) => 0,
        }
    }
}

/// The places one thread has to give.
#[derive(Debug)]
pub(in crate::proxy) struct Descriptors {
    budget: Arc<Budget>,
    spare: Cell<usize>,
    freed: Notify,
    told: Cell<Option<Instant>>,
}

/// The place of one connection; dropping it gives it back.
#[derive(Debug)]
pub(in crate::proxy) struct Held(Rc<Descriptors>);

impl Descriptors {
    /// For one thread, which borrows from `budget`.
    pub(in crate::proxy) fn new(budget: Arc<Budget>) -> Rc<Self> {
        Rc::new(Self { budget, spare: Cell::new(0), freed: Notify::new(), told: Cell::new(None) })
    }

    /// A place, if there is one.
    pub(in crate::proxy) fn take(self: &Rc<Self>) -> Option<Held> {
        if self.spare.get() == 0 {
            self.spare.set(self.budget.borrow());
        }
        self.spare.set(self.spare.get().checked_sub(1)?);
        Some(Held(self.clone()))
    }

    /// A place, as soon as there is one. `lacking` is called once if that is not at once.
    pub(in crate::proxy) async fn place(self: &Rc<Self>, lacking: impl FnOnce()) -> Held {
        if let Some(held) = self.take() {
            return held;
        }
        lacking();
        loop {
            self.budget.is_short.store(true, Relaxed);
            // Woken by a connection of this thread, or looking for those of others.
            let _ = tokio::time::timeout(LOOK, self.freed.notified()).await;
            if let Some(held) = self.take() {
                self.budget.is_short.store(false, Relaxed);
                return held;
            }
        }
    }

    /// Whether it is time to tell, at most once in [`TELL`].
    pub(in crate::proxy) fn tells(&self) -> bool {
        let now = Instant::now();
        let tells = self.told.get().is_none_or(|told| now - told >= TELL);
        if tells {
            self.told.set(Some(now));
        }
        tells
    }

    fn give_back(&self) {
        let spare = self.spare.get() + 1;
        let is_short = self.budget.is_short.load(Relaxed);
        let keep = if is_short { 1 } else { 2 * self.budget.chunk };
        self.spare.set(spare.min(keep));
        if spare > keep {
            self.budget.left.fetch_add(spare - keep, Relaxed);
        }
        if is_short {
            self.freed.notify_one();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.spare.get(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn threads_together_hold_no_more_than_there_are() {
        let budget = Budget::new(Some(1000), 2);
        let threads = [Descriptors::new(budget.clone()), Descriptors::new(budget.clone())];
        let mut held: Vec<_> = (0..1000).filter_map(|n| threads[n % 2].take()).collect();
        // What one thread has left over, the other cannot have: never more than two chunks.
        assert!(held.len() >= 1000 - 2 * CHUNK, "{}", held.len());
        while let Some(more) = threads[0].take().or_else(|| threads[1].take()) {
            held.push(more);
        }
        assert_eq!(held.len(), 1000);
        drop(held);
        drop(threads);
        assert_eq!(budget.left.load(Relaxed), 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn who_lacks_a_place_gets_the_next_one_that_is_free_on_any_thread() {
        let budget = Budget::new(Some(4), 2);
        let (here, there) = (Descriptors::new(budget.clone()), Descriptors::new(budget));
        let mut held: Vec<_> = (0..4).map(|n| if n < 2 { here.take() } else { there.take() }).collect();
        assert!(here.take().is_none() && there.take().is_none());
        let lacked = Cell::new(0);
        let mut waiting = Box::pin(here.place(|| lacked.set(lacked.get() + 1)));
        assert!(tokio::time::timeout(Duration::from_millis(1), &mut waiting).await.is_err());
        drop(held.remove(0));
        let begun = Instant::now();
        let first = waiting.await;
        assert!(begun.elapsed() < Duration::from_millis(1), "woken, not found");
        let mut waiting = Box::pin(here.place(|| lacked.set(lacked.get() + 1)));
        assert!(tokio::time::timeout(Duration::from_millis(1), &mut waiting).await.is_err());
        // One keeps its place for its own next connection, the other goes to who lacks.
        held.truncate(1);
        waiting.await;
        assert_eq!(lacked.get(), 2);
        drop(first);
    }

    #[test]
    fn it_is_told_once_in_a_while() {
        let descriptors = Descriptors::new(Budget::new(None, 1));
        assert!(descriptors.tells() && !descriptors.tells());
        assert!(descriptors.take().is_some());
    }
}
