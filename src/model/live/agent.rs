//! What a backend's agent said last. Written by `health`, read by every pick. An agent that says nothing, or cannot be
//! reached, changes nothing: what it said before stands.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::intent::Admin;

/// What an agent said. Each word stands until the agent says its opposite.
#[derive(Debug)]
pub struct AgentState {
    admin: AtomicU8,
    down: AtomicBool,
    percent: AtomicU32,
    max_connections: AtomicU32,
    why: Mutex<Option<Arc<str>>>,
}

impl Default for AgentState {
    fn default() -> Self {
        Self {
            admin: AtomicU8::new(0),
            down: AtomicBool::new(false),
            percent: AtomicU32::new(100),
            max_connections: AtomicU32::new(0),
            why: Mutex::default(),
        }
    }
}

/// Why an agent speaks against a backend that its owner and its checks would use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Objection {
    /// It wishes to finish what it has.
    Drain,
    /// It wishes to take nothing.
    Maintain,
    /// It does not work.
    Down,
}

impl AgentState {
    /// What speaks against the backend; `None`: nothing.
    pub fn objection(&self) -> Option<Objection> {
        match (self.admin.load(Relaxed), self.down.load(Relaxed)) {
            (0, false) => None,
            (0, true) => Some(Objection::Down),
            (1, _) => Some(Objection::Drain),
            _ => Some(Objection::Maintain),
        }
    }

    /// The part of its weight that it wishes, 0 to 100 %.
    pub fn percent(&self) -> u32 {
        self.percent.load(Relaxed)
    }

    /// How many connections it wishes at most; `None`: it did not say. No pick goes by it: the pool's `max_connections`
    /// alone limits.
    pub fn max_connections(&self) -> Option<u32> {
        Some(self.max_connections.load(Relaxed)).filter(|most| *most > 0)
    }

    /// What it gave as a reason, when it gave one with its last words.
    pub fn why(&self) -> Option<Arc<str>> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says whether it wishes to take traffic, in the words that owners have.
    pub fn set_admin(&self, admin: Admin) {
        let word = match admin {
            Admin::Ready => 0,
            Admin::Drain => 1,
            Admin::Maintain => 2,
        };
        self.admin.store(word, Relaxed);
    }

    /// Says whether it is down.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Relaxed);
    }

    /// Says the part of its weight that it wishes; what exceeds 100 is 100.
    pub fn set_percent(&self, percent: u32) {
        self.percent.store(percent.min(100), Relaxed);
    }

    /// Says how many connections it wishes at most; 0: it does not care.
    pub fn set_max_connections(&self, most: u32) {
        self.max_connections.store(most, Relaxed);
    }

    /// Says the reason it gave.
    pub fn set_why(&self, why: Option<Arc<str>>) {
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}
