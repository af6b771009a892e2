//! Pure. Which paths may be forwarded: those that mean the same to the routes and to every backend.
//!
//! The path is passed on byte by byte, so a route and its backend always see one string. What they make of it could
//! still differ where it holds dot segments: a backend that resolves `/public/../admin` serves what a route for
//! `/admin` was to guard. Such paths are refused, however the dots and slashes are written. Everything else, an encoded
//! slash in a name too (`/projects/group%2Fname`), is left as it is.

/// Whether an element of the path is `.` or `..` once percent-encoding is undone, taking `/`, `\`, `%2F` and `%5C` as
/// separators and leaving out what follows a `;`.
pub(super) fn has_dot_segment(path: &str) -> bool {
    let bytes = path.as_bytes();
    // Nearly every path has neither an encoded byte nor an element that begins with a dot.
    if !bytes.iter().any(|b| matches!(b, b'.' | b'%')) {
        return false;
    }
    let mut rest = bytes;
    let mut element = Element::default();
    while let Some((byte, length)) = decoded(rest) {
        rest = &rest[length..];
        if matches!(byte, b'/' | b'\\') {
            if element.is_dots() {
                return true;
            }
            element = Element::default();
        } else {
            element.add(byte);
        }
    }
    element.is_dots()
}

/// The first byte with its encoding undone, and how many bytes it took.
fn decoded(bytes: &[u8]) -> Option<(u8, usize)> {
    match bytes {
        [] => None,
        [b'%', high, low, ..] => match (hex(*high), hex(*low)) {
            (Some(high), Some(low)) => Some((high << 4 | low, 3)),
            _ => Some((b'%', 1)),
        },
        [byte, ..] => Some((*byte, 1)),
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

/// What was seen of one element of a path.
#[derive(Default)]
struct Element {
    dots: usize,
    other: bool,
    // Some servers take `..;x` for `..`.
    parameters: bool,
}

impl Element {
    fn add(&mut self, byte: u8) {
        match byte {
            b';' => self.parameters = true,
            _ if self.parameters => {}
            b'.' => self.dots += 1,
            _ => self.other = true,
        }
    }

    fn is_dots(&self) -> bool {
        !self.other && matches!(self.dots, 1 | 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_segments_are_seen_however_they_are_written() {
        for path in [
            "/..",
            "/.",
            "/a/../b",
            "/a/./b",
            "/a/..",
            "/%2e%2E/b",
            "/.%2e/",
            "/a%2f..%2fb",
            "/a\\..\\b",
            "/a%5c../b",
            "/a/..;x=1/b",
        ] {
            assert!(has_dot_segment(path), "{path}");
        }
        for path in [
            "/",
            "/a.b",
            "/.well-known/x",
            "/a/...",
            "/..a",
            "/a..",
            "/projects/group%2Fname",
            "/%",
            "/%2",
            "/%zz",
            "//",
            "/a;..",
            "/100%25",
        ] {
            assert!(!has_dot_segment(path), "{path}");
        }
    }
}
