//! Source rules against the list they are made of, tried one by one.

use ipnet::{Ipv4Net, Ipv6Net};
use proptest::prelude::*;

use super::*;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn deny_wins_and_an_empty_allow_allows_all() {
    let table = SourceTable::new(&SourceRules { allow: vec![net("10.0.0.0/8")], deny: vec![net("10.1.0.0/16")] });
    assert!(table.admits(at("10.2.3.4:5")));
    assert!(table.admits(at("[::ffff:10.2.3.4]:5")));
    assert!(!table.admits(at("10.1.0.1:5")));
    assert!(!table.admits(at("192.0.2.1:5")));
    assert!(SourceTable::default().admits(at("192.0.2.1:5")));
}

#[test]
fn ipv4_ranges_in_ipv6_clothes_mean_ipv4() {
    let set = RangeSet::new(&[net("::ffff:10.0.0.0/104"), net("2001:db8::/32")]);
    assert!(set.contains("10.255.0.1".parse().unwrap()));
    assert!(set.contains("::ffff:10.0.0.1".parse().unwrap()));
    assert!(!set.contains("11.0.0.1".parse().unwrap()));
    assert!(set.contains("2001:db8:ffff::1".parse().unwrap()));
    assert!(!set.contains("2001:db9::".parse().unwrap()));
}

#[test]
fn the_edges_of_the_address_space_are_inside() {
    let all = RangeSet::new(&[net("0.0.0.0/0"), net("::/0")]);
    for ip in ["0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] {
        assert!(all.contains(ip.parse().unwrap()), "{ip}");
    }
    assert!(!all.is_empty() && RangeSet::new(&[]).is_empty());
}

#[test]
fn tens_of_thousands_of_ranges_are_laid_out_and_found() {
    let ranges: Vec<IpNet> =
        (0..50_000u32).map(|n| IpNet::V4(Ipv4Net::new((0x0a00_0000 + n * 512).into(), 24).unwrap())).collect();
    let set = RangeSet::new(&ranges);
    for n in (0..50_000u32).step_by(97) {
        assert!(set.contains(IpAddr::V4((0x0a00_0000 + n * 512 + 255).into())));
        assert!(!set.contains(IpAddr::V4((0x0a00_0000 + n * 512 + 256).into())));
    }
}

/// Ranges and addresses out of a small corner, so that they meet.
fn range() -> impl Strategy<Value = IpNet> {
    prop_oneof![
        (0u32..4096, 18u8..=32)
            .prop_map(|(low, length)| { IpNet::V4(Ipv4Net::new((0x0a00_0000 | low << 4).into(), length).unwrap()) }),
        (0u128..4096, 48u8..=128).prop_map(|(low, length)| {
            IpNet::V6(Ipv6Net::new((0x2001_0db8 << 96 | low << 68 | low).into(), length).unwrap())
        }),
    ]
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0u32..65536).prop_map(|low| IpAddr::V4((0x0a00_0000 | low).into())),
        (0u32..65536).prop_map(|low| IpAddr::V6(std::net::Ipv4Addr::from(0x0a00_0000 | low).to_ipv6_mapped())),
        (0u128..4096, 0u128..4096).prop_map(|(a, b)| IpAddr::V6((0x2001_0db8 << 96 | a << 68 | b).into())),
    ]
}

proptest! {
    #[test]
    fn a_table_says_what_its_list_says(
        allow in proptest::collection::vec(range(), 0..40),
        deny in proptest::collection::vec(range(), 0..40),
        asked in proptest::collection::vec(address(), 1..40),
    ) {
        let table = SourceTable::new(&SourceRules { allow: allow.clone(), deny: deny.clone() });
        for ip in asked {
            let plain = ip.to_canonical();
            let expected = !deny.iter().any(|range| range.contains(&plain))
                && (allow.is_empty() || allow.iter().any(|range| range.contains(&plain)));
            prop_assert_eq!(table.admits(SocketAddr::new(ip, 1)), expected, "{}", ip);
        }
    }
}
