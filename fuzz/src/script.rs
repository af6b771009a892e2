//! HTTP/2 as a fuzzer can write it: frames in text, so that a changed byte changes a field and not a length.
//!
//! Frames are separated by [`FRAME`]. Each begins with its letter and its stream (`1` to `9`: that one of the client's;
//! `0`: the connection), and the rest is its content:
//!
//! | letter | frame |
//! |---|---|
//! | `H`, `h` | HEADERS of fields separated by [`FIELD`], each a name, [`IS`] and a value; `h` ends the stream |
//! | `C`, `c` | the same, cut into CONTINUATION frames of as many bytes as the next byte says |
//! | `D`, `d` | DATA; `d` ends the stream |
//! | `P`, `p` | the same, padded with as many bytes as the next byte says |
//! | `B`, `b` | HEADERS whose block is written by hand |
//! | `R` | RST_STREAM with the next byte as its reason |
//! | `W` | WINDOW_UPDATE by as much as the next byte says |
//! | `S` | SETTINGS of pairs of bytes, a number and the logarithm of a value |
//! | `Y` | PRIORITY |
//! | `G`, `A` | PING; GOAWAY |
//! | `X` | a frame of the kind and with the flags that the next two bytes say |
//! | `T` | none: time passes |

use crate::reading::Reading;

/// Between frames.
pub const FRAME: u8 = 0x1e;
/// Between fields.
pub const FIELD: u8 = 0x1f;
/// Between the name and the value of a field.
pub const IS: u8 = 0x1d;
/// What a client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// One step of a client.
#[derive(Debug)]
pub enum Step {
    Send(Vec<u8>),
    Wait,
}

/// What was asked on a stream.
#[derive(Debug)]
pub struct Asked {
    pub stream: u32,
    /// As a strict reader of HTTP/1 would have it.
    pub reading: Reading,
    is_reset: bool,
}

/// What a script comes to.
#[derive(Debug, Default)]
pub struct Script {
    pub steps: Vec<Step>,
    /// In the order of their heads.
    pub asked: Vec<Asked>,
    /// Whether there are frames that `asked` does not know.
    pub has_raw: bool,
}

impl Asked {
    /// Where a length is told, a backend has the whole request with its last byte: what follows, be it more than was
    /// told or a reset, comes too late to take anything back.
    fn end_by_length(&mut self) {
        let Reading { fields, body, is_whole, .. } = &mut self.reading;
        let length = fields.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
        if length.is_some_and(|length| body.len() >= length) {
            body.truncate(length.unwrap_or_default());
            *is_whole = true;
        }
    }
}

