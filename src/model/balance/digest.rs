//! Pure. Numbers that stand for a client or a backend: the same in every process and on every machine, so that two
//! sluices before the same backends agree, and a restart changes nothing.

use std::net::{IpAddr, SocketAddr};

use crate::model::live::BackendKey;

/// Spreads a draw over all bits (the finaliser of SplitMix64).
pub(super) fn scatter(draw: u64) -> u64 {
    let mut x = draw.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Stands for a client. An IPv4 address counts whole, also when it comes mapped into IPv6. Of a global IPv6 address
/// only the first 64 bits count: a client changes the others every day for its privacy (RFC 8981), and all of them are
/// its own. Unique local and link-local ones (RFC 4193, RFC 4291) count whole, as one /64 of those is a whole house.
pub(super) fn of_source(source: IpAddr) -> u64 {
    match source.to_canonical() {
        IpAddr::V4(v4) => scatter(u64::from(v4.to_bits())),
        IpAddr::V6(v6) => {
            let (network, host) = ((v6.to_bits() >> 64) as u64, v6.to_bits() as u64);
            let is_local = network == 0 || v6.is_unique_local() || v6.is_unicast_link_local();
            // One more round than IPv4 has, so that the two never meet by design.
            scatter(scatter(network) ^ if is_local { host } else { 0 })
        }
    }
}

/// Stands for a backend: its address and who lives there.
pub fn of_backend(key: &BackendKey) -> u64 {
    let mut digest = match key.address {
        SocketAddr::V4(v4) => scatter(u64::from(v4.ip().to_bits())),
        SocketAddr::V6(v6) => {
            let bits = v6.ip().to_bits();
            scatter(scatter((bits >> 64) as u64) ^ bits as u64)
        }
    };
    digest = scatter(digest ^ u64::from(key.address.port()));
    with_bytes(digest, key.instance.as_bytes())
}

/// Stands for what a request is told apart by: its path, or the value of a field.
pub fn of_bytes(bytes: &[u8]) -> u64 {
    with_bytes(scatter(bytes.len() as u64), bytes)
}

fn with_bytes(mut digest: u64, bytes: &[u8]) -> u64 {
    for chunk in bytes.chunks(7) {
        // Seven bytes and their number, so that the end of one text is not the middle of another.
        let word = chunk.iter().fold(chunk.len() as u64, |word, byte| word << 8 | u64::from(*byte));
        digest = scatter(digest ^ word);
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_the_same_by_any_of_its_addresses() {
        let of = |text: &str| of_source(text.parse().unwrap());
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:a:b:c:d"), "one /64 is one client");
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("fd00::1"), of("fd00::2"), "one house has many clients");
        assert_ne!(of("fe80::1"), of("fe80::2"));
        assert_ne!(of("::1"), of("::2"));
    }

    #[test]
    fn a_backend_is_its_address_and_its_instance() {
        let of = |address: &str, instance: &str| {
            of_backend(&BackendKey { address: address.parse().unwrap(), instance: instance.into() })
        };
        let all = [
            of("10.0.0.1:80", ""),
            of("10.0.0.1:81", ""),
            of("10.0.0.2:80", ""),
            of("[2001:db8::1]:80", ""),
            of("[2001:db8::2]:80", ""),
            of("10.0.0.1:80", "a"),
            of("10.0.0.1:80", "b"),
            of("10.0.0.1:80", "3f1c9a40-0d5c-4d4e-9e0f-0123456789ab"),
            of("10.0.0.1:80", "3f1c9a40-0d5c-4d4e-9e0f-0123456789ac"),
        ];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
        // Pinned: another number would move every client at an update.
        assert_eq!(all[5], PINNED, "{:#x}", all[5]);
    }

    #[test]
    fn a_text_is_told_from_every_other_one() {
        let texts = ["", "/", "/a", "/b", "/index.html", "/index.htm", "/index.html ", "/\0", "/\0\0", "\0/"];
        let all: std::collections::BTreeSet<_> = texts.iter().map(|text| of_bytes(text.as_bytes())).collect();
        assert_eq!(all.len(), texts.len());
        assert_eq!(of_bytes(b"/index.html"), PINNED_TEXT, "{:#x}", of_bytes(b"/index.html"));
    }

    const PINNED_TEXT: u64 = 0x0d36_1594_aa84_e4aa;
    const PINNED: u64 = 0xfb1b_0065_579a_fe1a;
}
