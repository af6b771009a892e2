//! Pure. What hyper does not tell of a request, looked for in the bytes as they come.
//!
//! hyper reads leniently where the RFC lets it, and passes on one clear meaning: a lone LF ends a line, a
//! `Content-Length` beside `Transfer-Encoding` is dropped, equal lengths become one. After a lone LF among trailers it
//! goes on to the next empty line, and leaves out all between: the request that to others begins there. A proxy in front
//! of us may have read something else. So such requests are refused, and for that the bytes are followed through heads
//! and bodies.
//!
//! Theory: most reads are whole heads without a body, and that is found out sixteen bytes at a time. Else a line of a
//! head costs one search for its end and a look at its first letter, and a body of a known length costs nothing. A split
//! line alone is copied. After a head that asks for another protocol nothing is followed any more:
//! hyper's own reading is right for whatever comes then.

/// A head longer than this is hyper's to refuse.
const LINE: usize = super::HEAD_BYTES;

/// Follows the bytes of one HTTP/1 client.
#[derive(Debug, Default)]
pub(super) struct RawHeads {
    at: At,
    // The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    seen: Seen,
}

/// Where in the client's bytes.
#[derive(Clone, Copy, Debug, Default)]
enum At {
    /// Before a request; empty lines may come.
    #[default]
    Between,
    Head,
    Body(u64),
    /// In the line that says how long a chunk is; whether the number has ended.
    Size(u64, bool),
    /// In a chunk, or the line end after it.
    Chunk(u64),
    /// In the lines after the last chunk; whether this one is empty so far, and whether its last byte was CR.
    Trailers(bool, bool),
    /// Nothing is followed any more.
    Lost,
}

/// What a head said so far.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    length: u64,
    lengths: u32,
    codings: u32,
}

impl RawHeads {
    /// Whether it is within the body of a request, or behind something that was wrong.
    pub(super) fn is_in_body(&self) -> bool {
        !matches!(self.at, At::Between | At::Head)
    }

    /// Follows more bytes. False when a head, a trailer or a chunk's size among them could mean something else to others.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) -> bool {
        if self.are_whole() && are_usual_heads(bytes) {
            return true;
        }
        while !bytes.is_empty() {
            match self.at {
                At::Lost => return true,
                At::Between | At::Head => match self.head_lines(bytes) {
                    Some(rest) => bytes = rest,
                    None => {
                        self.at = At::Lost;
                        return false;
                    }
                },
                At::Body(left) => (self.at, bytes) = skip(left, bytes, At::Body, At::Between),
                At::Chunk(left) => (self.at, bytes) = skip(left, bytes, At::Chunk, At::Size(0, false)),
                At::Size(size, ended) => {
                    let [byte, rest @ ..] = bytes else { return true };
                    // Extensions are dropped, but what may end a line to others stands in none (RFC 9112 §7.1.1).
                    if byte.is_ascii_control() && !matches!(byte, b'\r' | b'\n' | b'\t') {
                        self.at = At::Lost;
                        return false;
                    }
                    self.at = size_after(size, ended, *byte);
                    bytes = rest;
                }
                At::Trailers(empty, cr) => {
                    let [byte, rest @ ..] = bytes else { return true };
                    self.at = match (byte, cr) {
                        (b'\n', true) if empty => At::Between,
                        (b'\n', true) => At::Trailers(true, false),
                        (b'\n', false) | (_, true) => {
                            self.at = At::Lost;
                            return false;
                        }
                        (b'\r', false) => At::Trailers(empty, true),
                        _ => At::Trailers(false, false),
                    };
                    bytes = rest;
                }
            }
        }
        true
    }

    /// Whether what came so far are whole requests.
    pub(super) fn are_whole(&self) -> bool {
        matches!(self.at, At::Between) && self.line.is_empty()
    }

    /// Takes lines up to the end of the head, and keeps a beginning of one: what is left. `None` when one is wrong.
    fn head_lines<'b>(&mut self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            if !self.head_line(bytes.get(start..end)?) {
                return None;
            }
            start = end + 1;
            if !matches!(self.at, At::Between | At::Head) {
                return bytes.get(start..);
            }
        }
        let rest = bytes.get(start..)?;
        if self.line.len() + rest.len() > LINE {
            (self.at, self.line) = (At::Lost, Vec::new());
        } else {
            self.line.extend_from_slice(rest);
        }
        Some(&[])
    }

    /// Takes a line without its LF.
    fn head_line(&mut self, line: &[u8]) -> bool {
        if self.line.is_empty() {
            return self.whole_line(line);
        }
        let mut whole = std::mem::take(&mut self.line);
        whole.extend_from_slice(line);
        self.whole_line(&whole)
    }

    fn whole_line(&mut self, line: &[u8]) -> bool {
        let Some(line) = line.strip_suffix(b"\r") else { return false };
        match (self.at, line) {
            (At::Between, []) => true,
            (At::Head, []) => {
                let Seen { length, lengths, codings } = std::mem::take(&mut self.seen);
                self.at = match (codings, length) {
                    (1.., _) => At::Size(0, false),
                    (_, 0) => At::Between,
                    (_, length) => At::Body(length),
                };
                lengths <= 1 && (lengths == 0 || codings == 0)
            }
            (At::Between, _) => {
                self.at = At::Head;
                true
            }
            (_, line) => {
                self.seen.note(line);
                true
            }
        }
    }
}

