//! Pure. Version 2: twelve bytes of signature, four of head, addresses, then values with a type and a length (TLV).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Announcement, Decoded, Ends, Fault, Header, LONGEST, Tls, crc32c};

/// Types of values.
pub mod kind {
    /// The application protocol, as in ALPN.
    pub const ALPN: u8 = 0x01;
    /// The host name the client asked for.
    pub const AUTHORITY: u8 = 0x02;
    /// A checksum of the whole header.
    pub const CRC32C: u8 = 0x03;
    /// Nothing, for alignment.
    pub const NOOP: u8 = 0x04;
    /// Names the connection.
    pub const UNIQUE_ID: u8 = 0x05;
    /// The TLS of the client: a byte of flags, four of the verification's result, then values of its own.
    pub const SSL: u8 = 0x20;
    /// Within `SSL`: the version.
    pub const SSL_VERSION: u8 = 0x21;
    /// Within `SSL`: the common name in the client's certificate.
    pub const SSL_CN: u8 = 0x22;
    /// Within `SSL`: the cipher.
    pub const SSL_CIPHER: u8 = 0x23;
}

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const HEAD: usize = 16;
const LOCAL_COMMAND: u8 = 0x20;
const PROXY_COMMAND: u8 = 0x21;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
/// In `SSL`: the client connected over TLS.
const CLIENT_SSL: u8 = 0x01;
/// In `SSL`: the client showed a certificate, on this connection or on the one whose session it resumes.
const CLIENT_CERT: u8 = 0x02 | 0x04;
/// The longest host name, protocol name and id that are sent.
const LONGEST_VALUE: usize = 255;
const LONGEST_ID: usize = 128;

/// What is sent where there is no client.
pub(super) const LOCAL: [u8; HEAD] = *b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// The values of a header that was found to be whole; see [`kind`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tlvs<'b>(&'b [u8]);

/// A value: its type and its bytes.
pub type Tlv<'b> = (u8, &'b [u8]);

impl<'b> Tlvs<'b> {
    /// The values within a value, as in that of [`kind::SSL`] behind its first five bytes. Ends early where they are cut
    /// off.
    pub fn within(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }
}

impl<'b> Iterator for Tlvs<'b> {
    type Item = Tlv<'b>;

    fn next(&mut self) -> Option<Tlv<'b>> {
        let (kind, value, rest) = split(self.0)?;
        self.0 = rest;
        Some((kind, value))
    }
}

/// Takes the first value off. `None` when none is left, or what is left is none.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<3>()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([head[1], head[2]])))?;
    Some((head[0], value, rest))
}

/// Judges bytes that begin with CR.
pub(super) fn decode(bytes: &[u8]) -> Decoded<'_> {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes[..known] != SIGNATURE[..known] {
        return Decoded::Invalid(Fault::Signature);
    }
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Decoded::Incomplete { needs: HEAD };
    };
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if HEAD + length > LONGEST {
        return Decoded::Invalid(Fault::TooLong);
    }
    if let Err(fault) = shape(head[12], head[13]) {
        return Decoded::Invalid(fault);
    }
    let Some(body) = rest.get(..length) else {
        return Decoded::Incomplete { needs: HEAD + length };
    };
    match read(head, body) {
        Ok((ends, tlvs)) => Decoded::Header(Header { length: HEAD + length, ends, tlvs }),
        Err(fault) => Decoded::Invalid(fault),
    }
}

/// How long the addresses of a command and family are.
fn shape(command: u8, family: u8) -> Result<usize, Fault> {
    if !matches!(command, LOCAL_COMMAND | PROXY_COMMAND) {
        return Err(Fault::Command);
    }
    // The transport: unspecified, a stream, datagrams.
    match (family >> 4, family & 0xf) {
        (0, 0..=2) => Ok(0),
        (1, 0..=2) => Ok(12),
        (2, 0..=2) => Ok(36),
        // Paths of two sockets.
        (3, 0..=2) => Ok(216),
        _ => Err(Fault::Family),
    }
}

fn read<'b>(head: &[u8; HEAD], body: &'b [u8]) -> Result<(Option<Ends>, Tlvs<'b>), Fault> {
    if head[12] == LOCAL_COMMAND {
        // "The receiver must accept this connection as valid and must use the real connection endpoints and discard
        // the protocol block including the family which is ignored."
        return Ok((None, Tlvs::default()));
    }
    let addresses = shape(head[12], head[13])?;
    let (addresses, values) = body.split_at_checked(addresses).ok_or(Fault::Addresses)?;
    let ends = match head[13] >> 4 {
        1 => addresses.first_chunk().map(ends_v4),
        2 => addresses.first_chunk().map(ends_v6),
        _ => None,
    };
    check(head, body, values)?;
    Ok((ends, Tlvs(values)))
}

