//! Pure. How many requests of a pool came of late, and how many of them were sent again: what a retry budget is
//! reckoned by.
//!
//! Theory: when backends fail for being busy, whatever is sent again makes them busier, and with two retries an outage
//! is three times the traffic. So only a part of the requests of the last [`SECONDS`] may be sent again, and a few in any
//! case, or a quiet pool would have none. Each thread counts in a ring of seconds of its own; who wants to send again,
//! which is rare, sums all rings. Two threads that ask at once may both be allowed the last one.
//!
//! What reached no backend is not counted: to send it elsewhere is no more traffic than was asked for.

use super::shard::{Count, Sharded};

/// How far back is looked, in seconds.
pub const SECONDS: u64 = 10;
/// How many may be sent again in that time however few came.
pub const FLOOR: u64 = 30;
/// Seconds in a ring: more than are looked at, so that one that is written anew is not among them.
const RING: usize = 16;

/// What one thread counts for one pool.
#[derive(Debug, Default)]
pub(super) struct Window {
    ring: [Second; RING],
}

#[derive(Debug, Default)]
struct Second {
    /// Which second it is, plus one; 0: none yet.
    at: Count,
    requests: Count,
    again: Count,
}

impl Window {
    /// A request came in this second.
    pub(super) fn asked(&self, now: u64) {
        if let Some(second) = self.second(now) {
            second.requests.add(1);
        }
    }

    /// A request was sent again in this second.
    pub(super) fn sent_again(&self, now: u64) {
        if let Some(second) = self.second(now) {
            second.again.add(1);
        }
    }

    /// `None`: the ring has gone on meanwhile, for the request waited long.
    fn second(&self, now: u64) -> Option<&Second> {
        let second = &self.ring[now as usize % RING];
        let at = second.at.get();
        if at <= now {
            second.requests.set(0);
            second.again.set(0);
            second.at.set(now + 1);
        }
        (at <= now + 1).then_some(second)
    }

    /// Requests and how many were sent again, of late.
    fn counts(&self, now: u64) -> (u64, u64) {
        let late = |second: &&Second| second.at.get() > (now + 1).saturating_sub(SECONDS);
        let add = |(requests, again), second: &Second| (requests + second.requests.get(), again + second.again.get());
        self.ring.iter().filter(late).fold((0, 0), add)
    }
}

/// Whether one more may be sent again at second `now`, when `percent` of a hundred may.
pub(super) fn allows<T>(shards: &Sharded<T>, window: impl Fn(&T) -> &Window, now: u64, percent: u8) -> bool {
    let counts = shards.iter().map(|shard| window(shard).counts(now));
    let (requests, again) = counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    again < FLOOR + requests * u64::from(percent) / 100
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn alone() -> Sharded<Window> {
        Sharded::new(1)
    }

    fn try_again(shards: &Sharded<Window>, now: u64, percent: u8) -> bool {
        let may = allows(shards, |window| window, now, percent);
        if may {
            shards.here().sent_again(now);
        }
        may
    }

    #[test]
    fn a_quiet_pool_has_the_floor_and_has_it_again_after_a_while() {
        let shards = alone();
        let many = |now| (0..100).filter(|_| try_again(&shards, now, 20)).count() as u64;
        assert_eq!([many(0), many(SECONDS - 1), many(SECONDS), many(SECONDS)], [FLOOR, 0, FLOOR, 0]);
        assert_eq!(many(1_000_000), FLOOR);
    }

    #[test]
    fn an_outage_is_a_fifth_more_and_not_twice_as_much() {
        let shards = alone();
        let mut again = 0;
        for now in 0..60 {
            for _ in 0..1_000 {
                shards.here().asked(now);
                again += u64::from(try_again(&shards, now, 20));
            }
        }
        assert!((12_000..=12_000 + 7 * FLOOR).contains(&again), "{again}");
    }

    #[test]
    fn who_waited_until_the_ring_went_round_changes_nothing() {
        let shards = alone();
        shards.here().asked(20);
        shards.here().asked(4);
        assert_eq!(shards.here().counts(20), (1, 0));
    }

    proptest! {
        /// Against a list of all that ever happened.
        #[test]
        fn it_is_what_a_list_of_events_says(story in prop::collection::vec((0u64..4, any::<bool>()), 0..600), percent in 0u8..=100) {
            let shards = alone();
            let (mut now, mut asked, mut again) = (0, Vec::new(), Vec::new());
            for (pause, asks) in story {
                now += if pause == 3 { 1 } else { 0 };
                if asks {
                    shards.here().asked(now);
                    asked.push(now);
                    continue;
                }
                let late = |all: &[u64]| all.iter().filter(|at| **at + SECONDS > now).count() as u64;
                let may = late(&again) < FLOOR + late(&asked) * u64::from(percent) / 100;
                prop_assert_eq!(try_again(&shards, now, percent), may);
                if may {
                    again.push(now);
                }
            }
        }
    }
}
