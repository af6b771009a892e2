//! Graceful stop: one trigger, many watchers, a deadline.
//!
//! A watcher lends [`Guard`]s to what must be waited for; the trigger's `finish` returns when all guards are dropped or
//! the deadline passed. A leaf: all bands may use it.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// How far the stop has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Serving,
    Draining,
}

/// Makes a trigger and its first watcher.
pub fn channel() -> (Trigger, Watch) {
    let (phase, phases) = watch::channel(Phase::Serving);
    let (held, all_dropped) = mpsc::channel(1);
    let watch = Watch { phases, held: held.downgrade() };
    (Trigger { phase, held, all_dropped }, watch)
}

/// Starts the drain and waits for its end.
#[derive(Debug)]
pub struct Trigger {
    phase: watch::Sender<Phase>,
    // Kept only so that guards can be made until the drain begins.
    held: mpsc::Sender<()>,
    all_dropped: mpsc::Receiver<()>,
}

impl Trigger {
    /// Tells every watcher to finish, then waits until all guards are dropped or `within` has passed.
    /// True when nothing was left.
    pub async fn finish(mut self, within: Duration) -> bool {
        self.phase.send_replace(Phase::Draining);
        drop(self.held);
        let deadline = Instant::now() + within;
        // Nothing is ever sent: the channel ends when the last holder is gone.
        tokio::time::timeout_at(deadline, self.all_dropped.recv()).await.is_ok()
    }
}

/// Learns of the drain. Clones learn of the same one.
#[derive(Clone, Debug)]
pub struct Watch {
    phases: watch::Receiver<Phase>,
    held: mpsc::WeakSender<()>,
}

/// Something the drain waits for.
#[derive(Clone, Debug)]
pub struct Guard {
    _held: Option<mpsc::Sender<()>>,
}

impl Watch {
    /// Returns when the drain has begun (at once if it has).
    pub async fn begun(&self) {
        let mut phases = self.phases.clone();
        // A trigger that is gone without draining ends the wait too: nothing is left to serve for.
        let _ = phases.wait_for(|phase| *phase == Phase::Draining).await;
    }

    /// Whether the drain has begun.
    pub fn has_begun(&self) -> bool {
        *self.phases.borrow() == Phase::Draining
    }

    /// Keeps the drain waiting while it lives. One made when the drain is over holds up nothing.
    pub fn guard(&self) -> Guard {
        Guard { _held: self.held.upgrade() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_drain_waits_for_guards_and_no_longer_than_its_deadline() {
        let (trigger, watch) = channel();
        let guard = watch.guard();
        assert!(!trigger.finish(Duration::from_secs(1)).await, "a guard was left");
        drop(guard);
        let (trigger, watch) = channel();
        let guard = watch.guard();
        let waiting = async move {
            watch.begun().await;
            assert!(watch.has_begun());
            drop(guard);
        };
        let (finished, ()) = tokio::join!(trigger.finish(Duration::from_secs(1)), waiting);
        assert!(finished);
    }
}
