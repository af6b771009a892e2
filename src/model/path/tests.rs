//! Paths and their one form.

use proptest::prelude::*;

use super::*;

const KEEP: PathRules = PathRules { slashes: Slashes::Keep, dots: Dots::Resolve, encoded_slash: EncodedSlash::Keep };

fn form(path: &str, rules: &PathRules) -> Result<String, PathFault> {
    normal(path, rules).map(|normal| normal.path.into_owned())
}

fn usual(path: &str) -> Result<String, PathFault> {
    form(path, &PathRules::default())
}

#[test]
fn spellings_of_one_path_have_one_form() {
    for (path, expected) in [
        ("/", "/"),
        ("/%61%2D%2e%5F%7e", "/a-._~"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/café", "/caf%C3%A9"),
        ("/a%20b", "/a%20b"),
        ("/a|b^c`d{e}\"<f>[g]", "/a%7Cb%5Ec%60d%7Be%7D%22%3Cf%3E%5Bg%5D"),
        ("//a///b//", "/a/b/"),
        ("/a%2fb", "/a%2Fb"),
        ("/a%5cb", "/a%5Cb"),
        ("/a%3bb;c=d", "/a%3Bb;c=d"),
        ("/100%25", "/100%25"),
        ("/%2561", "/%2561"),
        ("/%252e%252e/", "/%252e%252e/"),
        ("/.well-known/acme", "/.well-known/acme"),
        ("/...", "/..."),
        ("/..a/a..", "/..a/a.."),
        ("/%E9", "/%E9"),
    ] {
        assert_eq!(usual(path).as_deref(), Ok(expected), "{path}");
    }
    assert!(matches!(normal("/a/b.c", &PathRules::default()).unwrap().path, Cow::Borrowed(_)));
    assert!(matches!(normal("/a%2Fb", &PathRules::default()).unwrap().path, Cow::Borrowed(_)));
}

#[test]
fn what_backends_read_in_their_own_ways_is_refused() {
    for (path, fault) in [
        ("", PathFault::Relative),
        ("a", PathFault::Relative),
        ("*", PathFault::Relative),
        ("/%", PathFault::Encoding),
        ("/%2", PathFault::Encoding),
        ("/%zz", PathFault::Encoding),
        ("/%u002e", PathFault::Encoding),
        ("/%00", PathFault::Character),
        ("/a%0d%0aX: y", PathFault::Character),
        ("/%7F", PathFault::Character),
        ("/\t", PathFault::Character),
        ("/a b", PathFault::Character),
        ("/a\\b", PathFault::Character),
        ("/%c0%ae%c0%ae/", PathFault::Character),
        ("/%e0%80%af", PathFault::Character),
        ("/%f0%80%80%af", PathFault::Character),
        ("/..", PathFault::Dots),
        ("/.", PathFault::Dots),
        ("/a/../b", PathFault::Dots),
        ("/a/./b", PathFault::Dots),
        ("/%2e%2E/b", PathFault::Dots),
        ("/.%2e/", PathFault::Dots),
        ("/a%2f..%2fb", PathFault::Dots),
        ("/a%5c../b", PathFault::Dots),
        ("/a/..;x=1/b", PathFault::Dots),
        ("/a/..%3bx/b", PathFault::Dots),
        ("/a/.;/b", PathFault::Dots),
        ("/;%2Fx/admin", PathFault::EncodedSlash),
        ("/a;x=%2fb/c", PathFault::EncodedSlash),
        ("/a;%5Cb/c", PathFault::EncodedSlash),
        ("/a%3B%2Fb/c", PathFault::EncodedSlash),
    ] {
        assert_eq!(usual(path), Err(fault), "{path}");
    }
    let strict = PathRules { encoded_slash: EncodedSlash::Refuse, ..PathRules::default() };
    assert_eq!(form("/a%2Fb", &strict), Err(PathFault::EncodedSlash));
    assert_eq!(form("/a%5Cb", &strict).as_deref(), Ok("/a%5Cb"));
}

#[test]
fn dot_segments_are_resolved_where_that_is_asked() {
    let rules = PathRules { dots: Dots::Resolve, ..PathRules::default() };
    for (path, expected) in [
        ("/a/../b", Ok("/b")),
        ("/a/b/../../c/./d", Ok("/c/d")),
        ("/a/%2e%2E/b", Ok("/b")),
        ("/a//../b", Ok("/b")),
        ("/a/..", Ok("/")),
        ("/a/b/..", Ok("/a/")),
        ("/a/.", Ok("/a/")),
        ("/./", Ok("/")),
        ("/../a", Err(PathFault::Dots)),
        ("/a/../../b", Err(PathFault::Dots)),
        ("/a%2f..%2fb", Err(PathFault::Dots)),
        ("/a/..;/b", Err(PathFault::Dots)),
    ] {
        assert_eq!(form(path, &rules), expected.map(str::to_owned), "{path}");
    }
    assert_eq!(form("//a//../b", &KEEP).as_deref(), Ok("//a/b"));
}

#[test]
fn a_path_with_two_readings_comes_with_the_bolder() {
    let boldest = |path: &str, rules: &PathRules| normal(path, rules).unwrap().boldest;
    let rules = PathRules::default();
    for (path, reading) in [
        ("/a%2Fb", "/a/b"),
        ("/a%5Cb", "/a/b"),
        ("/a%2F%2Fb", "/a/b"),
        ("/admin;x=1/y;z", "/admin/y"),
        ("/a%3Bb/c", "/a/c"),
        ("/a;b/c%2Fd;e", "/a/c/d"),
        ("/%61dmin%3A%40", "/admin:@"),
    ] {
        assert_eq!(boldest(path, &rules).as_deref(), Some(reading), "{path}");
    }
    for path in ["/", "/a:b@c", "/a%20b%25%3F%23", "/caf%C3%A9", "//a"] {
        assert_eq!(boldest(path, &rules), None, "{path}");
    }
    assert_eq!(boldest("//a", &KEEP).as_deref(), Some("/a"));
}

fn rules() -> impl Strategy<Value = PathRules> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(slashes, dots, encoded_slash)| PathRules {
        slashes: if slashes { Slashes::Merge } else { Slashes::Keep },
        dots: if dots { Dots::Refuse } else { Dots::Resolve },
        encoded_slash: if encoded_slash { EncodedSlash::Keep } else { EncodedSlash::Refuse },
    })
}

