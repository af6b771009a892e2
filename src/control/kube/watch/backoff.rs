//! Pure. How long to wait between two tries: longer each time, by chance a little shorter, never shorter than the
//! server asked for.

use std::time::Duration;

/// The first pause.
const FIRST: Duration = Duration::from_millis(500);

/// The longest pause that a server may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(60);

/// The pauses of one thing that is tried again and again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure: doubled each time up to `longest`, of which `draw`, from 0 to 1, takes up to
    /// half away, so that many do not try at once. `asked` is how long the server wants to be left alone.
    pub(super) fn next(&mut self, longest: Duration, asked: Option<Duration>, draw: f64) -> Duration {
        let full = FIRST.saturating_mul(1 << self.failures.min(16)).min(longest);
        self.failures = self.failures.saturating_add(1);
        let pause = full.mul_f64(1.0 - draw.clamp(0.0, 1.0) / 2.0);
        let asked = asked.unwrap_or_default().min(LONGEST_ASKED);
        // Above what was asked for, lest all come back in one moment.
        if asked > pause { asked + pause.mul_f64(draw.clamp(0.0, 1.0)) } else { pause }
    }

    /// It worked.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(4);

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..6).map(|_| backoff.next(LONGEST, None, 0.0).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 4000, 4000]);
        (0..100).for_each(|_| assert!(backoff.next(LONGEST, None, 1.0) >= LONGEST / 2));
        backoff.reset();
        assert_eq!(backoff.next(LONGEST, None, 1.0), FIRST / 2);
    }

    #[test]
    fn a_server_may_ask_for_more_within_reason() {
        let mut backoff = Backoff::default();
        let mut next = |asked| backoff.next(LONGEST, Some(Duration::from_secs(asked)), 0.5).as_secs();
        assert_eq!(next(10), 10);
        assert_eq!(next(0), 0);
        assert!((60..=62).contains(&next(100_000)));
    }
}
