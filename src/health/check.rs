//! The checks of one backend, round after round, and the verdict that they lead to.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::probe::{self, Failure, Found, Target};
use super::{rhythm, verdict};
use crate::model::intent::Probe;
use crate::model::live::probe::Verdict;
use crate::model::live::{BackendState, ProbeState};

/// One backend and how it is checked.
pub(super) struct Check {
    pub(super) target: Target,
    pub(super) probe: Probe,
    /// Where the verdict goes.
    pub(super) state: Arc<ProbeState>,
    /// Of whose node each check is evidence.
    pub(super) backend: Arc<BackendState>,
    /// How many may be under way.
    pub(super) permits: Arc<Semaphore>,
}

impl Check {
    /// Checks for ever, from `first` on.
    pub(super) async fn run(self, first: Duration) {
        sleep(first).await;
        loop {
            // It is never closed; if it were, unbounded is better than blind.
            let permit = self.permits.acquire().await.ok();
            let started = Instant::now();
            self.round().await;
            drop(permit);
            let is_undecided = self.state.streak() > 0;
            sleep(rhythm::pause(self.probe.every, started.elapsed(), is_undecided)).await;
        }
    }

    /// One check, and a second beside it when the first is silent for long and the verdict could be hurried by it.
    async fn round(&self) {
        let mut first = pin!(self.once());
        if self.state.verdict() == Verdict::Down {
            let result = first.await;
            return self.record(result);
        }
        let patience = sleep(rhythm::patience(self.probe.timeout));
        let early = tokio::select! {
            biased;
            result = &mut first => Some(result),
            () = patience => None,
        };
        let permit = self.permits.try_acquire();
        match (early, permit) {
            (Some(result), _) => self.record(result),
            // So many are under way that speed must wait.
            (None, Err(_)) => self.record(first.await),
            (None, Ok(_second)) => {
                let second = pin!(self.once());
                let (result, other) = match select(first, second).await {
                    Either::Left((result, other)) | Either::Right((result, other)) => (result, other),
                };
                let failed = result.is_err();
                self.record(result);
                if failed && self.state.verdict() != Verdict::Down {
                    self.record(other.await);
                }
            }
        }
    }

    async fn once(&self) -> Result<(), Failure> {
        let node = self.backend.node();
        let since = node.pulse();
        let result = probe::check(&self.target, &self.probe).await;
        match result.as_ref().map_or_else(|failure| failure.found, |()| Found::Somebody) {
            Found::Somebody => node.answered(),
            Found::Silence => self.backend.silent(since),
            Found::NoWay | Found::Nothing => {}
        }
        result
    }

    fn record(&self, result: Result<(), Failure>) {
        if let Err(Failure { found: Found::Nothing, reason }) = &result {
            debug!(backend = %self.target.address, reason, "could not check");
            return;
        }
        let before = self.state.verdict();
        let (verdict, streak) =
            verdict::next(before, self.state.streak(), result.is_ok(), self.probe.fall, self.probe.rise);
        let reason = match &result {
            Err(failure) => Some(failure.reason.as_str().into()),
            // On the way up the last failure still explains why it is down.
            Ok(()) if verdict == Verdict::Down => self.state.reason(),
            Ok(()) => None,
        };
        self.state.set(verdict, streak, reason);
        match (before, verdict, result) {
            (Verdict::Unknown | Verdict::Up, Verdict::Down, Err(failure)) => {
                warn!(backend = %self.target.address, reason = failure.reason, "backend is down");
            }
            (Verdict::Down, Verdict::Up, _) => {
                info!(backend = %self.target.address, "backend is up again");
                // What traffic found was of the time when it was down.
                self.backend.pardon();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
