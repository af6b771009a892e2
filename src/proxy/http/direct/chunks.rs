//! Pure. Bodies in chunks (RFC 9112 §7.1), read strictly: lines end in CR LF, sizes are hexadecimal digits and nothing
//! else, extensions are dropped and bounded.

use bytes::BytesMut;
use httparse::Status;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::reply::{Malformed, Step, skip};

/// The longest line before a chunk, in bytes.
const LINE: usize = 4096;
/// The most of extensions in one body, in bytes.
const EXTENSIONS: usize = 16 * 1024;
/// The longest trailers, in bytes, …
const TRAILERS: usize = 16 * 1024;
/// … and how many fields they may have.
const FIELDS: usize = 100;

/// Where in a body.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Chunks {
    at: At,
    extensions: usize,
}

#[derive(Debug, Default, Eq, PartialEq)]
enum At {
    /// Before the line with a size.
    #[default]
    Size,
    /// In a chunk: so many bytes are left.
    Data(u64),
    /// Behind a chunk, before its line end.
    After,
    /// Behind the last chunk.
    Trailers,
    End,
}

impl Chunks {
    /// Takes what it can out of `bytes`.
    ///
    /// # Errors
    /// They are malformed.
    pub(super) fn step(&mut self, bytes: &mut BytesMut) -> Result<Step, Malformed> {
        loop {
            match self.at {
                At::Size => {
                    let Some(line) = line_of(bytes, LINE)? else { return Ok(Step::More) };
                    let (size, extension) = size_of(line)?;
                    let length = line.len() + 2;
                    self.extensions += extension;
                    if self.extensions > EXTENSIONS {
                        return Err(Malformed("its chunks have too long extensions"));
                    }
                    skip(bytes, length);
                    self.at = if size == 0 { At::Trailers } else { At::Data(size) };
                }
                At::Data(_) if bytes.is_empty() => return Ok(Step::More),
                At::Data(left) => {
                    let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    let left = left - taken as u64;
                    self.at = if left == 0 { At::After } else { At::Data(left) };
                    return Ok(Step::Data(bytes.split_to(taken).freeze()));
                }
                At::After => match &bytes[..] {
                    [b'\r', b'\n', ..] => {
                        skip(bytes, 2);
                        self.at = At::Size;
                    }
                    [] | [b'\r'] => return Ok(Step::More),
                    _ => return Err(Malformed("a chunk is longer than it says")),
                },
                At::Trailers => {
                    let Some(length) = trailers_length(bytes)? else { return Ok(Step::More) };
                    let trailers = bytes.split_to(length).freeze();
                    self.at = At::End;
                    return if length == 2 { Ok(Step::End) } else { fields_of(&trailers).map(Step::Trailers) };
                }
                At::End => return Ok(Step::End),
            }
        }
    }
}

/// The first line without its CR LF; `None` where its end has not come.
fn line_of(bytes: &[u8], most: usize) -> Result<Option<&[u8]>, Malformed> {
    match memchr::memchr(b'\n', bytes) {
        Some(end) if end > most => Err(Malformed("a line of its chunks is too long")),
        Some(end) => {
            let line = bytes.get(..end).and_then(|line| line.strip_suffix(b"\r"));
            line.map(Some).ok_or(Malformed("a line of its chunks ends in a lone LF"))
        }
        None if bytes.len() > most => Err(Malformed("a line of its chunks is too long")),
        None => Ok(None),
    }
}

/// The size that a line says, and how long its extension is.
fn size_of(line: &[u8]) -> Result<(u64, usize), Malformed> {
    let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, extension) = line.split_at_checked(digits).unwrap_or((line, &[]));
    let text = std::str::from_utf8(digits).unwrap_or_default();
    let size = u64::from_str_radix(text, 16).map_err(|_| Malformed("a chunk has no size"))?;
    // White space may stand before what is dropped.
    match extension.trim_ascii_start() {
        [] | [b';', ..] if !extension.contains(&b'\r') => Ok((size, extension.len())),
        _ => Err(Malformed("the size of a chunk is no number")),
    }
}

/// How long the trailers are, with the empty line behind them; `None` where that has not come.
fn trailers_length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let mut start = 0;
    while let Some(line) = line_of(bytes.get(start..).unwrap_or_default(), TRAILERS)? {
        start += line.len() + 2;
        if line.is_empty() {
            return Ok(Some(start));
        }
        if start > TRAILERS {
            break;
        }
    }
    if bytes.len() > TRAILERS { Err(Malformed("its trailers are too long")) } else { Ok(None) }
}

fn fields_of(bytes: &[u8]) -> Result<HeaderMap, Malformed> {
    let mut room = [httparse::EMPTY_HEADER; FIELDS];
    let Ok(Status::Complete((_, fields))) = httparse::parse_headers(bytes, &mut room) else {
        return Err(Malformed("its trailers are no fields"));
    };
    let mut map = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        match (name, HeaderValue::from_bytes(field.value)) {
            (Ok(name), Ok(value)) => map.append(name, value),
            _ => return Err(Malformed("its trailers are no fields")),
        };
    }
    Ok(map)
}
