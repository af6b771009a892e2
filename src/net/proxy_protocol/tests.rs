//! Headers against the `ppp` crate, both ways; and what is no header.

use std::net::{Ipv4Addr, Ipv6Addr};

use ppp::HeaderResult;
use ppp::v2::{Builder, Command, Protocol, Version as PppVersion};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn ends(from: &str, to: &str) -> Ends {
    Ends { from: from.parse().unwrap(), to: to.parse().unwrap() }
}

fn plain(ends: Ends) -> Announcement<'static> {
    Announcement { ends, authority: None, alpn: None, tls: None, common_name: None, unique_id: None }
}

fn encoded(version: Version, announcement: &Announcement<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(version, announcement, &mut bytes);
    bytes
}

fn header(bytes: &[u8]) -> Header<'_> {
    match decode(bytes) {
        Decoded::Header(header) => header,
        other => panic!("{other:?} of {}", bytes.escape_ascii()),
    }
}

#[test]
fn lines_are_read_as_the_grammar_has_them() {
    let cases: [(&str, Option<Ends>); 5] = [
        ("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", Some(ends("192.168.0.1:56324", "192.168.0.11:443"))),
        (
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            Some(ends(
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            )),
        ),
        ("PROXY TCP6 2001:DB8::1 ::1 1 0\r\n", Some(ends("[2001:db8::1]:1", "[::1]:0"))),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN ffff:f...f:ffff whatever \u{e4} 65535 65535\r\n", None),
    ];
    for (line, expected) in cases {
        let with_more = [line.as_bytes(), b"GET / HTTP/1.1\r\n"].concat();
        let found = header(&with_more);
        assert_eq!((found.length, found.ends), (line.len(), expected), "{line}");
    }
}

#[test]
fn what_is_no_line_is_refused_as_soon_as_that_is_sure() {
    for (bytes, fault) in [
        ("GET / HTTP/1.1\r\n", Fault::Signature),
        ("PROXX", Fault::Signature),
        ("proxy TCP4", Fault::Signature),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", Fault::Line),
        ("PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n", Fault::Line),
        ("PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n", Fault::Line),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n", Fault::Line),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", Fault::Line),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n", Fault::Line),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n", Fault::Line),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n", Fault::Line),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 \r\n", Fault::Line),
        ("PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n", Fault::Line),
        ("PROXY TCP4 ::1 ::2 1 2\r\n", Fault::Line),
        ("PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n", Fault::Line),
        ("PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n", Fault::Line),
        ("PROXY UNKNOWNX\r\n", Fault::Line),
        ("PROXY \r\n", Fault::Line),
    ] {
        assert_eq!(decode(bytes.as_bytes()), Decoded::Invalid(fault), "{bytes:?}");
    }
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
    assert_eq!(header(long.as_bytes()).length, 107, "the longest");
    assert_eq!(long.len(), 107);
    let too_long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    assert_eq!(decode(too_long.as_bytes()), Decoded::Invalid(Fault::TooLong));
    assert_eq!(decode(&too_long.as_bytes()[..107]), Decoded::Invalid(Fault::TooLong), "not waited for");
}

#[test]
fn a_binary_header_is_refused_for_each_thing_that_can_be_wrong() {
    let good = encoded(Version::V2, &plain(ends("192.0.2.1:1", "198.51.100.1:443")));
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    for (bytes, fault) in [
        (with(5, b'!'), Fault::Signature),
        (with(12, 0x11), Fault::Command),
        (with(12, 0x22), Fault::Command),
        (with(13, 0x41), Fault::Family),
        (with(13, 0x13), Fault::Family),
        (with(13, 0x21), Fault::Addresses),
        (with(14, 0x10), Fault::TooLong),
        (with(15, 13), Fault::Values),
        (with(16, 7), Fault::Checksum),
        (with(29, 9), Fault::Values),
    ] {
        assert_eq!(decode(&bytes), Decoded::Invalid(fault), "{}", bytes.escape_ascii());
    }
    let twice = [&good[..], &good[28..]].concat();
    let mut twice_told = twice.clone();
    twice_told[15] = (twice.len() - 16) as u8;
    assert!(matches!(decode(&twice_told), Decoded::Invalid(_)), "a second checksum");
    assert_eq!(decode(&good[..5]), Decoded::Incomplete { needs: 16 });
    assert_eq!(decode(&good[..20]), Decoded::Incomplete { needs: good.len() });
}

