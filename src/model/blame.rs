//! Pure. What a failure of real traffic says of a backend, of its node, and of where to try next.
//!
//! Two kinds of evidence throw a backend out of its pool for a while ([`Ejection`](super::intent::Ejection)). A connect
//! that failed is its own doing: it is left out as long as another one is available, for the last one is better than
//! none. A connection that it broke off before a byte came, an answer that did not come or one that tells of an error
//! may be its clients' doing, who send what it cannot stand: so at most half of a pool leaves for those, and no stranger
//! can push all traffic onto one backend. Which of them count, the pool says.

use super::balance::{Ask, Picked, Tried};
use super::intent::pool::Failings;
use super::live::BackendState;
use super::live::node::Pulse;
use super::snapshot::{BackendPlan, PoolPlan};

/// How a backend failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// A connect got no answer, nor did any other to its node since this moment.
    Silent(Pulse),
    /// A connect was refused, by a machine that is there.
    Refused,
    /// A connect failed on its way.
    NoWay,
    /// It broke a connection off before a byte came.
    Broke,
    /// The head of its answer to a whole request did not come in time.
    Slow,
    /// Its answer told of an error of its own.
    Failing,
}

impl Fault {
    fn counts(self, on: Failings) -> bool {
        match self {
            Self::Silent(_) | Self::Refused | Self::NoWay => on.connect,
            Self::Broke => on.broken,
            Self::Slow => on.timeout,
            Self::Failing => on.server_error,
        }
    }
}

/// How many picks are thrown away at most to find another node.
const LOOKS: usize = 8;

impl PoolPlan {
    /// Counts a failure of one of its backends in real traffic: it, or all of its node, may be left out from now on.
    pub fn blame(&self, backend: &BackendPlan, fault: Fault) {
        match fault {
            Fault::Silent(since) => backend.state.silent(since),
            Fault::Refused => backend.node.answered(),
            Fault::NoWay | Fault::Broke | Fault::Slow | Fault::Failing => {}
        }
        let Some(rule) = self.intent.ejection.as_ref().filter(|rule| fault.counts(rule.on)) else { return };
        let may = || match fault {
            Fault::Silent(_) | Fault::Refused | Fault::NoWay => self.can_spare(&backend.state),
            Fault::Broke | Fault::Slow | Fault::Failing => self.can_spare(&backend.state) && self.is_mostly_in(),
        };
        backend.state.failed(rule, may);
    }

    /// The head of an answer with this status came from one of its backends.
    pub fn judge(&self, backend: &BackendPlan, status: u16) {
        let counts = || self.intent.ejection.as_ref().is_some_and(|rule| rule.on.server_error);
        if status >= 500 && !matches!(status, 501 | 505) && counts() {
            self.blame(backend, Fault::Failing);
        } else {
            backend.state.answered();
        }
    }

    /// The plan of the backend with this state.
    pub fn backend_of(&self, state: &BackendState) -> Option<&BackendPlan> {
        self.backends.iter().find(|backend| std::ptr::eq(&raw const *backend.state, state))
    }

    /// Picks for a second try: on a node that nothing speaks against, if there is one. What failed just now may be the
    /// machine, and its other backends would cost the same wait.
    pub fn pick_again(&self, tried: &Tried, ask: &Ask) -> Option<Picked> {
        let picked = self.pick(tried, ask)?;
        let is_better = |index: usize, b: &BackendPlan| b.is_available() && !b.is_suspect() && !tried.has(index);
        let suspect = |picked: &Picked| self.backends[picked.index].is_suspect();
        if !suspect(&picked) || !self.backends.iter().enumerate().any(|(index, b)| is_better(index, b)) {
            return Some(picked);
        }
        let (mut passed, mut ask) = (*tried, *ask);
        passed.add(picked.index);
        for look in 1..=LOOKS as u64 {
            ask.chance = ask.chance.rotate_left(17).wrapping_add(look);
            match self.pick(&passed, &ask) {
                Some(other) if !is_better(other.index, &self.backends[other.index]) => passed.add(other.index),
                Some(other) => return Some(other),
                None => break,
            }
        }
        Some(picked)
    }

    /// Whether another backend than this is available.
    fn can_spare(&self, state: &BackendState) -> bool {
        self.backends.iter().any(|other| !std::ptr::eq(&raw const *other.state, state) && other.is_available())
    }

    /// Whether at most half of what serves would be left out with one more.
    fn is_mostly_in(&self) -> bool {
        let serving = || self.backends.iter().filter(|b| !b.backup && b.is_ready() && b.is_up());
        let out = serving().filter(|b| b.state.ejection().is_ejected()).count();
        (out + 1) * 2 <= serving().count()
    }
}

#[cfg(test)]
mod tests;
