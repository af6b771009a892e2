//! Pure. A histogram with fixed bounds, written by one thread a shard and summed by the scrape.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds in seconds; a last bucket takes the rest.
pub const BOUNDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// One shard of a histogram of durations.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_nanos: AtomicU64,
}

impl Histogram {
    /// Counts one duration. Only the shard's own thread may call this: the add is a plain load and store.
    pub fn record(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let slot = BOUNDS.iter().position(|b| seconds <= *b).unwrap_or(BOUNDS.len());
        bump(&self.buckets[slot], 1);
        bump(&self.sum_nanos, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds this shard to a sum.
    pub fn add_to(&self, sum: &mut HistogramSum) {
        for (into, from) in sum.buckets.iter_mut().zip(&self.buckets) {
            *into += from.load(Relaxed);
        }
        sum.sum_seconds += self.sum_nanos.load(Relaxed) as f64 / 1e9;
    }
}

/// The shards of a histogram added up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistogramSum {
    /// Counts per bucket, not cumulated; the last is above every bound.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// Sum of what was recorded, in seconds.
    pub sum_seconds: f64,
}

impl HistogramSum {
    /// How many durations were recorded.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// Adds to a counter that has a single writer: no locked instruction.
pub(crate) fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let h = Histogram::default();
        h.record(Duration::from_millis(1));
        h.record(Duration::from_secs(60));
        let mut sum = HistogramSum::default();
        h.add_to(&mut sum);
        assert_eq!((sum.buckets[1], sum.buckets[BOUNDS.len()], sum.count()), (1, 1, 2));
        assert!((sum.sum_seconds - 60.001).abs() < 1e-9);
    }
}