impl Seen {
    fn note(&mut self, line: &[u8]) {
        match line {
            [b'c' | b'C', ..] if is_field(line, b"content-length:") => {
                self.lengths += 1;
                let digits = line["content-length:".len()..].trim_ascii();
                let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
                // hyper refuses what is no number.
                self.length = number.unwrap_or_default();
            }
            [b't' | b'T', ..] if is_field(line, b"transfer-encoding:") => self.codings += 1,
            _ => {}
        }
    }
}

/// Whether these are whole heads, one or more, whose lines all end in CR LF, and none of which says how long a body is.
/// False where it takes a closer look.
fn are_usual_heads(bytes: &[u8]) -> bool {
    let from = |at: usize| bytes.get(at..).unwrap_or_default();
    if !bytes.ends_with(b"\r\n\r\n") || bytes.starts_with(b"\n") {
        return false;
    }
    // Without a branch, so that the compiler looks at many bytes at once. The last lines are known.
    let letters = from(2).iter().zip(from(5));
    let after = from(1).iter().zip(letters);
    let unusual = bytes.iter().zip(after).fold(0, |unusual, (before, (end, (first, fourth)))| {
        let (first, fourth) = (first | 0x20, fourth | 0x20);
        let framing = u8::from(first == b'c') & u8::from(fourth == b't');
        let coding = u8::from(first == b't') & u8::from(fourth == b'n');
        unusual | u8::from(*end == b'\n') & (u8::from(*before != b'\r') | framing | coding)
    });
    unusual == 0
}

fn is_field(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
}

/// Leaves out `left` bytes: where that ends, and what is left of `bytes`.
fn skip(left: u64, bytes: &[u8], within: fn(u64) -> At, then: At) -> (At, &[u8]) {
    match usize::try_from(left) {
        Ok(count) if count <= bytes.len() => (then, &bytes[count..]),
        _ => (within(left - bytes.len() as u64), &[]),
    }
}

