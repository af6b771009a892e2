//! The first bytes of a TLS client: a hello with its names, the beginning of one, or none; never a panic.
//!
//! A hello is the same however it arrives. Where rustls reads one too, it reads the same name and protocols.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rustls::server::Acceptor;
use sluice::net::client_hello::{Fault, LONGEST, Parsed, parse};

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes);
    match &whole {
        Parsed::Incomplete => assert!(bytes.len() < LONGEST),
        // rustls takes longer ones, looks at the first name alone, and at no record's version.
        Parsed::Invalid(Fault::TooLong | Fault::Malformed) => {}
        Parsed::Invalid(fault) if records_are_tls(bytes) => {
            assert!(theirs(bytes).is_none(), "rustls accepts what {fault}");
        }
        Parsed::Invalid(_) => {}
        Parsed::Hello(hello) => {
            // What is decided at its last byte stays, and before it nothing is.
            let end = decided(bytes);
            assert_eq!(parse(&bytes[..end]), whole, "what follows changes it");
            let cut = (0..end).step_by(1 + end / 64).chain([end - 1]);
            cut.for_each(|cut| assert_eq!(parse(&bytes[..cut]), Parsed::Incomplete, "after {cut} of {end} bytes"));
            if let Some((name, protocols)) = theirs(&bytes[..end]) {
                // The dot of the root is no part of the name to rustls.
                let ours = hello.name().map(|name| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase());
                assert!(name.is_none() || ours == name, "{ours:?} is {name:?} to rustls");
                assert!(hello.alpn().eq(protocols.iter().map(Vec::as_slice)), "not {protocols:?}");
            }
        }
    }
});

/// Whether each record names a version of TLS.
fn records_are_tls(mut bytes: &[u8]) -> bool {
    while let [_, major, _, high, low, rest @ ..] = bytes {
        if *major != 3 {
            return false;
        }
        bytes = rest.get(usize::from(u16::from_be_bytes([*high, *low]))..).unwrap_or_default();
    }
    true
}

/// How many bytes it takes until the beginning of `bytes` is decided.
fn decided(bytes: &[u8]) -> usize {
    let (mut open, mut closed) = (0, bytes.len());
    while closed - open > 1 {
        let middle = open.midpoint(closed);
        if parse(&bytes[..middle]) == Parsed::Incomplete { open = middle } else { closed = middle }
    }
    closed
}

/// The name and the protocols as rustls reads them, which is stricter; `None` where it accepts no hello.
fn theirs(bytes: &[u8]) -> Option<(Option<String>, Vec<Vec<u8>>)> {
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        acceptor.read_tls(&mut rest).ok().filter(|read| *read > 0)?;
    }
    let accepted = acceptor.accept().ok()??;
    let hello = accepted.client_hello();
    let name = hello.server_name().map(str::to_ascii_lowercase);
    let protocols = hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect();
    Some((name, protocols))
}