/// Paths of what makes them difficult.
fn path() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/", "/", "/", ".", "..", "%2e", "%2E", "%2f", "%2F", "%5c", "\\", ";", "%3b", "a", "%61", "%41", "é",
        "%c3%a9", "%", "%25", "%00", "%20", ":", "%3A", "|", "%C0%AE", "~", "%7e",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

/// Each byte encoded that may be, by the bits of a seed; reserved ones are left, since they would mean something else.
fn respelled(form: &str, seed: u64) -> String {
    let mut bytes = form.bytes().enumerate().peekable();
    let mut text = String::new();
    while let Some((at, byte)) = bytes.next() {
        let turn = seed.rotate_left(at as u32) & 1 == 1;
        if byte == b'%' {
            text.push('%');
            for (_, digit) in bytes.by_ref().take(2) {
                text.push(char::from(if turn { digit.to_ascii_lowercase() } else { digit }));
            }
        } else if is_unreserved(byte) && turn {
            text.push_str(&format!("%{byte:02x}"));
        } else {
            text.push(char::from(byte));
        }
    }
    text
}

proptest! {
    #[test]
    fn the_form_of_a_form_is_itself(path in path(), rules in rules()) {
        if let Ok(first) = normal(&path, &rules) {
            let again = normal(&first.path, &rules).unwrap();
            prop_assert_eq!(&again.path, &first.path);
            prop_assert_eq!(&again.boldest, &first.boldest);
            if is_plain(&path) {
                prop_assert_eq!(&*first.path, &*path);
            }
        }
    }

    #[test]
    fn two_spellings_have_one_form(path in path(), rules in rules(), seed in any::<u64>()) {
        if let Ok(first) = normal(&path, &rules) {
            let other = respelled(&first.path, seed);
            let again = form(&other, &rules);
            prop_assert_eq!(again.as_deref(), Ok(&*first.path), "{}", other);
        }
    }

    #[test]
    fn no_dot_segment_and_nothing_raw_ever_leaves(path in path(), rules in rules()) {
        if let Ok(normal) = normal(&path, &rules) {
            let form = &*normal.path;
            prop_assert!(form.starts_with('/') && form.bytes().all(|b| b.is_ascii_graphic() && b != b'\\'));
            prop_assert!(rules.slashes == Slashes::Keep || !form.contains("//"));
            prop_assert!(rules.encoded_slash == EncodedSlash::Keep || !form.contains("%2F"));
            // Whatever a backend decodes and separates by.
            let bold = form.replace("%2F", "/").replace("%5C", "/").replace("%3B", ";");
            for element in bold.split('/') {
                let name = element.split(';').next().unwrap_or_default();
                prop_assert!(!matches!(name, "." | ".."), "{}", form);
            }
        }
    }

    #[test]
    fn nothing_panics(path in any::<String>(), rules in rules()) {
        let _ = normal(&path, &rules);
    }
}