#[test]
fn who_names_nobody_leaves_the_ends_as_they_are() {
    for version in [Version::V1, Version::V2] {
        let found = header(local(version));
        assert_eq!((found.length, found.ends), (local(version).len(), None));
    }
    // LOCAL with a family and rubbish behind: to be discarded unread.
    let odd = [&b"\r\n\r\n\0\r\nQUIT\n\x20\x11\0\x05"[..], b"rubbish"].concat();
    assert_eq!((header(&odd).length, header(&odd).ends), (21, None));
    let unix = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8"[..], &[b'/'; 216]].concat();
    assert_eq!((header(&unix).length, header(&unix).ends), (232, None));
    let unspecified = b"\r\n\r\n\0\r\nQUIT\n\x21\x00\0\0";
    assert_eq!(header(unspecified).ends, None);
}

#[test]
fn all_that_is_told_of_tls_can_be_read() {
    let announcement = Announcement {
        authority: Some("shop.example.test"),
        alpn: Some(b"h2"),
        tls: Some(Tls { version: "TLSv1.3", cipher: "TLS_AES_128_GCM_SHA256", is_verified: false }),
        unique_id: Some(b"0123"),
        ..plain(ends("[2001:db8::1]:5", "[2001:db8::2]:443"))
    };
    let bytes = encoded(Version::V2, &announcement);
    let found = header(&bytes);
    assert_eq!(found.ends, Some(announcement.ends));
    let tlvs: Vec<_> = found.tlvs.collect();
    assert_eq!(
        tlvs[..3],
        [(kind::ALPN, &b"h2"[..]), (kind::AUTHORITY, b"shop.example.test"), (kind::UNIQUE_ID, b"0123"),]
    );
    let (ssl, value) = tlvs[3];
    assert_eq!((ssl, &value[..5]), (kind::SSL, &[1, 0, 0, 0, 1][..]));
    let within: Vec<_> = Tlvs::within(&value[5..]).collect();
    assert_eq!(within, [(kind::SSL_VERSION, &b"TLSv1.3"[..]), (kind::SSL_CIPHER, b"TLS_AES_128_GCM_SHA256")]);
    assert_eq!(tlvs.len(), 5);
    let tls = announcement.tls.map(|tls| Tls { is_verified: true, ..tls });
    let bytes = encoded(Version::V2, &Announcement { tls, common_name: Some("ann"), ..announcement });
    let (_, value) = header(&bytes).tlvs.find(|(kind, _)| *kind == kind::SSL).unwrap();
    assert_eq!(value[..5], [7, 0, 0, 0, 0]);
    assert!(Tlvs::within(&value[5..]).any(|tlv| tlv == (kind::SSL_CN, &b"ann"[..])));
    let long = "x".repeat(256);
    let too_long = Announcement { authority: Some(&long), unique_id: Some(&[0; 129]), ..announcement };
    let bytes = encoded(Version::V2, &too_long);
    assert_eq!(header(&bytes).tlvs.count(), 3, "what is too long is left out");
}

#[test]
fn ends_of_two_families_are_told_as_ipv6() {
    let mixed = plain(ends("192.0.2.1:5", "[2001:db8::2]:443"));
    for version in [Version::V1, Version::V2] {
        let bytes = encoded(version, &mixed);
        assert_eq!(header(&bytes).ends, Some(ends("[::ffff:192.0.2.1]:5", "[2001:db8::2]:443")));
    }
}

fn any_ends() -> impl Strategy<Value = Ends> {
    let v4 = |(from, to): ([u8; 4], [u8; 4])| (Ipv4Addr::from(from).into(), Ipv4Addr::from(to).into());
    let v6 = |(from, to): ([u8; 16], [u8; 16])| (Ipv6Addr::from(from).into(), Ipv6Addr::from(to).into());
    let ips = prop_oneof![any::<([u8; 4], [u8; 4])>().prop_map(v4), any::<([u8; 16], [u8; 16])>().prop_map(v6)];
    (ips, any::<(u16, u16)>()).prop_map(|((from, to), (from_port, to_port)): ((std::net::IpAddr, _), _)| Ends {
        from: SocketAddr::new(from, from_port),
        to: SocketAddr::new(to, to_port),
    })
}

