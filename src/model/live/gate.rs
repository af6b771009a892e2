//! How many connections a listener has open, counted exactly over all data threads, for listeners that limit it.
//!
//! Over the limit a connection is closed at once, with a reset, and counted. The other way, HAProxy's, is to stop
//! accepting and leave it to the kernel's queue. At an edge that serves worse: the queue is thousands long, who waits in
//! it sees a connection that was taken and says nothing, one source that floods makes everybody wait behind it, and a
//! router with a second edge to go to never learns that it should. A refusal is told at once, costs no memory, and is a
//! number to look at. (Backends are what a queue protects: see `queue`.)

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::listener::ListenerState;
use crate::model::intent::Limits;
use crate::model::outcome::Refusal;

/// Places taken at a listener that has a limit.
#[derive(Debug, Default)]
pub(super) struct Gate {
    open: AtomicU32,
}

/// One of the places of a listener; dropping it gives it back.
#[derive(Debug)]
pub struct Place(Arc<ListenerState>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.gate().open.fetch_sub(1, Relaxed);
    }
}

impl ListenerState {
    /// Takes one of the places that `limits.connections` gives, or none where that is 0. Connections from before a
    /// limit was set hold no place. Does not count the refusal.
    ///
    /// # Errors
    /// [`Refusal::TooMany`] when all are taken.
    pub fn take_place(self: &Arc<Self>, limits: &Limits) -> Result<Option<Place>, Refusal> {
        let most = limits.connections;
        if most == 0 {
            return Ok(None);
        }
        let more = |open: u32| (open < most).then_some(open + 1);
        match self.gate().open.fetch_update(Relaxed, Relaxed, more) {
            Ok(_) => Ok(Some(Place(self.clone()))),
            Err(_) => Err(Refusal::TooMany),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::intent::ListenerKey;
    use crate::model::live::Live;

    #[test]
    fn threads_together_take_no_more_places_than_there_are() {
        let state = Live::new(2).listener(&ListenerKey::tcp("127.0.0.1:0".parse().unwrap()));
        let limits = Limits { connections: 100, ..Limits::default() };
        let taken: Vec<_> = std::thread::scope(|scope| {
            let one = || (0..1000).filter_map(|_| state.take_place(&limits).ok().flatten()).collect::<Vec<_>>();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(taken.len(), 100);
        assert_eq!(state.take_place(&limits).unwrap_err(), Refusal::TooMany);
        drop(taken);
        assert!(state.take_place(&limits).unwrap().is_some());
        assert!(state.take_place(&Limits::default()).unwrap().is_none(), "no limit, no place");
    }
}
