//! The first bytes of a connection from a proxy: a header, the beginning of one, or none; never a panic.
//!
//! A header is the same however it arrives: byte by byte it is incomplete until its last one, and each step asks for
//! more than there is and for no more than the header has. What is told of both ends can be told on, in both versions.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice::net::proxy_protocol::{Announcement, Decoded, Header, LONGEST, Version, decode, encode};

fuzz_target!(|bytes: &[u8]| {
    let whole = decode(bytes);
    match &whole {
        Decoded::Incomplete { needs } => assert!(*needs > bytes.len() && *needs <= LONGEST),
        Decoded::Invalid(_) => {}
        Decoded::Header(header) => {
            assert!(header.length <= bytes.len().min(LONGEST));
            assert_eq!(decode(&bytes[..header.length]), whole, "what follows is looked at");
            for length in 0..header.length {
                let Decoded::Incomplete { needs } = decode(&bytes[..length]) else {
                    panic!("decided after {length} of {} bytes", header.length);
                };
                assert!(needs > length && needs <= header.length);
            }
            let _ = header.tlvs.clone().count();
            tell_on(header);
        }
    }
});

fn tell_on(header: &Header<'_>) {
    let Some(ends) = header.ends else { return };
    for version in [Version::V1, Version::V2] {
        let mut told = Vec::new();
        let announcement = Announcement { ends, authority: None, alpn: None, tls: None, common_name: None, unique_id: None };
        encode(version, &announcement, &mut told);
        match decode(&told) {
            Decoded::Header(again) => {
                assert_eq!((again.length, again.ends), (told.len(), Some(ends)), "{version:?}");
            }
            other => panic!("{version:?} of {ends:?} is read as {other:?}"),
        }
    }
}
