//! Pure. The heads of HTTP/2 frames in a stream of bytes that comes in pieces of any size (RFC 9113 §4.1).
//!
//! Theory: a frame is nine bytes that say how many follow, and those. The reader collects the nine, tells them, and lets
//! the rest go by without looking at it, so it costs the same for a frame of any length and holds nine bytes at most. It
//! judges nothing: what is wrong with a frame is for who reads it whole.

/// The first bytes of a client, before its first frame (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The length of a frame's head, in bytes.
pub const HEAD: usize = 9;

/// DATA.
pub const DATA: u8 = 0x0;
/// HEADERS: a request, an answer, or trailers.
pub const HEADERS: u8 = 0x1;
/// SETTINGS.
pub const SETTINGS: u8 = 0x4;
/// GOAWAY.
pub const GOAWAY: u8 = 0x7;

/// The flag of DATA and HEADERS: nothing more comes on the stream.
pub const END_STREAM: u8 = 0x1;
/// The flag of SETTINGS and PING: an answer to the other side's.
pub const ACK: u8 = 0x1;

/// The code of a GOAWAY to a peer that causes too much work (RFC 9113 §7).
pub const ENHANCE_YOUR_CALM: u32 = 0xb;

/// What the head of a frame says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Head {
    /// Bytes that follow, below 2²⁴.
    pub length: u32,
    /// The type of the frame.
    pub kind: u8,
    /// The flags of its type.
    pub flags: u8,
    /// Its stream, below 2³¹; 0: the connection.
    pub stream: u32,
}

impl Head {
    /// Reads nine bytes.
    pub fn of(bytes: [u8; HEAD]) -> Self {
        let [a, b, c, kind, flags, w, x, y, z] = bytes;
        // The first bit of the stream is reserved and ignored.
        Self { length: u32::from_be_bytes([0, a, b, c]), kind, flags, stream: u32::from_be_bytes([w & 0x7f, x, y, z]) }
    }

    /// As nine bytes. What does not fit its field is cut.
    pub fn bytes(self) -> [u8; HEAD] {
        let [_, a, b, c] = self.length.to_be_bytes();
        let [w, x, y, z] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, w & 0x7f, x, y, z]
    }
}

/// A GOAWAY that ends the connection; `last`: the highest stream that may have been served.
pub fn go_away(last: u32, code: u32) -> [u8; HEAD + 8] {
    let mut frame = [0; HEAD + 8];
    let head = Head { length: 8, kind: GOAWAY, flags: 0, stream: 0 }.bytes();
    let body = last.to_be_bytes().into_iter().chain(code.to_be_bytes());
    frame.iter_mut().zip(head.into_iter().chain(body)).for_each(|(to, byte)| *to = byte);
    frame
}

/// Finds the heads in one direction of a connection.
#[derive(Debug)]
pub struct Frames {
    head: [u8; HEAD],
    // Bytes of the head that are there.
    filled: usize,
    // Bytes that belong to the frame whose head came last, or to the preface.
    rest: usize,
}

impl Frames {
    /// What a server writes: frames from the first byte.
    pub fn of_server() -> Self {
        Self { head: [0; HEAD], filled: 0, rest: 0 }
    }

    /// What a client writes: the preface, then frames.
    pub fn of_client() -> Self {
        Self { rest: PREFACE.len(), ..Self::of_server() }
    }

    /// Whether the last frame is whole and the next has not begun.
    pub fn is_between(&self) -> bool {
        self.filled == 0 && self.rest == 0
    }

    /// Takes the next bytes, and tells each head that ends in them.
    pub fn take(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Head)) {
        loop {
            let gone = self.rest.min(bytes.len());
            self.rest -= gone;
            bytes = bytes.get(gone..).unwrap_or_default();
            if bytes.is_empty() {
                return;
            }
            let head = match bytes.split_first_chunk() {
                Some((head, after)) if self.filled == 0 => {
                    bytes = after;
                    Head::of(*head)
                }
                _ => {
                    let room = self.head.iter_mut().skip(self.filled);
                    let copied = room.zip(bytes).map(|(to, byte)| *to = *byte).count();
                    bytes = bytes.get(copied..).unwrap_or_default();
                    self.filled += copied;
                    if self.filled < HEAD {
                        return;
                    }
                    self.filled = 0;
                    Head::of(self.head)
                }
            };
            self.rest = head.length as usize;
            tell(head);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn heads(frames: &mut Frames, pieces: &[&[u8]]) -> Vec<Head> {
        let mut heads = Vec::new();
        pieces.iter().for_each(|piece| frames.take(piece, |head| heads.push(head)));
        heads
    }

    #[test]
    fn a_client_begins_with_its_preface() {
        let settings = Head { length: 0, kind: SETTINGS, flags: 0, stream: 0 };
        let mut frames = Frames::of_client();
        assert!(!frames.is_between());
        let bytes = [PREFACE, &settings.bytes()].concat();
        assert_eq!(heads(&mut frames, &[&bytes]), [settings]);
        assert!(frames.is_between());
    }

    #[test]
    fn the_reserved_bit_is_nothing_of_the_stream() {
        let head = Head::of([0, 0, 0, 6, 1, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!((head.kind, head.flags, head.stream), (6, 1, 0x7fff_ffff));
    }

    #[test]
    fn a_goaway_is_a_frame_that_says_why() {
        let bytes = go_away(7, ENHANCE_YOUR_CALM);
        assert_eq!(bytes, [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0xb]);
    }

    fn frame() -> impl Strategy<Value = (Head, usize)> {
        (0u32..600, any::<u8>(), any::<u8>(), 0u32..=0x7fff_ffff)
            .prop_map(|(length, kind, flags, stream)| (Head { length, kind, flags, stream }, length as usize))
    }

    proptest! {
        /// However the bytes are cut, the heads are those that were written, and only whole frames leave it between two.
        #[test]
        fn heads_are_found_in_any_pieces(frames in vec(frame(), 0..12), cuts in vec(0usize..4000, 0..20)) {
            let mut bytes = Vec::new();
            for (head, length) in &frames {
                bytes.extend(head.bytes());
                bytes.extend(vec![0xa5; *length]);
            }
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|two| &bytes[two[0]..two[1]]).collect();
            let mut reader = Frames::of_server();
            let expected: Vec<_> = frames.iter().map(|(head, _)| *head).collect();
            prop_assert_eq!(heads(&mut reader, &pieces), expected);
            prop_assert!(reader.is_between());
            reader.take(&[0], |_| {});
            prop_assert!(!reader.is_between());
        }

        /// Anything may come.
        #[test]
        fn noise_is_cut_the_same_way_in_one_piece_and_in_many(bytes in vec(any::<u8>(), 0..300), size in 1usize..20) {
            let pieces: Vec<_> = bytes.chunks(size).collect();
            let (mut whole, mut cut) = (Frames::of_client(), Frames::of_client());
            prop_assert_eq!(heads(&mut whole, &[&bytes]), heads(&mut cut, &pieces));
            prop_assert_eq!(whole.is_between(), cut.is_between());
        }
    }
}
