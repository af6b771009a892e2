//! How warm a backend is in a pool with slow start. Written by the supervisor of slow starts, read by every pick.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// Warm: takes its whole share. In steps far finer than what picks see, so that a start of a day still grows.
const WARM: u32 = 1 << 24;
/// Cold: takes 1/256 of its share, and never nothing.
const COLD: u32 = WARM >> 8;

/// The slow start of one backend in one pool; warm when nothing was said.
#[derive(Debug)]
pub struct Ramp(AtomicU32);

impl Default for Ramp {
    fn default() -> Self {
        Self(AtomicU32::new(WARM))
    }
}

impl Ramp {
    /// What part of its share it takes: 1 to 256, of 256.
    pub fn warmth(&self) -> u64 {
        u64::from(self.0.load(Relaxed) >> 16)
    }

    /// Starts anew: it is down, or new.
    pub fn chill(&self) {
        self.0.store(COLD, Relaxed);
    }

    /// It was available for another `elapsed`; from cold to warm it takes `whole`. One supervisor calls this.
    pub fn grow(&self, elapsed: Duration, whole: Duration) {
        let step = elapsed.as_nanos() * u128::from(WARM) / whole.as_nanos().max(1);
        let step = u32::try_from(step).unwrap_or(WARM).clamp(1, WARM);
        self.0.store((self.0.load(Relaxed) + step).min(WARM), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_evenly_from_almost_nothing_to_the_whole() {
        let ramp = Ramp::default();
        assert_eq!(ramp.warmth(), 256);
        ramp.chill();
        assert_eq!(ramp.warmth(), 1);
        let (step, whole) = (Duration::from_millis(100), Duration::from_secs(10));
        for _ in 0..50 {
            ramp.grow(step, whole);
        }
        assert!((128..=130).contains(&ramp.warmth()), "{}", ramp.warmth());
        for _ in 0..50 {
            ramp.grow(step, whole);
        }
        assert_eq!(ramp.warmth(), 256);
        ramp.grow(Duration::MAX, Duration::ZERO);
        assert_eq!(ramp.warmth(), 256, "and stays");
        ramp.chill();
        let day = Duration::from_secs(86_400);
        (0..8640).for_each(|_| ramp.grow(Duration::from_secs(5), day));
        assert!((126..=130).contains(&ramp.warmth()), "{}", ramp.warmth());
    }
}
