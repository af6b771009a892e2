//! Pure. Version 1: `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443` and CRLF.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Decoded, Ends, Fault, Header, Tlvs};

/// The longest line, with its end.
const LONGEST: usize = 107;
/// What is sent where there is no client.
pub(super) const LOCAL: &[u8] = b"PROXY UNKNOWN\r\n";
/// The shortest line, with its end.
pub(super) const SHORTEST: usize = LOCAL.len();

const SIGNATURE: &[u8] = b"PROXY ";

/// Judges bytes that begin with `P`.
pub(super) fn decode(bytes: &[u8]) -> Decoded<'_> {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes[..known] != SIGNATURE[..known] {
        return Decoded::Invalid(Fault::Signature);
    }
    let line = &bytes[..bytes.len().min(LONGEST)];
    match line.iter().position(|byte| *byte == b'\n') {
        Some(end) => match line[..end].strip_suffix(b"\r").and_then(|line| parse(&line[SIGNATURE.len()..])) {
            Some(ends) => Decoded::Header(Header { length: end + 1, ends, tlvs: Tlvs::default() }),
            None => Decoded::Invalid(Fault::Line),
        },
        None if line.len() == LONGEST => Decoded::Invalid(Fault::TooLong),
        None => Decoded::Incomplete { needs: SHORTEST.max(line.len() + 1) },
    }
}

/// What stands between the signature and the end. `None` when it is not of the grammar.
fn parse(text: &[u8]) -> Option<Option<Ends>> {
    if text == b"UNKNOWN" || text.starts_with(b"UNKNOWN ") {
        // Whatever follows is to be ignored.
        return Some(None);
    }
    let mut words = std::str::from_utf8(text).ok()?.split(' ');
    let family = words.next()?;
    let (from, to) = (words.next()?, words.next()?);
    let (from, to): (IpAddr, IpAddr) = match family {
        "TCP4" => (from.parse::<Ipv4Addr>().ok()?.into(), to.parse::<Ipv4Addr>().ok()?.into()),
        "TCP6" => (from.parse::<Ipv6Addr>().ok()?.into(), to.parse::<Ipv6Addr>().ok()?.into()),
        _ => return None,
    };
    let ends =
        Ends { from: SocketAddr::new(from, port(words.next()?)?), to: SocketAddr::new(to, port(words.next()?)?) };
    words.next().is_none().then_some(Some(ends))
}

/// A port as the grammar has it: digits alone, none of them a leading zero.
fn port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_number)
}

/// Appends a line. Both ends are of one family.
pub(super) fn encode(ends: Ends, into: &mut Vec<u8>) {
    let Ends { from, to } = ends;
    let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
    // A vector takes everything.
    let _ = write!(into, "PROXY {family} {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port());
}
