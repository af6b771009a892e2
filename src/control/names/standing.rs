//! Pure. What is known of one name: what was good last, what ails it, and when to ask again.
//!
//! Theory: each family of addresses stands for itself. An answer with addresses replaces those of its family; one that
//! says that there are none is believed only while the other family has some, because a router that has just started
//! denies every name it will know in a minute. So whatever DNS says or fails to say, a name that was answered once
//! never loses its last address; its owner is told, and probes tell whether it still answers.

use std::net::IpAddr;
use std::time::Duration;

/// An answer is good for its time to live, but at least and at most this long.
const GOOD: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// The time until a failed look-up is tried again: doubled with each failure, from the first to the second.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Addresses of a name that are used.
const MOST: usize = 64;

/// What a look-up found.
#[derive(Debug)]
pub(super) struct Answer {
    /// IPv4, of A records.
    pub(super) v4: Family,
    /// IPv6, of AAAA records.
    pub(super) v6: Family,
}

/// What it found of one family.
#[derive(Debug)]
pub(super) enum Family {
    /// These addresses, for this time.
    Found(Vec<IpAddr>, Duration),
    /// There are none, and why.
    Nothing(&'static str),
    /// It is not known whether there are any, and why.
    Failed(String),
}

/// What is told of a name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Standing {
    /// Its addresses in order, IPv4 first.
    pub(super) addresses: Vec<IpAddr>,
    /// What ails it, for its owner.
    pub(super) trouble: Option<String>,
}

/// What is known of a name.
#[derive(Debug, Default)]
pub(super) struct Known {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
    failures: u32,
}

impl Known {
    /// Takes an answer. Says how the name stands now, and how long to wait before it is looked up again.
    pub(super) fn take(&mut self, answer: Answer) -> (Standing, Duration) {
        let (v4, v6) = (dialable(answer.v4), dialable(answer.v6));
        let (found, mut wait, mut trouble) = match (&v4, &v6) {
            (Family::Found(_, one), Family::Found(_, other)) => (true, *one.min(other), None),
            (Family::Found(_, ttl), other) => (true, *ttl, half_failed("IPv6", other, &self.v6)),
            (other, Family::Found(_, ttl)) => (true, *ttl, half_failed("IPv4", other, &self.v4)),
            // A failure says more than a denial of the other family.
            (Family::Failed(reason), _) | (_, Family::Failed(reason)) => (false, GOOD.1, Some(reason.clone())),
            (Family::Nothing(one), Family::Nothing(_)) => (false, GOOD.1, Some((*one).to_owned())),
        };
        keep(&mut self.v4, v4, found);
        keep(&mut self.v6, v6, found);
        self.failures = if trouble.is_some() { self.failures.saturating_add(1) } else { 0 };
        if trouble.is_some() {
            wait = wait.min(retry(self.failures));
        }
        let mut addresses = [self.v4.as_slice(), &self.v6].concat();
        if !found {
            let then = if addresses.is_empty() { "so it serves nothing" } else { "so its last addresses stay in use" };
            trouble = trouble.map(|reason| format!("{reason}, {then}; correct the name, or what answers for it"));
        }
        if addresses.len() > MOST {
            addresses.truncate(MOST);
            trouble
                .get_or_insert_with(|| format!("has more than {MOST} addresses; the first {MOST} in order are used"));
        }
        (Standing { addresses, trouble }, wait.clamp(GOOD.0, GOOD.1))
    }
}

/// Of a name of which one family was found: what ails the other. A server that fails for a family that was never there
/// is no trouble to anybody.
fn half_failed(family: &str, other: &Family, held: &[IpAddr]) -> Option<String> {
    match other {
        Family::Failed(reason) if !held.is_empty() => {
            Some(format!("its {family} addresses cannot be looked up ({reason}), so the last ones stay in use"))
        }
        _ => None,
    }
}

fn keep(held: &mut Vec<IpAddr>, answer: Family, found: bool) {
    match answer {
        Family::Found(addresses, _) => *held = addresses,
        Family::Nothing(_) if found => held.clear(),
        Family::Nothing(_) | Family::Failed(_) => {}
    }
}

/// Sorted, each once, without those that lead nowhere: filters of advertising answer 0.0.0.0.
fn dialable(answer: Family) -> Family {
    let Family::Found(addresses, ttl) = answer else { return answer };
    let leads_somewhere = |ip: &IpAddr| match ip {
        IpAddr::V4(v4) => !v4.is_broadcast() && !v4.is_unspecified() && !v4.is_multicast(),
        // A link-local address means nothing without an interface, which DNS cannot say.
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast() && !v6.is_unicast_link_local(),
    };
    let mut addresses: Vec<_> = addresses.iter().map(IpAddr::to_canonical).filter(leads_somewhere).collect();
    addresses.sort_unstable();
    addresses.dedup();
    match addresses.is_empty() {
        true => Family::Nothing("has no address that can be dialled"),
        false => Family::Found(addresses, ttl),
    }
}

