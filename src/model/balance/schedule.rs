//! Pure. The order in which the backends of a pool take turns: each as often as its weight, evenly spread.

/// Places a schedule may have; larger weights are scaled down to fit.
pub(super) const PLACES: usize = 4096;

/// In which order backends take turns: indices into the pool's backends.
#[derive(Debug, Default)]
pub struct Schedule {
    pub(super) main: Box<[u16]>,
}

impl Schedule {
    /// Lays out backends of these weights; that of one that takes no turns, as a backup, is passed as 0.
    pub fn new(weights: &[u16]) -> Self {
        let divisor = weights.iter().filter(|w| **w > 0).fold(0, |a, w| gcd(a, usize::from(*w))).max(1);
        let sum: usize = weights.iter().map(|w| usize::from(*w) / divisor).sum();
        let mut places: Vec<(u64, u16)> = Vec::with_capacity(sum.min(PLACES + weights.len()));
        for (index, weight) in weights.iter().enumerate().take(usize::from(u16::MAX)) {
            let mut share = usize::from(*weight) / divisor;
            if sum > PLACES && share > 0 {
                share = (share * PLACES / sum).max(1);
            }
            // The k-th of n places of a backend stands at (k + 1/2) / n of the round.
            let step = (1u64 << 32) / (share.max(1) as u64);
            places.extend((0..share as u64).map(|k| (k * step + step / 2, index as u16)));
        }
        places.sort_unstable();
        Self { main: places.into_iter().map(|(_, index)| index).collect() }
    }

    /// Whose turn it is at a place, counted on and on. A round of 2^32 turns may end in the middle of a shorter one.
    pub(super) fn at(&self, place: u64) -> Option<usize> {
        // A division of 32 bits, as it is half the price of one of 64 where it is slow.
        let length = self.main.len() as u32;
        (length > 0).then(|| usize::from(self.main[(place as u32 % length) as usize]))
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