/// Where one more byte of a chunk's first line leads.
fn size_after(size: u64, ended: bool, byte: u8) -> At {
    match (byte, char::from(byte).to_digit(16)) {
        (b'\n', _) if size == 0 => At::Trailers(true, false),
        (b'\n', _) => size.checked_add(2).map_or(At::Lost, At::Chunk),
        (_, Some(digit)) if !ended => {
            let more = size.checked_mul(16).and_then(|size| size.checked_add(u64::from(digit)));
            more.map_or(At::Lost, |size| At::Size(size, false))
        }
        _ => At::Size(size, true),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether all of it passes, in pieces of every size.
    fn passes(bytes: &str) -> bool {
        let whole = RawHeads::default().follow(bytes.as_bytes());
        for size in 1..bytes.len() {
            let mut heads = RawHeads::default();
            let in_pieces = bytes.as_bytes().chunks(size).all(|piece| heads.follow(piece));
            assert_eq!(in_pieces, whole, "in pieces of {size}: {bytes:?}");
        }
        whole
    }

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const BOTH: &str = "POST / HTTP/1.1\r\ncontent-length: 3\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[test]
    fn heads_with_one_meaning_pass_and_bodies_are_not_read() {
        for bytes in [
            GET,
            "\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 7\r\n\r\na\nb\n\nc\n",
            "POST / HTTP/1.1\r\nContent-Length:0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\n\n\r\n1A;x=\"y\"\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nX: 1\r\n\r\n",
            "GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            "GET / HTTP/1.1\r\nX-Content-Length: 1\r\nContent-Length-X: 1\r\nTransfer-Encodings: x\r\n\r\n",
        ] {
            assert!(passes(bytes), "{bytes:?}");
            assert!(passes(&format!("{bytes}{GET}")), "{bytes:?}");
        }
    }

    #[test]
    fn heads_with_two_meanings_do_not_and_neither_behind_others() {
        let twice = "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n";
        let other_way = "POST / HTTP/1.1\r\nTRANSFER-ENCODING: chunked\r\nCONTENT-LENGTH: 0\r\n\r\n";
        for bytes in
            [BOTH, other_way, twice, "GET / HTTP/1.1\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\n\r\n", "\nGET"]
        {
            assert!(!passes(bytes), "{bytes:?}");
            for first in [
                GET,
                "GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
                "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nabcd",
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4;x\r\nabcd\r\n0\r\n\r\n",
            ] {
                assert!(!passes(&format!("{first}{bytes}")), "{first:?} {bytes:?}");
            }
        }
    }

    #[test]
    fn an_extension_of_a_chunk_has_no_control_characters() {
        let extended = |extension: &str| {
            format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1{extension}\r\na\r\n0\r\n\r\n{GET}")
        };
        assert!(passes(&extended(";\ta=\"b\"")));
        for extension in [";x\0", ";\x0b", ";a=\x7f"] {
            assert!(!passes(&extended(extension)), "{extension:?}");
        }
    }

    #[test]
    fn lines_of_trailers_end_in_cr_lf() {
        let chunked =
            |trailers: &str| format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n{trailers}");
        assert!(passes(&chunked(&format!("X: y\r\nZ:\r\n\r\n{GET}"))));
        for trailers in ["X: y\n\r\n", "X: y\n\n", "\n\r\n", "X: y\r\n\n", "X: y\rz\r\n\r\n", "\r\r\n"] {
            assert!(!passes(&chunked(&format!("{trailers}{GET}\r\n"))), "{trailers:?}");
        }
    }

    proptest! {
        /// What is passed at a glance also passes line by line, and leaves everything as it was.
        #[test]
        fn a_glance_sees_what_a_closer_look_does(pieces in prop::collection::vec(prop::sample::select(vec![
            "\r\n", "\n", "\r", "\r\n\r\n", "GET / HTTP/1.1", "Host: a", "User-Agent: x", "Te: x", "Content-Length: 5",
            "content-length:0", "Connection: x", "Transfer-Encoding: chunked", "t", "Upgrade: x", "c", "X: y",
        ]), 1..12)) {
            let bytes = pieces.concat().into_bytes();
            if are_usual_heads(&bytes) {
                let mut heads = RawHeads::default();
                for byte in &bytes {
                    prop_assert!(heads.follow(std::slice::from_ref(byte)));
                }
                prop_assert!(matches!(heads.at, At::Between) && heads.line.is_empty());
            }
        }
    }

    #[test]
    fn most_heads_are_passed_at_a_glance() {
        assert!(are_usual_heads(GET.as_bytes()));
        let browser = "GET /x HTTP/1.1\r\nHost: a\r\nUser-Agent: Mozilla/5.0\r\nAccept-Language: en\r\nConnection: keep-alive\r\n\
            Cookie: a=b\r\nCache-Control: no-cache\r\nTe: trailers\r\n\r\n";
        assert!(are_usual_heads(browser.as_bytes()));
        assert!(are_usual_heads(browser.repeat(3).as_bytes()));
        for field in ["Content-Length: 0", "cONTENT-lENGTH: 1", "Transfer-Encoding: x"] {
            let head = format!("GET / HTTP/1.1\r\n{field}\r\n\r\n");
            assert!(!are_usual_heads(head.as_bytes()), "{field}");
        }
    }

    #[test]
    fn nothing_is_kept_without_bound() {
        let mut heads = RawHeads::default();
        for _ in 0..100 {
            assert!(heads.follow(&[b'x'; 4096]));
        }
        assert!(matches!(heads.at, At::Lost) && heads.line.capacity() == 0);
    }
}