fn ppp_ends(bytes: &[u8]) -> (usize, Option<Ends>) {
    let v4 = |a: ppp::v2::IPv4| Ends {
        from: (a.source_address, a.source_port).into(),
        to: (a.destination_address, a.destination_port).into(),
    };
    let v6 = |a: ppp::v2::IPv6| Ends {
        from: (a.source_address, a.source_port).into(),
        to: (a.destination_address, a.destination_port).into(),
    };
    match HeaderResult::parse(bytes) {
        HeaderResult::V1(found) => {
            let found = found.unwrap();
            let ends = match found.addresses {
                ppp::v1::Addresses::Unknown => None,
                ppp::v1::Addresses::Tcp4(a) => Some(v4(a)),
                ppp::v1::Addresses::Tcp6(a) => Some(v6(a)),
            };
            (found.header.len(), ends)
        }
        HeaderResult::V2(found) => {
            let found = found.unwrap();
            assert_eq!(
                (found.version, found.command, found.protocol),
                (PppVersion::Two, Command::Proxy, Protocol::Stream)
            );
            let ends = match found.addresses {
                ppp::v2::Addresses::IPv4(a) => Some(v4(a)),
                ppp::v2::Addresses::IPv6(a) => Some(v6(a)),
                ppp::v2::Addresses::Unspecified | ppp::v2::Addresses::Unix(_) => None,
            };
            (found.len(), ends)
        }
    }
}

proptest! {
    #[test]
    fn what_we_write_others_read(
        ends in any_ends(),
        authority in proptest::option::of("[a-z.]{0,255}"),
        alpn in proptest::option::of(vec(any::<u8>(), 0..=255)),
        id in proptest::option::of(vec(any::<u8>(), 0..=128)),
    ) {
        let told = Announcement {
            authority: authority.as_deref(), alpn: alpn.as_deref(), unique_id: id.as_deref(), ..plain(ends)
        };
        for version in [Version::V1, Version::V2] {
            let bytes = encoded(version, &told);
            prop_assert_eq!(ppp_ends(&bytes), (bytes.len(), Some(ends)));
            let ours = header(&bytes);
            prop_assert_eq!((ours.length, ours.ends), (bytes.len(), Some(ends)));
            if version == Version::V2 {
                let theirs = ppp::v2::Header::try_from(&bytes[..]).unwrap();
                let theirs: Vec<_> = theirs.tlvs().map(|tlv| tlv.unwrap()).collect();
                let theirs: Vec<_> = theirs.iter().map(|tlv| (tlv.kind, &*tlv.value)).collect();
                prop_assert_eq!(ours.tlvs.collect::<Vec<_>>(), theirs);
            }
        }
    }

    #[test]
    fn what_others_write_we_read(ends in any_ends(), tlvs in vec((0x40_u8.., vec(any::<u8>(), 0..200)), 0..5)) {
        let mut builder = Builder::with_addresses(PppVersion::Two | Command::Proxy, Protocol::Stream, (ends.from, ends.to));
        for (kind, value) in &tlvs {
            builder = builder.write_tlv(*kind, value).unwrap();
        }
        let bytes = builder.build().unwrap();
        let ours = header(&bytes);
        prop_assert_eq!((ours.length, ours.ends), (bytes.len(), Some(ends)));
        prop_assert_eq!(ours.tlvs.map(|(kind, value)| (kind, value.to_vec())).collect::<Vec<_>>(), tlvs);
    }

    #[test]
    fn part_of_a_header_is_waited_for(ends in any_ends(), v2 in any::<bool>(), after in vec(any::<u8>(), 0..20)) {
        let version = if v2 { Version::V2 } else { Version::V1 };
        let mut bytes = encoded(version, &Announcement { authority: Some("a.test"), ..plain(ends) });
        for length in 0..bytes.len() {
            let Decoded::Incomplete { needs } = decode(&bytes[..length]) else { panic!("{length} of {bytes:?}") };
            prop_assert!(needs > length && needs <= bytes.len());
        }
        let whole = bytes.len();
        bytes.extend(after);
        prop_assert_eq!(header(&bytes).length, whole);
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes in vec(any::<u8>(), 0..600), begin in 0..4) {
        let good = encoded(Version::V2, &plain(ends("192.0.2.1:1", "198.51.100.1:443")));
        match begin {
            0 => {}
            1 => drop(bytes.splice(0..0, good[..12].iter().copied())),
            2 => drop(bytes.splice(0..0, good[..14].iter().copied())),
            _ => drop(bytes.splice(0..0, *b"PROXY TCP4 ")),
        }
        if let Decoded::Header(found) = decode(&bytes) {
            prop_assert!(found.length <= bytes.len());
            found.tlvs.for_each(drop);
        }
    }
}
