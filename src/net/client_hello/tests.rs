//! Hellos of a real client, and hellos made by hand for what no real client sends.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;

/// What a real client sends first.
fn real(host: &str, alpn: &[&str]) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from(host.to_owned()).unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), value].concat()
}

fn name(host: &[u8]) -> Vec<u8> {
    let entry = [&[0][..], &(host.len() as u16).to_be_bytes(), host].concat();
    extension(0, &[&(entry.len() as u16).to_be_bytes()[..], &entry].concat())
}

fn alpn(list: &[u8]) -> Vec<u8> {
    extension(16, &[&(list.len() as u16).to_be_bytes()[..], list].concat())
}

/// A body that ends with these bytes behind the compressions.
fn body(tail: &[u8]) -> Vec<u8> {
    [&[3, 3][..], &[7; 32], &[2, 1, 1], &[0, 2, 0x13, 1], &[1, 0], tail].concat()
}

fn with(extensions: &[Vec<u8>]) -> Vec<u8> {
    let all = extensions.concat();
    body(&[&(all.len() as u16).to_be_bytes()[..], &all].concat())
}

/// A message in records of so many bytes.
fn in_records(body: &[u8], size: usize) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    let message = [&[1][..], &length[1..], body].concat();
    let record = |part: &[u8]| [&[22, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat();
    message.chunks(size).flat_map(record).collect()
}

fn hello(bytes: &[u8]) -> (Option<String>, Vec<String>) {
    match parse(bytes) {
        Parsed::Hello(hello) => {
            let alpn = hello.alpn().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
            (hello.name().map(str::to_owned), alpn)
        }
        other => panic!("{other:?}"),
    }
}

fn says(host: &str, alpn: &[&str]) -> (Option<String>, Vec<String>) {
    (Some(host.to_owned()), alpn.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn a_real_client_is_read_however_its_hello_is_cut() {
    let bytes = real("Shop.example.test", &["h2", "http/1.1"]);
    for length in 0..bytes.len() {
        assert_eq!(parse(&bytes[..length]), Parsed::Incomplete, "{length} of {}", bytes.len());
    }
    let expected = says("Shop.example.test", &["h2", "http/1.1"]);
    assert_eq!(hello(&bytes), expected);
    let and_more = [&bytes[..], b"early data"].concat();
    assert_eq!(hello(&and_more), expected);
    let body = &bytes[9..];
    for size in [1, 2, 3, 4, 5, 100, 16_384] {
        assert_eq!(hello(&in_records(body, size)), expected, "records of {size}");
    }
    assert_eq!(hello(&real("192.0.2.1", &[])), (None, vec![]), "who names an address sends no name");
}

#[test]
fn large_hellos_are_read_up_to_the_bound() {
    let large = |size: usize| in_records(&with(&[extension(51, &vec![0; size]), name(b"a.test")]), RECORD_LONGEST);
    assert_eq!(hello(&large(1_700)), says("a.test", &[]), "a post-quantum key");
    assert_eq!(hello(&large(20_000)), says("a.test", &[]), "two records");
    assert_eq!(hello(&large(LONGEST - 90)), says("a.test", &[]));
    assert_eq!(parse(&large(LONGEST)), Parsed::Invalid(Fault::TooLong));
    assert_eq!(parse(&large(LONGEST)[..9]), Parsed::Invalid(Fault::TooLong), "as soon as it says so");
    let in_crumbs = in_records(&with(&[extension(51, &[0; 10_000]), name(b"a.test")]), 1);
    assert_eq!(parse(&in_crumbs), Parsed::Invalid(Fault::TooLong), "the heads of records count");
}

#[test]
fn what_is_no_hello_is_refused_as_soon_as_that_is_sure() {
    let good = in_records(&with(&[name(b"a.test")]), 4096);
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    for (bytes, fault) in [
        (b"G".to_vec(), Fault::NotTls),
        (b"\x16\x02".to_vec(), Fault::NotTls),
        (b"\x80\x2e\x01\x03\x01".to_vec(), Fault::NotTls),
        (b"\x15\x03\x01\0\x02\x02\x28".to_vec(), Fault::NotTls),
        (b"\x16\x03\x01\0\0".to_vec(), Fault::Record),
        (b"\x16\x03\x01\x40\x01".to_vec(), Fault::Record),
        (b"\x16\x03\x01\0\x05\x02".to_vec(), Fault::NotHello),
        (changed(8, 0), Fault::Malformed),
        (changed(43, 33), Fault::Malformed),
    ] {
        assert_eq!(parse(&bytes), Parsed::Invalid(fault), "{}", bytes.escape_ascii());
    }
    // A second record that is none, while the message goes on.
    let cut = in_records(&with(&[name(b"a.test")]), 10);
    let broken = [&cut[..15], b"\x17\x03\x03\0\x01"].concat();
    assert_eq!(parse(&broken), Parsed::Invalid(Fault::NotTls));
}

#[test]
fn extensions_must_add_up_and_come_once() {
    let grease = extension(0x7a7a, &[1]);
    let fine: [(&[Vec<u8>], _); 4] = [
        (&[grease.clone(), name(b"a.test"), extension(0xfe0d, &[0; 40])], says("a.test", &[])),
        (&[grease.clone(), extension(0x8a8a, &[])], (None, vec![])),
        (&[alpn(b"\x02h2\x0213"), name(b"A.test")], says("A.test", &["h2", "13"])),
        (&[], (None, vec![])),
    ];
    for (extensions, expected) in fine {
        assert_eq!(hello(&in_records(&with(extensions), 4096)), expected);
    }
    assert_eq!(hello(&in_records(&body(&[]), 4096)), (None, vec![]), "none at all");
    let other_type = extension(0, &[0, 4, 1, 0, 1, b'x']);
    let two_names = extension(0, &[0, 8, 0, 0, 1, b'x', 0, 0, 1, b'y']);
    let trailing = |mut extension: Vec<u8>| {
        extension.push(0);
        extension[3] += 1;
        extension
    };
    let wrong: [&[Vec<u8>]; 12] = [
        &[name(b"a.test"), name(b"b.test")],
        &[alpn(b"\x02h2"), alpn(b"\x02h2")],
        &[grease.clone(), grease],
        &[name(b"")],
        &[name(b"\xc3\xa4.test")],
        &[two_names],
        &[other_type],
        &[trailing(name(b"a.test"))],
        &[trailing(alpn(b"\x02h2"))],
        &[alpn(b"")],
        &[alpn(b"\0")],
        &[alpn(b"\x03h2")],
    ];
    for extensions in wrong {
        let bytes = in_records(&with(extensions), 4096);
        assert_eq!(parse(&bytes), Parsed::Invalid(Fault::Malformed), "{}", bytes.escape_ascii());
    }
    let mut longer = with(&[name(b"a.test")]);
    longer.push(0);
    assert_eq!(parse(&in_records(&longer, 4096)), Parsed::Invalid(Fault::Malformed), "bytes behind the extensions");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..300), head in 0..3, size in 1_usize..400) {
        let bytes = match head {
            0 => bytes,
            1 => in_records(&bytes, size),
            _ => in_records(&body(&bytes), size),
        };
        if let Parsed::Hello(hello) = parse(&bytes) {
            hello.alpn().for_each(drop);
            let _ = hello.name();
        }
    }

    #[test]
    fn a_changed_byte_never_makes_it_panic(at in 0_usize..220, byte: u8, size in 1_usize..300) {
        let mut bytes = in_records(&with(&[alpn(b"\x02h2\x08http/1.1"), name(b"shop.example.test")]), size);
        let at = at % bytes.len();
        bytes[at] = byte;
        for length in 0..=bytes.len() {
            if let Parsed::Hello(hello) = parse(&bytes[..length]) {
                hello.alpn().for_each(drop);
                let _ = hello.name();
            }
        }
    }
}

/// The name and the protocols as rustls reads them. `None` where it accepts no hello.
fn by_rustls(bytes: &[u8]) -> Option<(Option<String>, Vec<String>)> {
    let mut acceptor = rustls::server::Acceptor::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        acceptor.read_tls(&mut rest).ok().filter(|count| *count > 0)?;
    }
    let accepted = acceptor.accept().ok()??;
    let hello = accepted.client_hello();
    let alpn = hello.alpn().into_iter().flatten().map(|name| String::from_utf8_lossy(name).into_owned());
    Some((hello.server_name().map(str::to_ascii_lowercase), alpn.collect()))
}

proptest! {
    #[test]
    fn what_rustls_takes_we_read_the_same_or_not_at_all(
        changes in vec((any::<proptest::sample::Index>(), any::<u8>(), 0..4), 0..3), size in 40_usize..2000,
    ) {
        let mut body = real("shop.example.test", &["h2", "http/1.1"]).split_off(9);
        for (at, byte, kind) in changes {
            let at = at.index(body.len());
            match kind {
                0 => body[at] = byte,
                1 => body[at] = body[at].wrapping_add(byte % 3).wrapping_sub(1),
                2 => drop(body.remove(at)),
                _ => body.insert(at, byte),
            }
        }
        let bytes = in_records(&body, size);
        // We are stricter with names of types that do not exist: they have a length too (RFC 6066 §3).
        if let (Some((name, alpn)), Parsed::Hello(_)) = (by_rustls(&bytes), parse(&bytes)) {
            let (ours, ours_alpn) = hello(&bytes);
            prop_assert_eq!(&ours_alpn, &alpn);
            // It takes an address for no name.
            prop_assert!(name.is_none() || name == ours.map(|name| name.to_ascii_lowercase()));
        }
    }
}
