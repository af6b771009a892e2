//! Pure. The one normal form of a request's path: by it the route is found, and it is what the backend gets.
//!
//! Theory: whoever guards a path by a route must see the path that the backend will act on. So spellings that mean the
//! same become one (RFC 3986 §6.2.2): what needs no encoding is decoded, what needs it is encoded, hexadecimal digits
//! are in upper case, and by the listener's rules slashes in a row are one and dot segments are resolved or refused.
//! What no path needs and backends read differently is refused: a `\`, an encoded control character, a `%` without two
//! digits, a dot segment hidden behind `%2F`, `%5C` or `;`, an encoded slash within the parameters that follow a `;`
//! (who leaves parameters out before decoding reads `/;%2Fx/a` as `/a`, who does it after as `/x/a`).
//!
//! Reserved characters may stand encoded or not, and that may mean two things (RFC 3986 §2.2): a `%2F` belongs to a name
//! for one backend and separates for another. Such a path stays as it is, and comes with its *boldest reading*: that of
//! a backend which decodes all of them, takes `\` for `/`, leaves out what follows a `;` and merges slashes. A path whose
//! two readings belong to routes that do different things is ambiguous, and who routes refuses it.
//!
//! Nearly every path is in its normal form already: that is found out by one look at each byte.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

/// How a listener treats paths that may be written in several ways.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize)]
pub struct PathRules {
    /// Slashes in a row.
    pub slashes: Slashes,
    /// Elements `.` and `..`.
    pub dots: Dots,
    /// `%2F`.
    pub encoded_slash: EncodedSlash,
}

/// What becomes of slashes in a row.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Slashes {
    /// They are one.
    #[default]
    Merge,
    /// They stay.
    Keep,
}

/// What becomes of elements `.` and `..`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dots {
    /// The request is refused.
    #[default]
    Refuse,
    /// They are resolved (RFC 3986 §5.2.4); what leads above the root is refused.
    Resolve,
}

/// What becomes of an encoded slash.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EncodedSlash {
    /// It stays, where both of its readings belong to routes that do the same.
    #[default]
    Keep,
    /// The request is refused.
    Refuse,
}

/// A path in its normal form.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NormalPath<'p> {
    /// The form itself; borrowed where the path came in it.
    pub path: Cow<'p, str>,
    /// What the boldest backend could read, where that is something else.
    pub boldest: Option<String>,
}

/// Why a path is not served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PathFault {
    /// A character that no path may hold, or that is no character.
    Character,
    /// An element `.` or `..` that is not resolved.
    Dots,
    /// An encoded slash where the rules refuse it, or one within parameters.
    EncodedSlash,
    /// A `%` without two hexadecimal digits.
    Encoding,
    /// It does not begin with a slash.
    Relative,
}

impl PathFault {
    /// What is wrong, for who asked.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Character => "the path has a character that no path may have",
            Self::Dots => "the path has dot segments; resolve them before asking",
            Self::EncodedSlash => "the path has an encoded slash, which is not served here",
            Self::Encoding => "a % in the path must be followed by two hexadecimal digits",
            Self::Relative => "the request target must be a path that begins with /",
        }
    }
}

impl fmt::Display for PathFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

/// Whether a path is in its normal form by every rule, and has one reading. It need not begin with a slash for that.
pub fn is_plain(path: &str) -> bool {
    let mut after_slash = false;
    path.bytes().all(|byte| {
        let fits = match CLASS[usize::from(byte)] {
            Class::Plain => true,
            Class::Edge => !after_slash,
            Class::Other => false,
        };
        after_slash = byte == b'/';
        fits
    })
}

/// The normal form of a path, without its query.
///
/// # Errors
/// What no backend is to see.
pub fn normal<'p>(path: &'p str, rules: &PathRules) -> Result<NormalPath<'p>, PathFault> {
    if !path.starts_with('/') {
        return Err(PathFault::Relative);
    }
    if is_plain(path) {
        return Ok(NormalPath { path: Cow::Borrowed(path), boldest: None });
    }
    let (mut form, is_bold) = spelled(path.as_bytes(), rules)?;
    if has_dots(&form) {
        match rules.dots {
            Dots::Refuse => return Err(PathFault::Dots),
            Dots::Resolve => form = resolved(&form)?,
        }
    }
    let mut boldest = None;
    if is_bold {
        let reading = boldest_of(&form)?;
        if has_dots(&reading) {
            return Err(PathFault::Dots);
        }
        boldest = (reading != form).then_some(reading);
    }
    let path = if form == path { Cow::Borrowed(path) } else { Cow::Owned(form) };
    Ok(NormalPath { path, boldest })
}

