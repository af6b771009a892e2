//! Pure. How much work that leads nowhere one HTTP/2 connection may cause: frames that carry no request and no body, and
//! requests that are begun and broken off.
//!
//! Theory: each connection has two budgets. A budget is spent one by one, and fills again with time; what is of use fills
//! it too, so that who transfers much may also control much. The clock is read when a budget is empty, and not before:
//! an ordinary connection never reads it. So a budget lets through, in any time `t`, at most twice what it holds and what
//! flows in during `t`, beside what was earned.
//!
//! Why these: a frame of control costs us about a microsecond, and the client 17 bytes; a request that is broken off
//! costs a backend as much as one that is answered, and the client nothing (CVE-2023-44487, "rapid reset"). It is the
//! same whether the client resets the stream itself or makes us do it by a frame that breaks a rule (CVE-2025-8671,
//! "MadeYouReset"). What h2 itself counts is named in `docs/limits.md`.

use std::time::Duration;

use crate::net::h2_frames::{ACK, DATA, END_STREAM, HEADERS, Head, SETTINGS};

/// Something that is spent and fills again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    left: u32,
    most: u32,
    per_second: u32,
    filled: Duration,
}

impl Budget {
    /// Frames of control from a client: PING, SETTINGS, WINDOW_UPDATE, PRIORITY, RST_STREAM, CONTINUATION, DATA without
    /// data, and those nobody knows.
    pub(super) const CONTROL: Self = Self::new(1000, 50);

    /// Requests that were broken off. A browser whose user leaves a page resets all that is under way, at most 100.
    pub(super) const BROKEN_OFF: Self = Self::new(200, 10);

    const fn new(most: u32, per_second: u32) -> Self {
        Self { left: most, most, per_second, filled: Duration::ZERO }
    }

    /// Spends so much. `clock` counts from any time before this began, and is asked only when too little is left. False
    /// when there is not enough.
    pub(super) fn spend(&mut self, cost: u32, clock: impl FnOnce() -> Duration) -> bool {
        if self.left < cost {
            let now = clock();
            let since = now.saturating_sub(self.filled).as_millis();
            let more = since.saturating_mul(u128::from(self.per_second)) / 1000;
            self.earn(u32::try_from(more).unwrap_or(u32::MAX));
            self.filled = now;
        }
        let enough = self.left >= cost;
        self.left = self.left.saturating_sub(cost);
        enough
    }

    /// Fills in so much, up to what it holds.
    pub(super) fn earn(&mut self, amount: u32) {
        self.left = self.left.saturating_add(amount).min(self.most);
    }
}

/// What a client's frame spends of [`Budget::CONTROL`].
pub(super) fn cost(head: Head) -> u32 {
    match head.kind {
        // Requests, trailers and bodies have limits of their own.
        HEADERS => 0,
        DATA => u32::from(head.length == 0 && head.flags & END_STREAM == 0),
        // May change every open stream's window.
        SETTINGS if head.flags & ACK == 0 => 20,
        _ => 1,
    }
}

/// What a frame of ours to the client earns it: it will open its window again, measure the way by a PING, and it may give
/// up the stream. Some clients say for every 4 KiB that they took them, for the stream and for the connection.
pub(super) fn earned(head: Head) -> u32 {
    match head.kind {
        DATA => 4 + head.length / 1024,
        HEADERS => 4,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn head(kind: u8, flags: u8, length: u32) -> Head {
        Head { length, kind, flags, stream: 1 }
    }

    #[test]
    fn what_carries_something_costs_nothing() {
        for (head, spent) in [
            (head(HEADERS, 4, 100), 0),
            (head(DATA, 0, 100), 0),
            (head(DATA, END_STREAM, 0), 0),
            (head(DATA, 0, 0), 1),
            (head(SETTINGS, 0, 6), 20),
            (head(SETTINGS, ACK, 0), 1),
            (head(6, 0, 8), 1),
            (head(8, 0, 4), 1),
            (head(9, 0, 0), 1),
            (head(0xee, 0, 0), 1),
        ] {
            assert_eq!(cost(head), spent, "{head:?}");
        }
    }

    /// A client that tells every 4 KiB of a download that it took them, twice, and sends a PING for every frame.
    #[test]
    fn a_busy_reader_never_runs_out() {
        let mut budget = Budget::CONTROL;
        for _ in 0..100_000 {
            budget.earn(earned(head(DATA, 0, 16 * 1024)));
            for _ in 0..9 {
                assert!(budget.spend(1, || panic!("no clock is needed")));
            }
        }
    }

    #[test]
    fn a_flood_runs_out_and_time_fills_again() {
        let mut budget = Budget::CONTROL;
        let at = |seconds| move || Duration::from_secs(seconds);
        assert!((0..1000).all(|_| budget.spend(1, at(0))));
        assert!(!budget.spend(1, at(0)));
        assert!((0..50).all(|_| budget.spend(1, at(1))));
        assert!(!budget.spend(1, at(1)));
        assert!((0..1000).all(|_| budget.spend(1, at(3600))), "it is full again");
        assert!(!budget.spend(1, at(3600)), "and no more than full");
    }

    proptest! {
        /// In any time no more than twice the whole, and what flows in.
        #[test]
        fn nobody_gets_more_than_the_bound(steps in vec((0u64..3000, 1u32..400), 1..200)) {
            let (mut budget, mut now, mut let_through) = (Budget::CONTROL, 0, 0);
            for (pause, spends) in steps {
                now += pause;
                for _ in 0..spends {
                    let_through += u64::from(budget.spend(1, || Duration::from_millis(now)));
                }
                prop_assert!(let_through <= 2000 + now * 50 / 1000, "{let_through} in {now} ms");
            }
        }
    }
}
