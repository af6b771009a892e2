//! What each client source has open and how fast it comes, for listeners that limit that.
//!
//! Theory: the kernel spreads the connections of one source over all data threads, so what is known of it is shared:
//! 64 stripes, each a short lock over a small map, touched only where a limit is set. A stripe has two generations of
//! entries. A source that is seen is (moved) in the young one; when that has filled, it becomes the old one, and what
//! was old is forgotten — but for sources that have something open, which are carried over. So a flood of ever new
//! sources costs a bounded memory and one map operation each, it can make us forget how fast others came lately, and
//! can never make us forget what they hold. A source that holds something costs an entry of some 40 bytes, and is
//! bounded by the connections themselves.
//!
//! The hash is seeded, so nobody can choose addresses that meet in one stripe or bucket.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::listener::ListenerState;
use super::quota::{nanos, once_more};
use crate::model::intent::{Limits, Rate};
use crate::model::outcome::Refusal;

const STRIPES: usize = 64;
/// Sources a stripe remembers in one generation beside those that hold something.
const MOST: usize = 512;

/// Who is counted together: an IPv4 address, or the /64 of an IPv6 address, since one host has all of it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SourceKey {
    /// The whole address.
    V4(u32),
    /// The upper half of the address.
    V6(u64),
}

impl SourceKey {
    /// The source that an address belongs to.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.to_bits()),
            IpAddr::V6(ip) => Self::V6((ip.to_bits() >> 64) as u64),
        }
    }
}

/// The sources of one listener.
#[derive(Debug)]
pub(super) struct Sources {
    hasher: RandomState,
    stripes: Box<[Mutex<Stripe>]>,
}

#[derive(Debug)]
struct Stripe {
    young: HashMap<SourceKey, Entry>,
    old: HashMap<SourceKey, Entry>,
    /// How many young ones there may be.
    room: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    open: u32,
    paid: u64,
}

impl Default for Sources {
    fn default() -> Self {
        let stripe = || Mutex::new(Stripe { young: HashMap::new(), old: HashMap::new(), room: MOST });
        Self { hasher: RandomState::new(), stripes: (0..STRIPES).map(|_| stripe()).collect() }
    }
}

impl Sources {
    fn stripe(&self, key: SourceKey) -> MutexGuard<'_, Stripe> {
        let at = self.hasher.hash_one(key) as usize % STRIPES;
        // A panic under the lock cannot leave a count half changed.
        self.stripes[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more of a source, or says why not. With `per_source` it is open until it is given back.
    fn admit(&self, key: SourceKey, per_source: u32, rate: Option<&Rate>, now: u64) -> Result<(), Refusal> {
        let mut stripe = self.stripe(key);
        let entry = stripe.entry(key);
        if per_source > 0 && entry.open >= per_source {
            return Err(Refusal::SourceTooMany);
        }
        if let Some(rate) = rate {
            entry.paid = once_more(entry.paid, rate, now).ok_or(Refusal::SourceTooFast)?;
        }
        if per_source > 0 {
            entry.open += 1;
        }
        Ok(())
    }

    fn give_back(&self, key: SourceKey) {
        let mut stripe = self.stripe(key);
        let Stripe { young, old, .. } = &mut *stripe;
        for map in [young, old] {
            if let Some(entry) = map.get_mut(&key) {
                entry.open = entry.open.saturating_sub(1);
                if entry.open == 0 && entry.paid == 0 {
                    map.remove(&key);
                }
                return;
            }
        }
    }

    /// How many sources are remembered.
    pub(super) fn remembered(&self) -> usize {
        let lock = |stripe: &Mutex<Stripe>| {
            let stripe = stripe.lock().unwrap_or_else(PoisonError::into_inner);
            stripe.young.len() + stripe.old.len()
        };
        self.stripes.iter().map(lock).sum()
    }
}

impl Stripe {
    fn entry(&mut self, key: SourceKey) -> &mut Entry {
        if !self.young.contains_key(&key) {
            let known = self.old.remove(&key);
            if self.young.len() >= self.room {
                self.turn();
            }
            self.young.insert(key, known.unwrap_or_default());
        }
        self.young.entry(key).or_default()
    }

    /// The young ones become old, and of the old ones only those that hold something stay, as young ones again.
    fn turn(&mut self) {
        let before = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
        self.young = before.into_iter().filter(|(_, entry)| entry.open > 0).collect();
        // Twice what is carried over, so that carrying costs each newcomer no more than a step.
        self.room = 2 * self.young.len() + MOST;
    }
}

/// One connection or flow of a source that is counted while it is open. Dropping it gives its place back; any thread
/// may.
#[derive(Debug)]
pub struct SourceGuard {
    state: Arc<ListenerState>,
    key: SourceKey,
}

impl Drop for SourceGuard {
    fn drop(&mut self) {
        if let Some(sources) = self.state.sources_if_any() {
            sources.give_back(self.key);
        }
    }
}

impl ListenerState {
    /// Admits one more connection or flow of the source that `client` belongs to. `now` is asked only when a rate is
    /// set, and is a time since one epoch for all threads. Free when no limit of sources is set. What was open before a
    /// limit was set is not counted. Never blocks for longer than a map look-up; does not count the refusal.
    ///
    /// # Errors
    /// [`Refusal::SourceTooMany`] or [`Refusal::SourceTooFast`].
    pub fn admit_source(
        self: &Arc<Self>,
        limits: &Limits,
        client: IpAddr,
        now: impl FnOnce() -> Duration,
    ) -> Result<Option<SourceGuard>, Refusal> {
        if limits.per_source == 0 && limits.rate.is_none() {
            return Ok(None);
        }
        let key = SourceKey::of(client);
        let now = if limits.rate.is_some() { nanos(now()) } else { 0 };
        self.sources().admit(key, limits.per_source, limits.rate.as_ref(), now)?;
        Ok((limits.per_source > 0).then(|| SourceGuard { state: self.clone(), key }))
    }
}

#[cfg(test)]
mod tests;