fn retry(failures: u32) -> Duration {
    RETRY.0.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(RETRY.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(addresses: &[&str], ttl: u64) -> Family {
        Family::Found(addresses.iter().map(|ip| ip.parse().unwrap()).collect(), Duration::from_secs(ttl))
    }

    fn take(known: &mut Known, v4: Family, v6: Family) -> (Vec<String>, String, u64) {
        let (standing, wait) = known.take(Answer { v4, v6 });
        let addresses = standing.addresses.iter().map(ToString::to_string).collect();
        (addresses, standing.trouble.unwrap_or_default(), wait.as_secs())
    }

    const NONE: Family = Family::Nothing("does not exist");

    fn failed() -> Family {
        Family::Failed("was not answered".into())
    }

    #[test]
    fn answers_are_sorted_and_live_within_bounds() {
        let known = &mut Known::default();
        let (addresses, trouble, wait) =
            take(known, found(&["10.0.0.9", "10.0.0.1", "10.0.0.9"], 60), found(&["2001:db8::1"], 40));
        assert_eq!(
            (addresses, &*trouble, wait),
            (["10.0.0.1", "10.0.0.9", "2001:db8::1"].map(String::from).into(), "", 40)
        );
        assert_eq!(take(known, found(&["10.0.0.1"], 0), NONE), (vec!["10.0.0.1".into()], String::new(), 1));
        assert_eq!(take(known, found(&["10.0.0.1"], 86_400), NONE).2, 300);
    }

    #[test]
    fn what_cannot_be_dialled_is_left_out() {
        let known = &mut Known::default();
        let v6 = found(&["::", "ff02::1", "fe80::1", "::ffff:192.0.2.1", "fd00::1"], 60);
        let v4 = found(&["0.0.0.0", "224.0.0.1", "255.255.255.255", "127.0.0.1"], 60);
        assert_eq!(take(known, v4, v6).0, ["127.0.0.1", "192.0.2.1", "fd00::1"]);
        let (addresses, trouble, wait) = take(&mut Known::default(), found(&["0.0.0.0"], 60), NONE);
        assert!(
            addresses.is_empty() && trouble.starts_with("has no address that can be dialled, so it serves nothing")
        );
        assert_eq!(wait, 1);
    }

    #[test]
    fn the_last_addresses_stay_whatever_dns_says_and_it_is_asked_less_and_less() {
        for bad in [|| (failed(), failed()), || (NONE, NONE), || (NONE, failed()), || (failed(), NONE)] {
            let known = &mut Known::default();
            take(known, found(&["10.0.0.1"], 60), found(&["fd00::1"], 60));
            let waits: Vec<_> = (0..8)
                .map(|_| {
                    let (v4, v6) = bad();
                    let (addresses, trouble, wait) = take(known, v4, v6);
                    assert_eq!(addresses, ["10.0.0.1", "fd00::1"]);
                    assert!(trouble.contains("so its last addresses stay in use"), "{trouble}");
                    wait
                })
                .collect();
            assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
            assert_eq!(take(known, found(&["10.0.0.2"], 60), NONE), (vec!["10.0.0.2".into()], String::new(), 60));
            let (v4, v6) = bad();
            assert_eq!(take(known, v4, v6).2, 1, "from the start");
        }
    }

    #[test]
    fn a_family_that_fails_keeps_its_own_and_one_that_never_was_is_no_trouble() {
        let known = &mut Known::default();
        assert_eq!(take(known, found(&["10.0.0.1"], 60), failed()), (vec!["10.0.0.1".into()], String::new(), 60));
        take(known, found(&["10.0.0.1"], 60), found(&["fd00::1"], 60));
        let (addresses, trouble, wait) = take(known, found(&["10.0.0.2"], 60), failed());
        assert_eq!(addresses, ["10.0.0.2", "fd00::1"]);
        assert!(trouble.starts_with("its IPv6 addresses cannot be looked up (was not answered)"), "{trouble}");
        assert_eq!(wait, 1);
        assert_eq!(take(known, found(&["10.0.0.2"], 60), NONE).0, ["10.0.0.2"], "it is said that there are none");
    }

    #[test]
    fn a_name_of_very_many_addresses_is_cut_and_told() {
        let many: Vec<_> = (0..200u8).map(|n| format!("10.0.0.{n}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let (addresses, trouble, wait) = take(&mut Known::default(), found(&many, 60), NONE);
        assert_eq!((addresses.len(), &*addresses[63], wait), (64, "10.0.0.63", 60));
        assert!(trouble.starts_with("has more than 64 addresses"));
    }
}
