//! Rates as one number: the moment up to which what came is paid for (the *virtual scheduling* form of GCRA, ITU-T
//! I.371). A whole token bucket is a single integer, so many threads can share one without a lock.
//!
//! Time is nanoseconds since an epoch that all who ask agree on.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::model::intent::Rate;

const SECOND: u64 = 1_000_000_000;

/// A time as whole nanoseconds; 584 years are enough.
pub(super) fn nanos(now: Duration) -> u64 {
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// Counts one more event of a rate. `paid` is what the last call gave (0 at first). `None`: too fast, nothing is
/// counted. A burst of the whole count passes at once; what is refused costs nothing, so who keeps knocking is served
/// as often as who waits.
pub(super) fn once_more(paid: u64, rate: &Rate, now: u64) -> Option<u64> {
    take(paid, rate, 0, now).ok()
}

/// The same, where `burst` more pass at once. The error is how long it takes until one passes.
pub(super) fn take(paid: u64, rate: &Rate, burst: u32, now: u64) -> Result<u64, Duration> {
    let window = nanos(rate.per);
    let step = (window / u64::from(rate.count.max(1))).max(1);
    let next = paid.max(now).saturating_add(step);
    // With a whole window paid ahead the burst is used up. Rounding of the step must not cost the last of it.
    let ahead = window.max(step).saturating_add(step.saturating_mul(u64::from(burst)));
    match (next - now).checked_sub(ahead) {
        None | Some(0) => Ok(next),
        Some(over) => Err(Duration::from_nanos(over)),
    }
}

/// Bytes per second in one direction, for all who share it: each pays for its bytes before it sends them, and waits
/// until the moment that its payment begins at. So they have their turns in the order in which they pay. (Of bytes: no
/// flow of datagrams.)
#[derive(Debug, Default)]
pub struct Flow {
    paid: AtomicU64,
}

impl Flow {
    /// Pays for bytes; how long to wait until they may go. What was not used for longer than `slack` is lost, so that a
    /// quiet hour does not allow a loud one.
    pub fn pay(&self, rate: NonZeroU64, bytes: u64, slack: Duration, now: Duration) -> Duration {
        let (now, cost) = (nanos(now), cost(rate, bytes));
        let floor = now.saturating_sub(nanos(slack));
        let more = |paid: u64| Some(paid.max(floor).saturating_add(cost));
        let before = self.paid.fetch_update(Relaxed, Relaxed, more).unwrap_or_default();
        Duration::from_nanos(before.saturating_sub(now))
    }

    /// Takes a payment back, for bytes that did not go.
    pub fn give_back(&self, rate: NonZeroU64, bytes: u64) {
        let less = |paid: u64| Some(paid.saturating_sub(cost(rate, bytes)));
        let _ = self.paid.fetch_update(Relaxed, Relaxed, less);
    }
}

/// What bytes cost, in nanoseconds of a rate.
fn cost(rate: NonZeroU64, bytes: u64) -> u64 {
    u64::try_from(u128::from(bytes) * u128::from(SECOND) / u128::from(rate.get())).unwrap_or(u64::MAX)
}

/// What a listener's connections have sent and received together, against its bandwidth.
#[derive(Debug, Default)]
pub struct Bandwidth {
    /// From clients.
    pub inward: Flow,
    /// To clients.
    pub outward: Flow,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(rate: &Rate, times: impl Iterator<Item = u64>) -> usize {
        let mut paid = 0;
        times
            .filter(|now| match once_more(paid, rate, *now) {
                Some(next) => {
                    paid = next;
                    true
                }
                None => false,
            })
            .count()
    }

    #[test]
    fn a_burst_of_the_count_passes_at_once_and_then_one_at_a_time() {
        for count in [1, 3, 7, 100, 1_000_000] {
            let rate = Rate { count, per: Duration::from_secs(1) };
            let now = 5 * SECOND;
            assert_eq!(passed(&rate, std::iter::repeat_n(now, 2 * count as usize)), count as usize, "{count}");
        }
        let rate = Rate { count: 10, per: Duration::from_secs(1) };
        // One millisecond apart for ten seconds: the burst and ten a second.
        let through = passed(&rate, (0..10_000).map(|ms| ms * 1_000_000));
        assert!((109..=110).contains(&through), "{through}");
        // Who keeps to the rate is never refused.
        assert_eq!(passed(&rate, (0..1000).map(|n| n * SECOND / 10)), 1000);
    }

    #[test]
    fn many_an_hour_is_as_exact_as_many_a_second() {
        let rate = Rate { count: 3, per: Duration::from_secs(3600) };
        let through = passed(&rate, (0..7200).map(|s| s * SECOND));
        assert_eq!(through, 3 + 5, "three at once, then one each twenty minutes");
    }

    #[test]
    fn many_who_share_a_flow_get_its_rate_together_and_each_its_turn() {
        const SLACK: Duration = Duration::from_millis(100);
        let (rate, flow) = (NonZeroU64::new(1_000_000).unwrap(), Flow::default());
        let begun = Duration::from_secs(1);
        // When each may send next, and what it has sent.
        let mut sharers = vec![(begun, 0u64); 50];
        for now in (0..10_000).map(|ms| begun + Duration::from_millis(ms)) {
            for (next, sent) in sharers.iter_mut().filter(|(next, _)| *next <= now) {
                *next = now + flow.pay(rate, 5000, SLACK, now);
                *sent += 5000;
            }
        }
        let sent: u64 = sharers.iter().map(|(_, sent)| sent).sum();
        // Ten seconds, what was made up for, and what each has paid for ahead.
        assert!((9_900_000..=10_400_000).contains(&sent), "{sent}");
        let (least, most) = (sharers.iter().map(|s| s.1).min().unwrap(), sharers.iter().map(|s| s.1).max().unwrap());
        assert!(most - least <= 10_000, "{least} to {most}");
    }

    #[test]
    fn what_did_not_go_is_given_back_and_what_was_not_used_is_lost() {
        let (rate, flow, now) = (NonZeroU64::new(1000).unwrap(), Flow::default(), Duration::from_secs(5));
        let pay = |bytes, now| flow.pay(rate, bytes, Duration::ZERO, now);
        assert_eq!(pay(1000, now), Duration::ZERO);
        assert_eq!(pay(500, now), Duration::from_secs(1));
        flow.give_back(rate, 1000);
        assert_eq!(pay(0, now), Duration::from_millis(500));
        assert_eq!(pay(1000, now * 100), Duration::ZERO, "quiet hours count for nothing");
        assert_eq!(pay(0, now * 100), Duration::from_secs(1));
    }
}
