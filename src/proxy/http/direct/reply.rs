//! Pure. Answers of HTTP/1 backends, read from bytes: heads, and how bodies end (RFC 9112).
//!
//! What could be read in two ways is refused: lengths that are no plain number or differ, codings other than one
//! `chunked`, fields that are folded. A head is looked at once, when all of it is here.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use httparse::{ParserConfig, Status};
use hyper::ext::ReasonPhrase;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode, Version};

use super::chunks::Chunks;

/// The most fields of an answer.
const FIELDS: usize = 100;
/// The longest head, in bytes.
const HEAD: usize = 128 * 1024;

/// What a backend sent is no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the backend's answer is malformed: {0}")]
pub(super) struct Malformed(pub(super) &'static str);

/// How much of a body is still to come.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Rest {
    /// Nothing.
    Nothing,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunks(Chunks),
    /// All until the connection closes.
    UntilClose,
}

/// A head, and what follows.
#[derive(Debug)]
pub(super) struct Reply {
    /// Status and fields. Those that concern this connection alone and say no more than `keeps` and `rest` are not among
    /// them.
    pub(super) head: Response<()>,
    /// How the body ends.
    pub(super) rest: Rest,
    /// Whether the connection may carry another request afterwards.
    pub(super) keeps: bool,
}

/// What one step of reading a body found.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// Bytes of it.
    Data(Bytes),
    /// Fields behind it; it ends with them.
    Trailers(HeaderMap),
    /// Its end.
    End,
    /// More must come first.
    More,
}

/// Takes the head of an answer out of `bytes`, if all of it is there; those with a status of 1xx are dropped. `searched`:
/// how many of the bytes hold no end, to be kept between calls. `to_head`: whether it answers HEAD. The fields are put
/// into `fields`, which is empty.
///
/// # Errors
/// What comes is no answer, or too long.
pub(super) fn reply(
    bytes: &mut BytesMut,
    searched: &mut usize,
    to_head: bool,
    fields: &mut HeaderMap,
) -> Result<Option<Reply>, Malformed> {
    loop {
        let Some(end) = end_of_head(bytes, searched.saturating_sub(2)) else {
            *searched = bytes.len();
            return if bytes.len() < HEAD { Ok(None) } else { Err(Malformed("its head is too long")) };
        };
        *searched = 0;
        let reply = parse(&bytes.split_to(end).freeze(), to_head, fields)?;
        match reply.head.status() {
            // Nobody asked to switch protocols here.
            StatusCode::SWITCHING_PROTOCOLS => return Err(Malformed("it switches protocols")),
            status if status.is_informational() => {
                *fields = reply.head.into_parts().0.headers;
                fields.clear();
            }
            _ => return Ok(Some(reply)),
        }
    }
}

/// Behind the empty line that ends a head; nothing before `from` is one.
fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    let searched = bytes.get(from..)?;
    memchr::memchr_iter(b'\n', searched).find_map(|lf| match searched.get(lf + 1..) {
        Some([b'\n', ..]) => Some(from + lf + 2),
        Some([b'\r', b'\n', ..]) => Some(from + lf + 3),
        _ => None,
    })
}

fn parse(bytes: &Bytes, to_head: bool, fields: &mut HeaderMap) -> Result<Reply, Malformed> {
    let mut room = [const { MaybeUninit::uninit() }; FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut room) {
        Ok(Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => return Err(Malformed("its head ends before its fields do")),
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed("it has too many fields")),
        Err(_) => return Err(Malformed("its head is not HTTP/1")),
    }
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Malformed("its status is none"))?;
    let is_http11 = parsed.version == Some(1);
    let mut framing = Framing { keeps: is_http11, ..Framing::default() };
    let mut map = std::mem::take(fields);
    map.reserve(parsed.headers.len());
    for field in &*parsed.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Malformed("a field has no name"))?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value));
        let value = value.map_err(|_| Malformed("a field has a wrong value"))?;
        if framing.note(&name, &value)? {
            map.append(name, value);
        }
    }
    let is_empty = to_head || status.is_informational() || matches!(status.as_u16(), 204 | 304);
    let (rest, keeps) = framing.rest(is_http11, is_empty)?;
    let mut head = Response::new(());
    (*head.status_mut(), *head.version_mut(), *head.headers_mut()) = (status, Version::HTTP_11, map);
    if let Some(reason) = parsed.reason.filter(|reason| Some(*reason) != status.canonical_reason())
        && let Ok(reason) = ReasonPhrase::try_from(reason.as_bytes())
    {
        head.extensions_mut().insert(reason);
    }
    Ok(Reply { head, rest, keeps })
}

