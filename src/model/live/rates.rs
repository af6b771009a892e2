//! How often each asker of a route came, for routes that limit it.
//!
//! Theory: the requests of one asker come by all data threads, so what is known of it is shared: stripes, each a short
//! lock over a small map, touched only where a limit is set. An asker is known by a hash of what tells it apart, which
//! is seeded, so nobody can choose values that meet. A stripe has two generations of entries: who comes is (moved) in
//! the young one; when that is full it becomes the old one, and what was old is forgotten. So a flood of ever new askers
//! costs a bounded memory and one map operation each. It can make us forget how fast others came lately, which lets
//! them in for another burst, and no more.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::quota::{nanos, take};
use super::sources::SourceKey;
use crate::model::intent::filter::{RateKey, RequestRate};
use crate::model::problem::Origin;

const STRIPES: usize = 64;
/// Askers a stripe remembers in one generation: some 130,000 in all, in some 5 MB at the most.
const MOST: usize = 1024;

/// Whose askers. The numbers are no part of it, so that who came stays counted when they change.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct RateStateKey {
    /// Who asked for the limit: all routes of one object share it.
    pub origin: Origin,
    /// What tells askers apart.
    pub key: RateKey,
}

/// Who asks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Asker<'a> {
    /// A source: an IPv4 address, or the /64 of an IPv6 address.
    Source(SourceKey),
    /// Whoever sends this value.
    Value(&'a [u8]),
}

impl Asker<'_> {
    /// The source that an address belongs to.
    pub fn source(ip: IpAddr) -> Self {
        Self::Source(SourceKey::of(ip))
    }
}

/// The askers of one limit.
#[derive(Debug)]
pub struct Rates {
    hasher: RandomState,
    stripes: Box<[Mutex<Stripe>]>,
}

/// Until when each asker has paid.
#[derive(Debug, Default)]
struct Stripe {
    young: HashMap<u64, u64>,
    old: HashMap<u64, u64>,
}

impl Default for Rates {
    fn default() -> Self {
        Self { hasher: RandomState::new(), stripes: (0..STRIPES).map(|_| Mutex::default()).collect() }
    }
}

impl Rates {
    /// Counts one more request of an asker. `now` is a time since one epoch for all threads. Never blocks for longer
    /// than a map look-up. What is refused is not counted.
    ///
    /// # Errors
    /// The time until the next would pass.
    pub fn ask(&self, asker: Asker<'_>, limit: &RequestRate, now: Duration) -> Result<(), Duration> {
        let hash = self.hasher.hash_one(asker);
        let mut stripe = self.stripe(hash);
        let paid = stripe.paid(hash);
        *paid = take(*paid, &limit.rate, limit.burst, nanos(now))?;
        Ok(())
    }

    fn stripe(&self, hash: u64) -> MutexGuard<'_, Stripe> {
        // A panic under the lock cannot leave a number half changed.
        self.stripes[hash as usize % STRIPES].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many askers are remembered.
    pub fn remembered(&self) -> usize {
        let lock = |stripe: &Mutex<Stripe>| {
            let stripe = stripe.lock().unwrap_or_else(PoisonError::into_inner);
            stripe.young.len() + stripe.old.len()
        };
        self.stripes.iter().map(lock).sum()
    }
}

impl Stripe {
    fn paid(&mut self, asker: u64) -> &mut u64 {
        if !self.young.contains_key(&asker) {
            let known = self.old.remove(&asker).unwrap_or_default();
            if self.young.len() >= MOST {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(asker, known);
        }
        self.young.entry(asker).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::intent::Rate;

    fn limit(count: u32, burst: u32) -> RequestRate {
        RequestRate {
            rate: Rate { count, per: Duration::from_secs(1) },
            burst,
            key: RateKey::Source,
            except: Vec::new(),
        }
    }

    #[test]
    fn each_asker_has_its_own_rate_over_all_threads() {
        let (rates, limit, now) = (Rates::default(), limit(50, 10), Duration::from_secs(9));
        let passed = |asker: Asker<'_>| (0..100).filter(|_| rates.ask(asker, &limit, now).is_ok()).count();
        let together: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| passed(Asker::Value(b"key")))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(together, 60);
        assert_eq!(passed(Asker::source("192.0.2.1".parse().unwrap())), 60);
        assert_eq!(passed(Asker::source("2001:db8::1".parse().unwrap())), 60);
        assert_eq!(passed(Asker::source("2001:db8::ffff".parse().unwrap())), 0, "the same /64");
        assert_eq!(passed(Asker::source("::ffff:192.0.2.1".parse().unwrap())), 0, "the same address");
        assert_eq!(rates.ask(Asker::Value(b"key"), &limit, now), Err(Duration::from_millis(20)));
        assert_eq!(rates.ask(Asker::Value(b"key"), &limit, now + Duration::from_millis(20)), Ok(()));
    }

    #[test]
    fn a_flood_of_askers_costs_a_bounded_memory() {
        let (rates, limit) = (Rates::default(), limit(1, 0));
        for n in 0..500_000_u32 {
            let _ = rates.ask(Asker::Value(&n.to_be_bytes()), &limit, Duration::from_secs(1));
        }
        assert!(rates.remembered() <= 2 * STRIPES * MOST, "{}", rates.remembered());
    }
}
