//! Pure. Which backend is next. Draws of chance are arguments, cursors live in `PoolState`.
//!
//! Theory: compile lays the backends out in a *schedule*, each as often as its weight and evenly spread; round-robin
//! walks it, the rules that compare how busy backends are draw from it (see [`busy`]). When the place falls on a
//! backend that cannot be taken, one is drawn by its share from those that can, so that the neighbour of a dead
//! backend does not take its whole share.
//!
//! The tiers, from the first that has somebody *available*: backends that are no backups, backups, and, when nothing
//! is available at all, those that only traffic speaks against, then every ready one (fail open). A tier whose backends
//! are all available but *full* is not left for the next: there one waits. What may be taken is said in one place,
//! [`PoolPlan::may_take`].

use std::net::IpAddr;
use std::time::Duration;

use super::intent::{Balance, Sticky, WhenDown};
use super::live::Lease;
pub use super::live::sticky::Kept;
use super::snapshot::{BackendPlan, PoolPlan};
use digest::scatter;

mod busy;
mod by_key;
pub mod digest;
mod keep;
mod maglev;
mod schedule;
pub mod token;
mod tried;

pub use maglev::Maglev;
pub use schedule::Schedule;
pub use tried::Tried;

/// What a pick goes by, beside what is live.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// A number of chance.
    pub chance: u64,
    /// The client.
    pub source: IpAddr,
    /// The time since a moment that is the same for all who ask. Only pools that are sticky look at it; who asks
    /// another may leave it at zero.
    pub now: Duration,
    /// What a hash goes by in place of the source; see [`digest::of_bytes`].
    pub hash: Option<u64>,
    /// The backend that the client's cookie names.
    pub kept: Option<Kept>,
}

/// Who wants a backend, and what its request says of which.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Its address.
    pub source: IpAddr,
    /// What a hash goes by in place of the address.
    pub hash: Option<u64>,
    /// The backend that its cookie names.
    pub kept: Option<Kept>,
}

impl From<IpAddr> for Client {
    fn from(source: IpAddr) -> Self {
        Self { source, hash: None, kept: None }
    }
}

impl Ask {
    /// What stands for who asks, where a rule gives it the same backend again and again.
    fn key(&self) -> u64 {
        self.hash.unwrap_or_else(|| digest::of_source(self.source))
    }
}

/// What a pick found.
#[derive(Debug)]
pub struct Picked {
    /// The backend's place in the pool.
    pub index: usize,
    /// Counts the connection or request while it lives.
    pub lease: Lease,
}

impl PoolPlan {
    /// Picks a backend that was not tried yet. `None`: there is none that may be tried, or all that may be are full
    /// (see [`PoolPlan::is_full`]).
    pub fn pick(&self, tried: &Tried, ask: &Ask) -> Option<Picked> {
        // Between the choice and the lease other threads may take the last slot: then another backend is chosen, or
        // none. That threads meet so again and again does not happen; the bound makes it certain that we end.
        for _ in 0..self.backends.len().max(8) {
            let index = match &self.intent.sticky {
                None => self.choose(tried, ask, None),
                Some(Sticky::Source { timeout }) => self.keep(*timeout, tried, ask),
                Some(Sticky::Cookie(_)) => self.keep_named(tried, ask),
            }?;
            if let Some(lease) = self.lease(&self.backends[index]) {
                return Some(Picked { index, lease });
            }
        }
        None
    }

    fn lease(&self, backend: &BackendPlan) -> Option<Lease> {
        let slot = match &backend.slots {
            None => None,
            Some(slots) => Some(slots.take(self.limit_of(backend))?),
        };
        Some(Lease::within(backend.state.clone(), slot))
    }

    /// Whether any backend is available.
    pub fn is_up(&self) -> bool {
        self.backends.iter().any(BackendPlan::is_available)
    }

    /// Whether a pick finds nothing only because of limits: a backend that is available and was not tried has no room.
    pub fn is_full(&self, tried: &Tried) -> bool {
        let left = || self.backends.iter().enumerate().filter(|(index, b)| b.is_available() && !tried.has(*index));
        let serves = |backup: bool| left().any(|(_, b)| b.backup == backup);
        let tier = !serves(false);
        let mut left = left().filter(|(_, b)| b.backup == tier).peekable();
        left.peek().is_some() && left.all(|(_, b)| !self.has_room(b))
    }

    /// Whether somebody for whom a pick found nothing may be served when a slot is given back: there is a backend that
    /// may be tried and has a limit, so it must have been full. It may have room again by now.
    pub fn is_worth_waiting(&self, tried: &Tried) -> bool {
        let is_up = self.is_up();
        let may = |b: &BackendPlan| b.slots.is_some() && if is_up { b.is_available() } else { self.may_open(b) };
        self.backends.iter().enumerate().any(|(index, b)| may(b) && !tried.has(index))
    }

    /// Whether a backend may be tried while none is available.
    pub fn may_open(&self, backend: &BackendPlan) -> bool {
        backend.is_ready() && (self.opens() || backend.is_up())
    }

    /// Whether backends that are found down are tried while none is available.
    fn opens(&self) -> bool {
        self.intent.when_down == WhenDown::Try
    }

