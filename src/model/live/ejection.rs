//! Whether a backend is left out for what real traffic found. Written by data threads at the moment they know; `health`
//! alone keeps the time and lets it in again.
//!
//! Theory: one word counts failures in a row; any success sets it to 0. A backend that was let in again is on
//! *probation*, a bit in the same word: its first failure throws it out again, its first success ends it. On the way of
//! success the word is only read while it is 0.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::model::intent::Ejection;

/// What real traffic found of one backend.
#[derive(Debug, Default)]
pub struct EjectionState {
    ejected: AtomicBool,
    word: AtomicU32,
    time_ms: AtomicU64,
    count: AtomicU64,
}

const PROBATION: u32 = 1 << 31;

impl EjectionState {
    /// Whether it is left out now.
    pub fn is_ejected(&self) -> bool {
        self.ejected.load(Relaxed)
    }

    /// How often it was thrown out.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// Failures in a row so far.
    pub fn streak(&self) -> u32 {
        self.word.load(Relaxed) & !PROBATION
    }

    /// For how long the pool that threw it out last wishes it to stay, the first time.
    pub fn time(&self) -> Duration {
        Duration::from_millis(self.time_ms.load(Relaxed))
    }

    /// It did what it should.
    pub fn succeeded(&self) {
        if self.word.load(Relaxed) != 0 {
            self.word.store(0, Relaxed);
        }
    }

    /// It failed. Where that was once too often and `may` allows it, it is left out from now on: then true.
    pub fn failed(&self, rule: &Ejection, may: impl FnOnce() -> bool) -> bool {
        let before = self.word.load(Relaxed);
        // Several threads may count at once; the bit must not be reached by counting.
        let streak = (before & !PROBATION).saturating_add(1).min(PROBATION - 1);
        self.word.store(before & PROBATION | streak, Relaxed);
        let is_enough = before & PROBATION != 0 || streak >= rule.failures;
        if !is_enough || self.is_ejected() || !may() {
            return false;
        }
        let time = u64::try_from(rule.time.as_millis()).unwrap_or(u64::MAX);
        self.time_ms.store(time, Relaxed);
        let fell = !self.ejected.swap(true, Relaxed);
        if fell {
            self.count.fetch_add(1, Relaxed);
        }
        fell
    }

    /// Lets it in again, on probation. Health alone does.
    pub fn readmit(&self) {
        self.word.store(PROBATION, Relaxed);
        self.ejected.store(false, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::intent::Failings;

    const RULE: Ejection = Ejection { failures: 3, time: Duration::from_secs(10), on: ALL };
    const ALL: Failings = Failings { connect: true, broken: true, timeout: true, server_error: true };

    /// `-` a failure, `+` a success, `r` let in again; gives `e` where it was thrown out and `.` elsewhere.
    fn run(story: &str, may: bool) -> String {
        let state = EjectionState::default();
        let step = |c| match c {
            '-' => state.failed(&RULE, || may),
            '+' => {
                state.succeeded();
                false
            }
            _ => {
                state.readmit();
                false
            }
        };
        story.chars().map(|c| if step(c) { 'e' } else { '.' }).collect()
    }

    #[test]
    fn failures_in_a_row_throw_it_out_and_then_one_does() {
        assert_eq!(run("--+---", true), ".....e");
        assert_eq!(run("-----", true), "..e..", "it is thrown out once");
        assert_eq!(run("---r-", true), "..e.e", "on probation one is enough");
        assert_eq!(run("---r+--", true), "..e....", "a success ends the probation");
        assert_eq!(run("------", false), "......", "it is needed");
    }

    #[test]
    fn the_last_word_is_counted_and_timed() {
        let state = EjectionState::default();
        assert!((0..3).any(|_| state.failed(&RULE, || true)));
        assert_eq!((state.count(), state.time(), state.streak()), (1, RULE.time, 3));
        assert!(state.is_ejected());
        state.readmit();
        assert!(!state.is_ejected() && state.streak() == 0);
    }
}
