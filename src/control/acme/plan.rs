//! Pure. When a certificate is renewed, and when a failed order is tried again.
//!
//! Let's Encrypt takes five failed proofs of a name in an hour and five certificates for the same names in a week, so a
//! refusal is followed by another try after minutes, then hours. An authority that is away or out of order is tried again
//! sooner, which costs nobody anything: a host that boots before its router has its certificates within seconds.

use std::time::Duration;

/// How long a certificate is valid, in seconds since 1970.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Validity {
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

/// The times between which an authority would have a certificate renewed (RFC 9773), in seconds since 1970.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Window {
    pub(super) start: i64,
    pub(super) end: i64,
}

/// The first pause when the authority is away, and the longest.
const AWAY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3600));
/// The same after the authority said no.
const REFUSED: (Duration, Duration) = (Duration::from_secs(120), Duration::from_secs(6 * 3600));
/// How much longer each pause is than the one before.
const GROWTH: u32 = 3;
/// The longest that an authority may make us wait.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest time between two orders that nothing shortens.
const APART: i64 = 24 * 3600;

impl Validity {
    fn life(self) -> i64 {
        self.not_after.saturating_sub(self.not_before).max(0)
    }

    /// When to renew, in seconds since 1970: when two thirds of its life are over, or when the authority says, but not
    /// after nine tenths. `draw`, 0 to 1, spreads those who were issued together.
    pub(super) fn renew_at(self, window: Option<Window>, draw: f64) -> i64 {
        let part = |span: i64| (span.max(0) as f64 * draw.clamp(0.0, 1.0)) as i64;
        let life = self.life();
        match window {
            None => self.not_before.saturating_add(life / 3 * 2).saturating_add(part(life / 30)),
            Some(Window { start, end }) => {
                let latest = self.not_before.saturating_add(life / 10 * 9);
                start.saturating_add(part(end.saturating_sub(start))).min(latest)
            }
        }
    }

    /// The least time between two certificates for the same names: a clock that is wrong, here or there, must not make
    /// us order one after the other.
    pub(super) fn least_apart(self) -> Duration {
        Duration::from_secs(u64::try_from((self.life() / 3).min(APART)).unwrap_or_default())
    }
}

/// How long to wait after so many failures in a row, at least 1. `was_refused`: the authority said no to the last.
/// `retry_after` is its own wish, which is heeded. `draw`, 0 to 1, adds up to a tenth.
pub(super) fn pause(failures: u32, was_refused: bool, retry_after: Option<Duration>, draw: f64) -> Duration {
    let (first, longest) = if was_refused { REFUSED } else { AWAY };
    let grown = GROWTH.checked_pow(failures.saturating_sub(1)).and_then(|times| first.checked_mul(times));
    let pause = grown.map_or(longest, |grown| grown.min(longest));
    let pause = pause.max(retry_after.unwrap_or_default().min(LONGEST));
    pause + pause.mul_f64(draw.clamp(0.0, 1.0) / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;
    const NINETY: Validity = Validity { not_before: 1000 * DAY, not_after: 1090 * DAY };

    #[test]
    fn renewed_when_two_thirds_are_over_and_not_all_at_once() {
        assert_eq!(NINETY.renew_at(None, 0.0), 1060 * DAY);
        assert_eq!(NINETY.renew_at(None, 0.5), 1061 * DAY + DAY / 2);
        assert_eq!(NINETY.renew_at(None, 1.0), 1063 * DAY);
        let short = Validity { not_before: 100, not_after: 130 };
        assert_eq!((short.renew_at(None, 0.0), short.renew_at(None, 1.0)), (120, 121));
    }

    #[test]
    fn the_authority_may_say_when() {
        let said = |start: i64, end: i64, draw| NINETY.renew_at(Some(Window { start, end }), draw);
        assert_eq!(said(1070 * DAY, 1072 * DAY, 0.5), 1071 * DAY);
        assert_eq!(said(900 * DAY, 901 * DAY, 0.5), 900 * DAY + DAY / 2, "in the past: at once");
        assert_eq!(said(1200 * DAY, 1201 * DAY, 0.5), 1081 * DAY, "never so late that it ends");
        assert_eq!(said(1070 * DAY, 1060 * DAY, 1.0), 1070 * DAY, "a window that ends before it begins");
        assert_eq!(said(i64::MAX, i64::MIN, 1.0), 1081 * DAY);
    }

    #[test]
    fn a_certificate_without_a_life_is_no_reason_to_order_without_end() {
        let odd = Validity { not_before: i64::MAX, not_after: i64::MIN };
        assert_eq!(odd.least_apart(), Duration::ZERO);
        assert_eq!(odd.renew_at(None, 1.0), i64::MAX);
        assert_eq!(NINETY.least_apart(), Duration::from_secs(24 * 3600));
        assert_eq!(Validity { not_before: 0, not_after: 30 }.least_apart(), Duration::from_secs(10));
    }

    #[test]
    fn pauses_grow_from_minutes_to_hours() {
        let pauses: Vec<u64> = (1..=7).map(|n| pause(n, true, None, 0.0).as_secs()).collect();
        assert_eq!(pauses, [120, 360, 1080, 3240, 9720, 21600, 21600]);
        let failed_in_the_first_hour = 1 + [120, 480, 1560, 4800].iter().filter(|at| **at < 3600).count();
        assert!(failed_in_the_first_hour < 5, "Let's Encrypt takes five");
        assert_eq!(pause(u32::MAX, true, None, 0.0).as_secs(), 21600);
    }

    #[test]
    fn a_network_that_is_away_is_tried_again_sooner() {
        let pauses: Vec<u64> = (1..=8).map(|n| pause(n, false, None, 0.0).as_secs()).collect();
        assert_eq!(pauses, [5, 15, 45, 135, 405, 1215, 3600, 3600]);
    }

    #[test]
    fn what_the_authority_asks_for_is_heeded_within_reason() {
        let asked = |seconds| pause(1, true, Some(Duration::from_secs(seconds)), 0.0).as_secs();
        assert_eq!((asked(1), asked(7200), asked(u64::MAX)), (120, 7200, 7 * 24 * 3600));
        assert_eq!(pause(1, true, None, 1.0).as_secs(), 132, "a tenth for the spread");
    }
}