/// The path spelled the one way, slashes merged if they are to be; and whether there may be another reading.
fn spelled(path: &[u8], rules: &PathRules) -> Result<(String, bool), PathFault> {
    let mut form = String::with_capacity(path.len() + 8);
    let mut is_bold = false;
    let mut rest = path;
    while let [byte, after @ ..] = rest {
        rest = after;
        match byte {
            b'%' => {
                let (byte, after) = decoded(rest).ok_or(PathFault::Encoding)?;
                if byte.is_ascii_control() || is_overlong(byte, after) {
                    return Err(PathFault::Character);
                }
                rest = after;
                if byte == b'/' && rules.encoded_slash == EncodedSlash::Refuse {
                    return Err(PathFault::EncodedSlash);
                }
                is_bold |= is_reserved(byte) || matches!(byte, b'/' | b'\\');
                if is_unreserved(byte) { form.push(char::from(byte)) } else { push_encoded(&mut form, byte) }
            }
            b'/' if form.ends_with('/') => match rules.slashes {
                Slashes::Merge => {}
                Slashes::Keep => {
                    is_bold = true;
                    form.push('/');
                }
            },
            b'/' => form.push('/'),
            b'\\' => return Err(PathFault::Character),
            byte if byte.is_ascii_control() || *byte == b' ' => return Err(PathFault::Character),
            byte if is_unreserved(*byte) || is_reserved(*byte) => {
                is_bold |= *byte == b';';
                form.push(char::from(*byte));
            }
            byte => push_encoded(&mut form, *byte),
        }
    }
    Ok((form, is_bold))
}

/// What a backend could make of a form that decodes everything it may.
fn boldest_of(form: &str) -> Result<String, PathFault> {
    let mut reading = String::with_capacity(form.len());
    let mut in_parameters = false;
    let mut rest = form.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        let mut byte = *byte;
        let is_raw = byte != b'%';
        if byte == b'%'
            && let Some((decoded, after)) = decoded(rest)
            && (is_reserved(decoded) || matches!(decoded, b'/' | b'\\'))
        {
            byte = decoded;
            rest = after;
        }
        match byte {
            // Servlets leave parameters out up to the next bare slash and decode then, others the other way round.
            b'/' | b'\\' if in_parameters && !is_raw => return Err(PathFault::EncodedSlash),
            b'/' | b'\\' => {
                in_parameters = false;
                if !reading.ends_with('/') {
                    reading.push('/');
                }
            }
            b';' => in_parameters = true,
            _ if in_parameters => {}
            // A form is ASCII.
            byte => reading.push(char::from(byte)),
        }
    }
    Ok(reading)
}

fn has_dots(form: &str) -> bool {
    form.split('/').any(|element| matches!(element, "." | ".."))
}

/// The form without dot segments (RFC 3986 §5.2.4).
fn resolved(form: &str) -> Result<String, PathFault> {
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_open = false;
    for element in form.strip_prefix('/').unwrap_or(form).split('/') {
        ends_open = matches!(element, "." | "..");
        match element {
            "." => {}
            ".." => drop(kept.pop().ok_or(PathFault::Dots)?),
            element => kept.push(element),
        }
    }
    if ends_open {
        kept.push("");
    }
    Ok(format!("/{}", kept.join("/")))
}

/// The byte that two hexadecimal digits stand for, and what follows them.
fn decoded(digits: &[u8]) -> Option<(u8, &[u8])> {
    let [high, low, rest @ ..] = digits else { return None };
    let hex = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some((hex(*high)? << 4 | hex(*low)?, rest))
}

/// Whether a byte and the encoded one after it begin a character in more bytes than it takes: what some decoders take
/// for the character all the same (`%C0%AE` for a dot; RFC 3629 §10).
fn is_overlong(byte: u8, rest: &[u8]) -> bool {
    let next = rest.strip_prefix(b"%").and_then(decoded).map(|(next, _)| next);
    match byte {
        0xc0 | 0xc1 => next.is_some_and(|next| (0x80..0xc0).contains(&next)),
        0xe0 => next.is_some_and(|next| (0x80..0xa0).contains(&next)),
        0xf0 => next.is_some_and(|next| (0x80..0x90).contains(&next)),
        _ => false,
    }
}

fn push_encoded(form: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    form.push('%');
    form.push(char::from(DIGITS[usize::from(byte >> 4)]));
    form.push(char::from(DIGITS[usize::from(byte & 15)]));
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Characters of a path that are no letters to a URI and yet stand there as they are (RFC 3986 §3.3), beside the slash.
const fn is_reserved(byte: u8) -> bool {
    matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@')
}

#[derive(Clone, Copy)]
enum Class {
    /// It stands wherever it likes.
    Plain,
    /// After a slash it calls for a closer look.
    Edge,
    /// It calls for a closer look.
    Other,
}

const CLASS: [Class; 256] = {
    let mut classes = [Class::Other; 256];
    let mut byte = 0u8;
    while byte < 128 {
        if is_unreserved(byte) || is_reserved(byte) {
            classes[byte as usize] = Class::Plain;
        }
        byte += 1;
    }
    classes[b';' as usize] = Class::Other;
    classes[b'/' as usize] = Class::Edge;
    classes[b'.' as usize] = Class::Edge;
    classes
};

#[cfg(test)]
mod tests;
