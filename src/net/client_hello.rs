//! Pure. What a TLS client says in the clear: the server name and the application protocols of its first message, the
//! ClientHello (RFC 8446 §4.1.2, RFC 6066 §3, RFC 7301 §3.1).
//!
//! [`parse`] judges what has come so far: more is to come, here is a whole hello, or this will never be one. A hello
//! may be cut into several records (RFC 8446 §5.1) and these into any number of segments; what follows it is not looked
//! at. Extensions that are not known (GREASE, RFC 8701) are passed over. Of an encrypted hello (ECH) the outer one is
//! read, whose name is the one its provider wants to be found by.
//!
//! Judging costs one walk over the records that have come; nothing is copied unless the hello lies in several.

use std::borrow::Cow;
use std::ops::Range;

mod message;

/// The most bytes a hello may have, its records' heads counted. Those with keys of post-quantum size stay below 4 KiB,
/// those with a long session ticket below 16 KiB.
pub const LONGEST: usize = 32 * 1024;

/// What the bytes so far are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Parsed<'b> {
    /// They may become a hello.
    Incomplete,
    /// They begin with a whole hello.
    Hello(ClientHello<'b>),
    /// They do not, whatever follows.
    Invalid(Fault),
}

/// A whole hello.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientHello<'b> {
    message: Cow<'b, [u8]>,
    name: Option<Range<usize>>,
    alpn: Range<usize>,
}

/// Why bytes are no hello.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// They are not TLS.
    #[error("is not TLS")]
    NotTls,
    /// TLS, but its first message is no ClientHello.
    #[error("begins with another TLS message than a ClientHello")]
    NotHello,
    /// A record longer than TLS allows (16 KiB), or of no byte.
    #[error("has a TLS record of a length that is not allowed")]
    Record,
    /// Longer than [`LONGEST`].
    #[error("has a ClientHello longer than 32 KiB")]
    TooLong,
    /// Lengths that do not add up, an extension that comes twice, or a name that is none.
    #[error("has a malformed ClientHello")]
    Malformed,
}

impl ClientHello<'_> {
    /// The server name, as it was sent: ASCII, its case kept, not judged any further. `None` when none was sent.
    pub fn name(&self) -> Option<&str> {
        let bytes = self.message.get(self.name.clone()?)?;
        std::str::from_utf8(bytes).ok()
    }

    /// The application protocols the client offers, best first; none when it did not say.
    pub fn alpn(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let mut rest = self.message.get(self.alpn.clone()).unwrap_or_default();
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first()?;
            let (name, after) = after.split_at_checked(usize::from(*length))?;
            rest = after;
            Some(name)
        })
    }
}

const HANDSHAKE: u8 = 22;
const MAJOR: u8 = 3;
const RECORD_HEAD: usize = 5;
const RECORD_LONGEST: usize = 1 << 14;
const CLIENT_HELLO: u8 = 1;
const MESSAGE_HEAD: usize = 4;

/// Judges the first bytes of a connection. Looks at no more than [`LONGEST`] of them.
pub fn parse(bytes: &[u8]) -> Parsed<'_> {
    let seen = &bytes[..bytes.len().min(LONGEST)];
    match gather(seen) {
        Err(fault) => Parsed::Invalid(fault),
        Ok(None) if seen.len() == LONGEST => Parsed::Invalid(Fault::TooLong),
        Ok(None) => Parsed::Incomplete,
        Ok(Some(message)) => match message::read(&message) {
            Some((name, alpn)) => Parsed::Hello(ClientHello { message, name, alpn }),
            None => Parsed::Invalid(Fault::Malformed),
        },
    }
}

/// The body of the first message, when all of it is there.
fn gather(bytes: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Fault> {
    let mut head = Head::default();
    let (mut wanted, mut have) = (None, 0);
    let mut rest = bytes;
    while let Some(record) = Record::first(rest)? {
        head.take(record.part);
        if wanted.is_none() {
            wanted = head.message_length()?;
        }
        have += record.part.len();
        match wanted {
            Some(wanted) if have >= wanted => return Ok(Some(join(bytes, wanted))),
            _ if !record.is_whole => return Ok(None),
            _ => rest = record.after,
        }
    }
    Ok(None)
}

/// The first bytes of the message, wherever its records cut it.
#[derive(Default)]
struct Head {
    bytes: [u8; MESSAGE_HEAD],
    length: usize,
}

impl Head {
    fn take(&mut self, part: &[u8]) {
        let more = part.len().min(MESSAGE_HEAD - self.length);
        self.bytes[self.length..self.length + more].copy_from_slice(&part[..more]);
        self.length += more;
    }

    /// How long the message is with its head, once that is known.
    fn message_length(&self) -> Result<Option<usize>, Fault> {
        let [kind, a, b, c] = self.bytes;
        if self.length > 0 && kind != CLIENT_HELLO {
            return Err(Fault::NotHello);
        }
        let length = MESSAGE_HEAD + u32::from_be_bytes([0, a, b, c]) as usize;
        match self.length {
            MESSAGE_HEAD if length + RECORD_HEAD > LONGEST => Err(Fault::TooLong),
            MESSAGE_HEAD => Ok(Some(length)),
            _ => Ok(None),
        }
    }
}

/// What has come of a record.
struct Record<'b> {
    part: &'b [u8],
    is_whole: bool,
    after: &'b [u8],
}

impl<'b> Record<'b> {
    /// The first record. `None` when its head has not come whole; a head that is wrong is an error as soon as it shows.
    fn first(bytes: &'b [u8]) -> Result<Option<Self>, Fault> {
        let right = |at: usize, byte: u8| bytes.get(at).is_none_or(|found| *found == byte);
        if !(right(0, HANDSHAKE) && right(1, MAJOR)) {
            return Err(Fault::NotTls);
        }
        let Some((head, rest)) = bytes.split_first_chunk::<RECORD_HEAD>() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
        if length == 0 || length > RECORD_LONGEST {
            return Err(Fault::Record);
        }
        Ok(Some(match rest.split_at_checked(length) {
            Some((part, after)) => Self { part, is_whole: true, after },
            None => Self { part: rest, is_whole: false, after: &[] },
        }))
    }
}

/// The body of a message of `wanted` bytes with its head, which the records at the beginning of `bytes` hold.
fn join(bytes: &[u8], wanted: usize) -> Cow<'_, [u8]> {
    let mut whole = Vec::new();
    let mut rest = bytes;
    // They were found to be right a moment ago.
    while let Ok(Some(record)) = Record::first(rest) {
        if whole.is_empty()
            && let Some(message) = record.part.get(MESSAGE_HEAD..wanted)
        {
            return Cow::Borrowed(message);
        }
        whole.extend_from_slice(&record.part[..record.part.len().min(wanted - whole.len())]);
        if whole.len() == wanted {
            break;
        }
        rest = record.after;
    }
    Cow::Owned(whole.split_off(MESSAGE_HEAD.min(whole.len())))
}

#[cfg(test)]
mod tests;
