//! The verdict of a backend's checks. Written by `health`, read by every pick: a flip costs one store, no recompile.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// What checks found so far.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Not checked yet: taken as up, since its source vouches for it.
    Unknown,
    /// Answers.
    Up,
    /// Does not answer.
    Down,
}

/// The verdict and the streak that leads to the next.
#[derive(Debug, Default)]
pub struct ProbeState {
    verdict: AtomicU8,
    streak: AtomicU32,
    reason: Mutex<Option<Arc<str>>>,
}

impl ProbeState {
    /// The verdict now.
    pub fn verdict(&self) -> Verdict {
        match self.verdict.load(Relaxed) {
            0 => Verdict::Unknown,
            1 => Verdict::Up,
            _ => Verdict::Down,
        }
    }

    /// Whether it may take traffic.
    pub fn is_up(&self) -> bool {
        self.verdict.load(Relaxed) != 2
    }

    /// Results in a row that speak against the verdict.
    pub fn streak(&self) -> u32 {
        self.streak.load(Relaxed)
    }

    /// Why it is down, in the words of the last failed check.
    pub fn reason(&self) -> Option<Arc<str>> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the verdict. One checker a state, so there is one writer.
    pub fn set(&self, verdict: Verdict, streak: u32, reason: Option<Arc<str>>) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason;
        self.streak.store(streak, Relaxed);
        self.verdict.store(
            match verdict {
                Verdict::Unknown => 0,
                Verdict::Up => 1,
                Verdict::Down => 2,
            },
            Relaxed,
        );
    }
}
