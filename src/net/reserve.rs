//! How many of the process's descriptors may go to connections of clients. The rest is a reserve for what must go on
//! whatever clients do; who gets a place among them is decided elsewhere.

use rustix::process::{Resource, getrlimit};

/// What one connection of a client needs: its own descriptor, and one to a backend.
const EACH: u64 = 2;
/// What is kept from clients in any case: listening sockets, epolls, the admin port, probes, watches.
const FLOOR: u64 = 32;
/// … and this part of all, in eighths: two for the flows of UDP clients, which have a bound of their own, and one for
/// what some connections need beyond: pipes, waiting connections to backends, streams.
const PART: u64 = 3;

/// One descriptor in so many may be half a pipe: half of the eighth for what connections need beyond.
const PIPED: u64 = 16;

/// The pipes that all threads together may have open, so that those who read slowly take none of what was reserved for
/// others.
pub(super) fn pipes() -> usize {
    getrlimit(Resource::Nofile)
        .current
        .map_or(usize::MAX, |most| usize::try_from(most / PIPED / 2).unwrap_or(usize::MAX))
}

/// The connections of clients that the process has descriptors for, a backend for each included, and a reserve left
/// for everything else. `None`: there is no limit.
pub fn connections() -> Option<usize> {
    getrlimit(Resource::Nofile).current.map(within)
}

fn within(descriptors: u64) -> usize {
    let left = descriptors.saturating_sub(FLOOR + descriptors / 8 * PART) / EACH;
    // However few there are, one is served.
    usize::try_from(left).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_left_whatever_the_limit() {
        for descriptors in [128, 256, 1024, 4096, 20_000, 524_288, 1 << 30] {
            let used = within(descriptors) as u64 * EACH;
            assert!(used + FLOOR <= descriptors, "{descriptors}: {used}");
            assert!(used * 10 > descriptors * 3 || descriptors < 256, "{descriptors}: {used} is a waste");
        }
        assert_eq!(within(0), 1);
        assert!(connections().is_none_or(|count| count > 0));
    }
}
