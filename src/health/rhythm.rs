//! Pure. When the next round of checks begins.
//!
//! Theory: rounds begin at a fixed distance from the beginning of the last, however long that took, so that a check
//! that waits for its timeout delays nothing. While a verdict is about to change, the next round follows soon: it is
//! what decides. And a check that is silent for half of its time gets a second one beside it: where a machine has lost
//! power both are in vain, and the verdict comes half a timeout after the first instead of a whole one.
//!
//! With what is usual (every second, one second each, two failures in a row) a backend that falls silent just after a
//! check is found down after 1 s + 1 s + 0.5 s, and one that refuses after 1 s + 0.25 s.

use std::time::Duration;

/// How long after its beginning the next round may begin, at the earliest: `took` is how long the last one was.
/// `is_undecided`: results speak against the verdict, but not enough of them.
pub fn pause(every: Duration, took: Duration, is_undecided: bool) -> Duration {
    let pace = if is_undecided { every / 4 } else { every };
    pace.saturating_sub(took)
}

/// How long a check may be silent before another is sent after it.
pub fn patience(timeout: Duration) -> Duration {
    timeout / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_keep_their_distance_and_hurry_when_it_matters() {
        let ms = Duration::from_millis;
        let cases = [
            (1000, 1, false, 999),
            (1000, 1000, false, 0),
            (1000, 1500, false, 0),
            (1000, 1, true, 249),
            (1000, 1000, true, 0),
        ];
        for (every, took, is_undecided, expected) in cases {
            assert_eq!(pause(ms(every), ms(took), is_undecided), ms(expected), "{every} {took} {is_undecided}");
        }
    }
}
