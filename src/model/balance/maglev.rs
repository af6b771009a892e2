//! Pure. A table that gives each client a place and each place a backend (D. Eisenbud et al., "Maglev: A Fast and
//! Reliable Software Network Load Balancer", NSDI 2016, section 3.4).
//!
//! Theory: every backend has its own order of preference of all places, and they choose in rounds, each as often as its
//! weight, until no place is free. As an order depends on nothing but the backend itself, most places choose alike when
//! another comes or goes: only its own share moves, and little more. The table knows nothing of health; who finds its
//! place's backend away walks on to the next place, and comes home when it is back.

use super::digest::scatter;

/// The size of a table: a prime, so that every step walks through all places. In a table of another size every client
/// has another place, so there are two sizes only, and few pools ever grow out of the small one.
const SMALL: u32 = 4093;
/// The size for pools of more than 20 backends, or of very different weights.
const LARGE: u32 = 65537;
/// Places for each of the lightest backends, where the larger size allows: a change then moves at most a fiftieth of
/// the clients beside those it must.
const PLACES: u64 = 200;
/// How far a client walks on from its place.
const WALK: usize = 64;

/// Which backend serves which clients: indices into the pool's backends.
#[derive(Debug)]
pub struct Maglev {
    places: Box<[u16]>,
}

/// A backend that chooses.
struct Chooser {
    index: u16,
    weight: u64,
    /// What it has saved towards its next choice.
    credit: u64,
    at: u32,
    step: u32,
}

impl Maglev {
    /// A table for backends of these digests and weights; a weight of 0 has no place. About a millisecond for the
    /// largest.
    pub fn new(backends: &[(u64, u16)]) -> Self {
        let weights = || backends.iter().map(|(_, weight)| u64::from(*weight)).filter(|w| *w > 0);
        let (Some(least), Some(most)) = (weights().min(), weights().max()) else { return Self { places: [].into() } };
        let wanted = weights().sum::<u64>() / least * PLACES;
        let size = if wanted <= u64::from(SMALL) { SMALL } else { LARGE };
        let mut choosers: Vec<Chooser> = (0u16..=u16::MAX)
            .zip(backends)
            .filter(|(_, (_, weight))| *weight > 0)
            .map(|(index, (digest, weight))| Chooser {
                index,
                weight: u64::from(*weight),
                credit: 0,
                at: (digest % u64::from(size)) as u32,
                step: (scatter(*digest) % u64::from(size - 1)) as u32 + 1,
            })
            .collect();
        let mut places: Vec<Option<u16>> = vec![None; size as usize];
        let mut free = size;
        while free > 0 {
            for chooser in &mut choosers {
                chooser.credit += chooser.weight;
                if chooser.credit < most || free == 0 {
                    continue;
                }
                chooser.credit -= most;
                while places[chooser.at as usize].is_some() {
                    chooser.at = (chooser.at + chooser.step) % size;
                }
                places[chooser.at as usize] = Some(chooser.index);
                free -= 1;
            }
        }
        Self { places: places.into_iter().flatten().collect() }
    }

    /// The backends of a client, first its own, then those it walks on to. The same may come again.
    pub(super) fn walk(&self, client: u64) -> impl Iterator<Item = usize> {
        let length = self.places.len();
        let home = (client % length.max(1) as u64) as usize;
        let (before, from) = self.places.split_at(home.min(length));
        from.iter().chain(before).take(WALK).map(|index| usize::from(*index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(n: u64) -> Vec<(u64, u16)> {
        (0..n).map(|n| (scatter(n), 1)).collect()
    }

    fn shares(table: &Maglev, backends: usize) -> Vec<usize> {
        let mut shares = vec![0; backends];
        table.places.iter().for_each(|index| shares[usize::from(*index)] += 1);
        shares
    }

    /// What part of the clients has another backend than before.
    fn moved(before: &[(u64, u16)], after: &[(u64, u16)]) -> f64 {
        let (one, other) = (Maglev::new(before), Maglev::new(after));
        let clients = 20_000;
        let home = |table: &Maglev, backends: &[(u64, u16)], n: u64| backends[table.walk(scatter(n)).next().unwrap()].0;
        let moved = (0..clients).filter(|n| home(&one, before, *n) != home(&other, after, *n)).count();
        moved as f64 / clients as f64
    }

    #[test]
    fn all_have_the_same_share() {
        for n in [1, 2, 3, 10, 100, 600] {
            let table = Maglev::new(&digests(n));
            let shares = shares(&table, n as usize);
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            assert!(most - least <= 1, "{n}: {least} to {most}");
            assert!(table.places.len() as u64 >= (200 * n).min(u64::from(LARGE)));
        }
    }

    #[test]
    fn shares_follow_weights() {
        let weights = [1, 2, 3, 0, 256];
        let backends: Vec<_> = weights.iter().enumerate().map(|(n, w)| (scatter(n as u64), *w)).collect();
        let table = Maglev::new(&backends);
        let shares = shares(&table, 5);
        for (share, weight) in shares.iter().zip(weights) {
            let due = table.places.len() as f64 * f64::from(weight) / 262.0;
            assert!((*share as f64 - due).abs() <= 2.0, "{shares:?}");
        }
    }

    #[test]
    fn one_that_leaves_or_comes_moves_little_more_than_its_share() {
        for n in [2u64, 3, 5, 10, 20, 50, 300] {
            let all = digests(n);
            for gone in [0, n / 2, n - 1] {
                let mut left = all.clone();
                left.remove(gone as usize);
                let bound = 1.0 / n as f64 + 0.02;
                let (leaves, comes) = (moved(&all, &left), moved(&left, &all));
                assert!(leaves <= bound && comes <= bound, "{n}: {leaves} and {comes}");
            }
        }
    }

    #[test]
    fn the_order_they_are_listed_in_does_not_matter() {
        let (forth, mut back) = (digests(7), digests(7));
        back.reverse();
        assert!(moved(&forth, &back) < 0.02, "only the turns of a round differ");
    }

    #[test]
    fn nobody_and_very_many_are_no_trouble() {
        assert_eq!(Maglev::new(&[]).walk(7).count(), 0);
        assert_eq!(Maglev::new(&[(1, 0)]).walk(7).count(), 0);
        let table = Maglev::new(&digests(65_535));
        assert_eq!(table.places.len(), LARGE as usize);
        assert!(shares(&table, 65_535).iter().all(|share| *share > 0));
        // The same backend listed twice has the same wishes, and both get their share.
        assert_eq!(shares(&Maglev::new(&[(9, 1), (9, 1)]), 2).iter().sum::<usize>(), SMALL as usize);
    }

    #[test]
    fn a_walk_comes_by_every_backend_of_a_small_pool() {
        let table = Maglev::new(&digests(3));
        for client in 0..1_000 {
            let mut seen: Vec<_> = table.walk(scatter(client)).collect();
            assert_eq!(seen.len(), WALK);
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen, [0, 1, 2]);
        }
    }
}