impl Script {
    /// Reads a script. Every text is one.
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        let mut script = Self::default();
        for frame in text.split(|byte| *byte == FRAME) {
            if let [letter, stream, content @ ..] = frame {
                script.step(*letter, stream_of(*stream), content);
            }
        }
        script.asked.iter_mut().for_each(Asked::end_by_length);
        script
    }

    fn step(&mut self, letter: u8, stream: u32, content: &[u8]) {
        let ends = letter.is_ascii_lowercase();
        let end = if ends { END_STREAM } else { 0 };
        let (first, rest) = content.split_first().map_or((0, content), |(first, rest)| (*first, rest));
        match letter.to_ascii_uppercase() {
            b'H' => {
                let block = block(self.head(stream, content, ends));
                self.send(HEADERS, END_HEADERS | end, stream, &block);
            }
            b'C' => {
                let block = block(self.head(stream, rest, ends));
                let mut pieces = block.chunks(usize::from(first).max(1)).peekable();
                let mut kind = HEADERS;
                while let Some(piece) = pieces.next() {
                    let last = if pieces.peek().is_none() { END_HEADERS } else { 0 };
                    self.send(kind, last | if kind == HEADERS { end } else { 0 }, stream, piece);
                    kind = CONTINUATION;
                }
            }
            b'D' => {
                self.body(stream, content, ends);
                self.send(DATA, end, stream, content);
            }
            b'P' => {
                self.body(stream, rest, ends);
                let padded = [&[first], rest, &vec![0; usize::from(first)]].concat();
                self.send(DATA, PADDED | end, stream, &padded);
            }
            b'B' => {
                self.has_raw = true;
                self.send(HEADERS, END_HEADERS | end, stream, content);
            }
            b'R' => {
                if let Some(asked) = self.asked.iter_mut().find(|asked| asked.stream == stream) {
                    asked.is_reset = true;
                }
                self.send(RST_STREAM, 0, stream, &u32::from(first).to_be_bytes());
            }
            b'W' => self.send(WINDOW_UPDATE, 0, stream, &(1_u32 << (first & 31)).to_be_bytes()),
            b'S' => {
                let mut pairs = Vec::new();
                for pair in content.chunks_exact(2) {
                    pairs.extend(u16::from(pair[0] & 15).to_be_bytes());
                    pairs.extend((1_u32 << (pair[1] & 31)).wrapping_sub(u32::from(pair[1] >> 7)).to_be_bytes());
                }
                self.send(SETTINGS, 0, 0, &pairs);
            }
            b'Y' => self.send(PRIORITY, 0, stream, &[0, 0, 0, first, 15]),
            b'G' => self.send(PING, 0, 0, b"sluice!?"),
            b'A' => self.send(GOAWAY, 0, 0, &[0; 8]),
            b'X' => {
                self.has_raw = true;
                let (flags, payload) = rest.split_first().map_or((0, rest), |(flags, rest)| (*flags, rest));
                self.send(first, flags, stream, payload);
            }
            b'T' => self.steps.push(Step::Wait),
            _ => {}
        }
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = (payload.len() as u32).to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.steps.push(Step::Send([&head, payload].concat()));
    }

    /// Notes a head, or trailers, and gives their fields.
    fn head<'c>(&mut self, stream: u32, content: &'c [u8], ends: bool) -> Vec<(&'c [u8], &'c [u8])> {
        let split = |field: &'c [u8]| {
            let at = field.iter().position(|byte| *byte == IS);
            at.map_or((field, &b""[..]), |at| (&field[..at], &field[at + 1..]))
        };
        let fields: Vec<_> = content.split(|byte| *byte == FIELD).map(split).collect();
        let text = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
        let named: Vec<_> = fields.iter().map(|(name, value)| (text(name), text(value))).collect();
        if let Some(asked) = self.asked.iter_mut().find(|asked| asked.stream == stream) {
            if !asked.reading.is_whole {
                asked.reading.trailers.extend(named);
                asked.reading.is_whole = ends && !asked.is_reset;
            }
            return fields;
        }
        let mut reading = Reading { is_whole: ends, ..Reading::default() };
        for (name, value) in named {
            match &*name {
                ":method" => reading.method = value,
                ":path" => reading.target = value,
                ":authority" => reading.fields.push(("host".into(), value)),
                _ => reading.fields.push((name, value)),
            }
        }
        self.asked.push(Asked { stream, reading, is_reset: false });
        fields
    }

    fn body(&mut self, stream: u32, data: &[u8], ends: bool) {
        let asked = self.asked.iter_mut().find(|asked| asked.stream == stream);
        if let Some(asked) = asked.filter(|asked| !asked.reading.is_whole) {
            asked.reading.body.extend_from_slice(data);
            asked.reading.is_whole = ends && !asked.is_reset;
        }
    }
}

fn stream_of(byte: u8) -> u32 {
    match byte {
        b'0' => 0,
        b'1'..=b'9' => u32::from(byte - b'0') * 2 - 1,
        other => u32::from(other),
    }
}

/// Fields in HPACK: each literal, not indexed, not Huffman-coded (RFC 7541 §6.2.2).
fn block(fields: Vec<(&[u8], &[u8])>) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // §5.1, in seven bits.
            match text.len() {
                short @ 0..127 => block.push(short as u8),
                long => {
                    block.push(127);
                    let mut left = long - 127;
                    while left >= 128 {
                        block.push(left as u8 | 128);
                        left /= 128;
                    }
                    block.push(left as u8);
                }
            }
            block.extend_from_slice(text);
        }
    }
    block
}

/// The bodies that came on streams, and whether each ended.
///
/// # Errors
/// What is wrong with the frames.
pub fn bodies(mut bytes: &[u8]) -> Result<Vec<(u32, String, bool)>, String> {
    let mut all: Vec<(u32, String, bool)> = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = rest.get(..length).ok_or("half a frame")?;
        bytes = &rest[length..];
        let (kind, flags) = (head[3], head[4]);
        if length > 16384 || kind > CONTINUATION || (matches!(kind, HEADERS | DATA) && stream % 2 == 0) {
            return Err(format!("a frame {head:?}"));
        }
        if !matches!(kind, HEADERS | DATA) {
            continue;
        }
        let at = all.iter().position(|(other, ..)| *other == stream);
        let at = at.unwrap_or_else(|| {
            all.push((stream, String::new(), false));
            all.len() - 1
        });
        if all[at].2 {
            return Err(format!("more on stream {stream}, which has ended"));
        }
        if kind == DATA {
            all[at].1.push_str(&String::from_utf8_lossy(payload));
        }
        all[at].2 = flags & END_STREAM != 0;
    }
    if bytes.is_empty() { Ok(all) } else { Err("half a head of a frame".into()) }
}