/// What the fields of a head say of the body and the connection.
#[derive(Debug, Default)]
struct Framing {
    keeps: bool,
    closes: bool,
    length: Option<u64>,
    codings: u32,
}

impl Framing {
    /// Notes a field. Whether it is to be kept.
    fn note(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<bool, Malformed> {
        let value = value.as_bytes();
        match *name {
            header::CONTENT_LENGTH => {
                let length = number(value).ok_or(Malformed("its Content-Length is no number"))?;
                if self.length.replace(length).is_some_and(|other| other != length) {
                    return Err(Malformed("it has two lengths"));
                }
            }
            header::TRANSFER_ENCODING => {
                self.codings += 1;
                if self.codings > 1 || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Malformed("its coding is not chunked, once"));
                }
            }
            header::CONNECTION => {
                if value.eq_ignore_ascii_case(b"keep-alive") {
                    self.keeps = true;
                    return Ok(false);
                }
                if value.eq_ignore_ascii_case(b"close") {
                    self.closes = true;
                    return Ok(false);
                }
                let mut tokens = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
                self.closes |= tokens.clone().any(|token| token.eq_ignore_ascii_case(b"close"));
                self.keeps |= tokens.any(|token| token.eq_ignore_ascii_case(b"keep-alive"));
            }
            _ => {}
        }
        Ok(true)
    }

    fn rest(&self, is_http11: bool, is_empty: bool) -> Result<(Rest, bool), Malformed> {
        let keeps = self.keeps && !self.closes;
        Ok(match (self.codings, self.length) {
            (1.., _) if !is_http11 => return Err(Malformed("HTTP/1.0 knows no codings")),
            _ if is_empty => (Rest::Nothing, keeps),
            // Who says both may mean either (RFC 9112 §6.3): the coding holds, and nothing more is read of it.
            (1.., length) => (Rest::Chunks(Chunks::default()), keeps && length.is_none()),
            (_, Some(0)) => (Rest::Nothing, keeps),
            (_, Some(length)) => (Rest::Length(length), keeps),
            (_, None) => (Rest::UntilClose, false),
        })
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

impl Rest {
    /// Takes what it can out of `bytes`.
    ///
    /// # Errors
    /// The chunks are malformed.
    pub(super) fn step(&mut self, bytes: &mut BytesMut) -> Result<Step, Malformed> {
        match self {
            Self::Nothing | Self::Length(0) => Ok(Step::End),
            Self::Chunks(chunks) => chunks.step(bytes),
            _ if bytes.is_empty() => Ok(Step::More),
            Self::Length(left) => {
                let taken = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= taken as u64;
                Ok(Step::Data(bytes.split_to(taken).freeze()))
            }
            Self::UntilClose => Ok(Step::Data(bytes.split().freeze())),
        }
    }

    /// Whether all has come.
    pub(super) fn is_end(&self) -> bool {
        matches!(self, Self::Nothing | Self::Length(0))
    }

    /// How many bytes are still to come, where that is known.
    pub(super) fn exact(&self) -> Option<u64> {
        match self {
            Self::Nothing => Some(0),
            Self::Length(left) => Some(*left),
            Self::Chunks(_) | Self::UntilClose => None,
        }
    }
}

/// Drops `count` bytes.
pub(super) fn skip(bytes: &mut BytesMut, count: usize) {
    bytes.advance(count.min(bytes.len()));
}

#[cfg(test)]
mod tests;
