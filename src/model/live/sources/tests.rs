//! Limits of sources: exact over threads, given back, and not to be washed away by a flood.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::model::intent::ListenerKey;
use crate::model::live::Live;

const NOW: Duration = Duration::from_secs(100);

fn state() -> Arc<ListenerState> {
    Live::new(2).listener(&ListenerKey::tcp("127.0.0.1:0".parse().unwrap()))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn stranger(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0xc000_0000 + n))
}

#[test]
fn a_source_is_an_ipv4_address_or_half_an_ipv6_one() {
    assert_eq!(SourceKey::of(ip("::ffff:192.0.2.1")), SourceKey::of(ip("192.0.2.1")));
    assert_eq!(SourceKey::of(ip("2001:db8:1:2::1")), SourceKey::of(ip("2001:db8:1:2:ffff::9")));
    assert_ne!(SourceKey::of(ip("2001:db8:1:2::1")), SourceKey::of(ip("2001:db8:1:3::1")));
}

#[test]
fn what_a_source_holds_is_counted_and_given_back() {
    let state = state();
    let limits = Limits { per_source: 2, ..Limits::default() };
    let admit = |ip| state.admit_source(&limits, ip, || unreachable!("no rate, no clock"));
    let (first, _second) = (admit(stranger(1)).unwrap(), admit(stranger(1)).unwrap());
    assert_eq!(admit(stranger(1)).unwrap_err(), Refusal::SourceTooMany);
    admit(stranger(2)).unwrap();
    drop(first);
    admit(stranger(1)).unwrap();
    assert_eq!(state.sources().remembered(), 1, "who holds nothing is forgotten at once");
}

#[test]
fn without_a_limit_nothing_is_kept() {
    let state = state();
    assert!(state.admit_source(&Limits::default(), stranger(1), || unreachable!()).unwrap().is_none());
    assert!(state.sources_if_any().is_none());
}

#[test]
fn a_source_too_fast_is_refused_until_its_time_has_come() {
    let state = state();
    let limits = Limits { rate: Some(Rate { count: 2, per: Duration::from_secs(1) }), ..Limits::default() };
    let at = |ms| state.admit_source(&limits, stranger(1), || NOW + Duration::from_millis(ms)).map(|_| ());
    assert_eq!([at(0), at(0)], [Ok(()), Ok(())]);
    assert_eq!(at(499), Err(Refusal::SourceTooFast));
    assert_eq!([at(500), at(501)], [Ok(()), Err(Refusal::SourceTooFast)]);
}

#[test]
fn a_flood_of_sources_grows_nothing_and_forgets_nobody_who_holds_something() {
    let state = state();
    let limits =
        Limits { per_source: 1, rate: Some(Rate { count: 1000, per: Duration::from_secs(3600) }), ..Limits::default() };
    let admit = |ip| state.admit_source(&limits, ip, || NOW);
    let held: Vec<_> = (0..500).map(|n| admit(stranger(n)).unwrap()).collect();
    for n in 0..200_000u128 {
        let ip = IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) + (n << 64)));
        drop(admit(ip).unwrap());
    }
    let bound = STRIPES * 2 * MOST + 4 * held.len();
    assert!(state.sources().remembered() <= bound, "{} of {bound}", state.sources().remembered());
    for n in 0..500 {
        assert_eq!(admit(stranger(n)).unwrap_err(), Refusal::SourceTooMany);
    }
    drop(held);
    admit(stranger(0)).unwrap();
}

#[test]
fn threads_together_admit_no_more_than_the_limit() {
    let state = state();
    let limits = Limits { per_source: 7, ..Limits::default() };
    let all: Vec<_> = std::thread::scope(|scope| {
        let one =
            || (0..1000).filter_map(|_| state.admit_source(&limits, stranger(1), || NOW).ok()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(all.len(), 7);
    drop(all);
    assert_eq!(state.sources().remembered(), 0);
}