fn ends_v4(bytes: &[u8; 12]) -> Ends {
    let [a, b, c, d, e, f, g, h, from @ .., p, q] = *bytes;
    Ends {
        from: SocketAddr::from((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes(from))),
        to: SocketAddr::from((Ipv4Addr::new(e, f, g, h), u16::from_be_bytes([p, q]))),
    }
}

fn ends_v6(bytes: &[u8; 36]) -> Ends {
    let ip = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&bytes[at..at + 16]);
        Ipv6Addr::from(octets)
    };
    let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    Ends { from: SocketAddr::from((ip(0), port(32))), to: SocketAddr::from((ip(16), port(34))) }
}

/// Whether the values fill their room exactly, and the checksum among them is that of the header with zeros in its
/// place.
fn check(head: &[u8; HEAD], body: &[u8], values: &[u8]) -> Result<(), Fault> {
    let (mut rest, mut is_checked) = (values, false);
    while !rest.is_empty() {
        let (kind, value, after) = split(rest).ok_or(Fault::Values)?;
        if kind == kind::CRC32C {
            // One, so that checking costs one walk over the header.
            let told = <[u8; 4]>::try_from(value).ok().filter(|_| !is_checked).ok_or(Fault::Values)?;
            let before = &body[..body.len() - after.len() - told.len()];
            if crc32c::of([head, before, &[0; 4], after]) != u32::from_be_bytes(told) {
                return Err(Fault::Checksum);
            }
            is_checked = true;
        }
        rest = after;
    }
    Ok(())
}

/// Appends a header.
pub(super) fn encode(announcement: &Announcement<'_>, into: &mut Vec<u8>) {
    let Announcement { ends, authority, alpn, tls, common_name, unique_id } = *announcement;
    let begin = into.len();
    into.extend_from_slice(&SIGNATURE);
    into.push(PROXY_COMMAND);
    let ends = ends.of_one_family();
    into.push(if ends.from.is_ipv4() { TCP4 } else { TCP6 });
    into.extend_from_slice(&[0; 2]);
    let address = |into: &mut Vec<u8>, end: SocketAddr| match end {
        SocketAddr::V4(v4) => into.extend_from_slice(&v4.ip().octets()),
        SocketAddr::V6(v6) => into.extend_from_slice(&v6.ip().octets()),
    };
    address(into, ends.from);
    address(into, ends.to);
    into.extend_from_slice(&ends.from.port().to_be_bytes());
    into.extend_from_slice(&ends.to.port().to_be_bytes());
    push(into, kind::ALPN, alpn.filter(|alpn| alpn.len() <= LONGEST_VALUE));
    push(into, kind::AUTHORITY, authority.map(str::as_bytes).filter(|name| name.len() <= LONGEST_VALUE));
    push(into, kind::UNIQUE_ID, unique_id.filter(|id| id.len() <= LONGEST_ID));
    if let Some(tls) = tls {
        push_tls(into, tls, common_name.filter(|name| name.len() <= LONGEST_VALUE));
    }
    push(into, kind::CRC32C, Some(&[0; 4]));
    // Bounded above: addresses of 36 bytes and six short values.
    let length = (into.len() - begin - HEAD) as u16;
    into[begin + 14..begin + HEAD].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::of([&into[begin..]]);
    let at = into.len() - 4;
    into[at..].copy_from_slice(&crc.to_be_bytes());
}

fn push(into: &mut Vec<u8>, kind: u8, value: Option<&[u8]>) {
    let Some(value) = value else { return };
    into.push(kind);
    // Every caller's value is shorter.
    into.extend_from_slice(&(value.len() as u16).to_be_bytes());
    into.extend_from_slice(value);
}

fn push_tls(into: &mut Vec<u8>, tls: Tls, common_name: Option<&str>) {
    let mut value = vec![if tls.is_verified { CLIENT_SSL | CLIENT_CERT } else { CLIENT_SSL }];
    // Zero when a certificate was verified.
    value.extend_from_slice(&u32::from(!tls.is_verified).to_be_bytes());
    push(&mut value, kind::SSL_VERSION, Some(tls.version.as_bytes()));
    push(&mut value, kind::SSL_CN, common_name.map(str::as_bytes));
    push(&mut value, kind::SSL_CIPHER, Some(tls.cipher.as_bytes()).filter(|cipher| !cipher.is_empty()));
    push(into, kind::SSL, Some(&value));
}