    /// Whether a backend is below its limit.
    fn has_room(&self, backend: &BackendPlan) -> bool {
        backend.slots.as_ref().is_none_or(|slots| slots.has_room(self.limit_of(backend)))
    }

    /// How much a backend of a pool with a limit takes at once: its agent may wish less than the pool allows.
    fn limit_of(&self, backend: &BackendPlan) -> u32 {
        let most = self.intent.max_connections;
        let wish = backend.agent.as_ref().and_then(|agent| agent.max_connections());
        wish.map_or(most, |wish| wish.min(most))
    }

    /// Whether a backend may be given something new now: what every rule asks.
    fn may_take(&self, backend: &BackendPlan) -> bool {
        backend.is_available() && self.has_room(backend)
    }

    /// By the pool's rule. `kept` is what the client had, to stay with if the pool fails open.
    fn choose(&self, tried: &Tried, ask: &Ask, kept: Option<usize>) -> Option<usize> {
        let draw = ask.chance;
        let index = match &self.intent.balance {
            Balance::RoundRobin => self.in_turn(tried, draw),
            Balance::LeastConnections if self.backends.len() <= busy::SMALL => self.least_busy(tried, draw),
            Balance::LeastConnections | Balance::RandomTwo => self.less_busy(tried, draw),
            Balance::HashSource | Balance::HashUri | Balance::HashHeader(_) | Balance::HashCookie(_) => {
                self.of_key(tried, ask)
            }
            Balance::First => self.first(tried, |b| !b.backup && self.may_take(b)),
        };
        index.or_else(|| self.otherwise(tried, ask, kept))
    }

    /// What is left when no backend of the first tier may be taken.
    #[cold]
    fn otherwise(&self, tried: &Tried, ask: &Ask, kept: Option<usize>) -> Option<usize> {
        if self.is_full(tried) {
            return None;
        }
        if let Some(backup) = self.among(tried, ask, |b| b.backup && self.may_take(b)) {
            return Some(backup);
        }
        // Nothing is available. What only traffic speaks against is better than nothing, whoever threw it out: another
        // pool may share it. And a wrong probe must not take the site down, so what is ready is tried anyway.
        let is_up = |b: &BackendPlan| b.is_ready() && b.is_up() && self.has_room(b);
        let is_ready = |b: &BackendPlan| self.opens() && b.is_ready() && self.has_room(b);
        let stay = |fits: &dyn Fn(&BackendPlan) -> bool| kept.filter(|index| fits(&self.backends[*index]));
        let last = stay(&is_up).or_else(|| self.among(tried, ask, is_up));
        let last = last.or_else(|| stay(&is_ready)).or_else(|| self.among(tried, ask, is_ready));
        if last.is_some() {
            self.state.failed_open();
        }
        last
    }

    fn in_turn(&self, tried: &Tried, draw: u64) -> Option<usize> {
        let index = self.schedule.at(self.state.advance())?;
        if self.takes_turn(index, tried, draw) {
            return Some(index);
        }
        self.any_main(tried, draw)
    }

    /// Whether the backend whose turn it is takes it: it may, and is warm enough for this draw. Who does not find one
    /// draws among all by share, so in all each has what is due to it.
    fn takes_turn(&self, index: usize, tried: &Tried, draw: u64) -> bool {
        let backend = &self.backends[index];
        let is_willing = || match backend.part() {
            256 => true,
            part => scatter(draw) >> 56 < part,
        };
        !backend.backup && self.may_take(backend) && !tried.has(index) && is_willing()
    }

    fn any_main(&self, tried: &Tried, draw: u64) -> Option<usize> {
        self.any(tried, draw, |b| !b.backup && self.may_take(b))
    }

    /// One of those that fit, in the manner of the pool's rule.
    fn among(&self, tried: &Tried, ask: &Ask, fits: impl Fn(&BackendPlan) -> bool) -> Option<usize> {
        match &self.intent.balance {
            Balance::First => self.first(tried, fits),
            balance if balance.is_hash() => {
                let client = ask.key();
                let mut walk = self.table.iter().flat_map(|table| table.walk(client));
                let near = walk.find(|index| fits(&self.backends[*index]) && !tried.has(*index));
                near.or_else(|| self.any(tried, client, fits))
            }
            _ => self.any(tried, ask.chance, fits),
        }
    }

    fn first(&self, tried: &Tried, fits: impl Fn(&BackendPlan) -> bool) -> Option<usize> {
        self.backends.iter().enumerate().position(|(index, b)| fits(b) && !tried.has(index))
    }

    /// Draws by share among those that fit. Walks the backends: it is the path taken when something is down.
    fn any(&self, tried: &Tried, draw: u64, fits: impl Fn(&BackendPlan) -> bool) -> Option<usize> {
        let candidates = || {
            let all = self.backends.iter().enumerate();
            all.filter(|(index, b)| fits(b) && !tried.has(*index)).map(|(index, b)| (index, b.share()))
        };
        let sum: u64 = candidates().map(|(_, share)| share).sum();
        let mut left = scatter(draw) % sum.max(1);
        let mut last = None;
        // What may be taken changes while we walk; then the last that fits is as good as any.
        for (index, share) in candidates() {
            last = Some(index);
            match left.checked_sub(share) {
                None => break,
                Some(rest) => left = rest,
            }
        }
        last
    }
}

#[cfg(test)]
mod tests;
