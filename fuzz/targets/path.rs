//! The path of a request by any rules: one normal form, or a refusal; never a panic.
//!
//! The form of a form is itself, other spellings of it have the same form, and nothing leaves in it that a backend could
//! take for a dot segment, a control character or a backslash.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice::model::path::{Dots, EncodedSlash, PathRules, Slashes, is_plain, normal};

fuzz_target!(|input: (u8, u64, &str)| {
    let (choice, seed, path) = input;
    let rules = PathRules {
        slashes: if choice & 1 == 0 { Slashes::Merge } else { Slashes::Keep },
        dots: if choice & 2 == 0 { Dots::Refuse } else { Dots::Resolve },
        encoded_slash: if choice & 4 == 0 { EncodedSlash::Keep } else { EncodedSlash::Refuse },
    };
    let Ok(found) = normal(path, &rules) else {
        assert!(!(path.starts_with('/') && is_plain(path)), "a plain path was refused");
        return;
    };
    let form = &*found.path;
    if is_plain(path) {
        assert_eq!((form, &found.boldest), (path, &None));
    }
    assert_eq!(normal(form, &rules).as_ref(), Ok(&found), "the form of a form is another");
    let other = respelled(form, seed);
    let again = normal(&other, &rules).expect("another spelling is refused");
    assert_eq!(again.path, form, "{other}");
    assert!(form.starts_with('/') && form.bytes().all(|b| b.is_ascii_graphic() && b != b'\\'));
    assert!(rules.slashes == Slashes::Keep || !form.contains("//"));
    for reading in [form, found.boldest.as_deref().unwrap_or(form)] {
        let dots = |element: &str| matches!(element.split(';').next(), Some("." | ".."));
        assert!(!reading.split(['/', '\\']).any(dots), "{reading}");
    }
});

/// The same path, with letters encoded and digits of encodings in lower case as the bits of a seed say.
fn respelled(form: &str, seed: u64) -> String {
    let mut text = String::new();
    let mut bytes = form.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        let turn = seed.rotate_left((at % 64) as u32) & 1 == 1;
        if byte == b'%' {
            text.push('%');
            text.extend(bytes.by_ref().take(2).map(|(_, b)| char::from(if turn { b.to_ascii_lowercase() } else { b })));
        } else if turn && (byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')) {
            text.push_str(&format!("%{byte:02x}"));
        } else {
            text.push(char::from(byte));
        }
    }
    text
}
