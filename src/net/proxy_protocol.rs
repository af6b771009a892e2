//! Pure. The PROXY protocol (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>): a header before a
//! connection's first byte in which a proxy names its client. Version 1 is a line of text, version 2 is binary.
//!
//! [`decode`] judges what has come so far: more is to come, here is a header, or this will never be one. It reads
//! nothing behind the header and takes neither more than 107 bytes (version 1) nor more than [`LONGEST`] (version 2)
//! to decide. [`encode`] writes one. Knows nothing of who is trusted to send one.

use std::net::SocketAddr;

mod crc32c;
mod v1;
mod v2;

pub use v2::{Tlv, Tlvs, kind};

/// The longest header that is taken, in bytes. The protocol allows 65,551; the largest in use carry a client's
/// certificate and stay below this.
pub const LONGEST: usize = 4096;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// A line of text: addresses and ports alone.
    V1,
    /// Binary: addresses, ports and values with a type (TLV).
    V2,
}

/// What the bytes so far are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Decoded<'b> {
    /// They may become a header; nothing can be said before there are `needs` bytes, which are more than there are and
    /// no more than the header has.
    Incomplete {
        /// So many in all.
        needs: usize,
    },
    /// They begin with a header.
    Header(Header<'b>),
    /// They do not, whatever follows.
    Invalid(Fault),
}

/// A header.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Header<'b> {
    /// Its length in bytes; what follows is the client's.
    pub length: usize,
    /// The client and the address it connected to. `None` when the header names nobody (`UNKNOWN`, `LOCAL`, a family
    /// other than IP): then the connection's own addresses stand.
    pub ends: Option<Ends>,
    /// What else it tells (version 2 only).
    pub tlvs: Tlvs<'b>,
}

/// Both ends of a client's connection to a proxy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ends {
    /// The client.
    pub from: SocketAddr,
    /// Where it connected to.
    pub to: SocketAddr,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// They begin with neither signature.
    #[error("does not begin with a PROXY protocol header")]
    Signature,
    /// A line without an end within 107 bytes, or a binary header beyond [`LONGEST`].
    #[error("the PROXY protocol header is longer than is allowed")]
    TooLong,
    /// A line that does not follow the grammar.
    #[error("the PROXY line is not of the form `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443`")]
    Line,
    /// A binary header with a version or command other than 2 and LOCAL or PROXY.
    #[error("the PROXY header has a version or a command that does not exist")]
    Command,
    /// A binary header with a family or transport that does not exist.
    #[error("the PROXY header has an address family or a transport that does not exist")]
    Family,
    /// A binary header too short for its addresses.
    #[error("the PROXY header is too short for its addresses")]
    Addresses,
    /// Values that do not add up to the header's length.
    #[error("the values in the PROXY header do not fit into it")]
    Values,
    /// Its checksum is wrong.
    #[error("the checksum of the PROXY header is wrong")]
    Checksum,
}

/// Judges the first bytes of a connection. Never looks behind the header.
pub fn decode(bytes: &[u8]) -> Decoded<'_> {
    match bytes.first() {
        None => Decoded::Incomplete { needs: v1::SHORTEST },
        Some(b'P') => v1::decode(bytes),
        Some(b'\r') => v2::decode(bytes),
        Some(_) => Decoded::Invalid(Fault::Signature),
    }
}

/// What is told of a client. Version 1 has room for the ends alone.
#[derive(Clone, Copy, Debug)]
pub struct Announcement<'a> {
    /// Who connected to where. When one is of IPv4 and the other of IPv6, both are written as IPv6.
    pub ends: Ends,
    /// The host name that the client asked for (SNI).
    pub authority: Option<&'a str>,
    /// The application protocol (ALPN).
    pub alpn: Option<&'a [u8]>,
    /// TLS that was ended before this connection.
    pub tls: Option<Tls>,
    /// The common name in the client's certificate.
    pub common_name: Option<&'a str>,
    /// Names the client's connection, so that logs can be put together; at most 128 bytes.
    pub unique_id: Option<&'a [u8]>,
}

/// The TLS of a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tls {
    /// As `TLSv1.3`.
    pub version: &'static str,
    /// In OpenSSL's words, as `TLS_AES_128_GCM_SHA256`; empty when it has none.
    pub cipher: &'static str,
    /// Whether the client showed a certificate, which was found good.
    pub is_verified: bool,
}

/// Appends a header to `into`: at most 107 bytes in version 1 and 1,400 in version 2. Version 2 always carries a
/// checksum, which whoever does not know it skips. Values longer than they may be are left out.
pub fn encode(version: Version, announcement: &Announcement<'_>, into: &mut Vec<u8>) {
    match version {
        Version::V1 => v1::encode(announcement.ends.of_one_family(), into),
        Version::V2 => v2::encode(announcement, into),
    }
}

/// The header of a connection that the proxy opens for itself, as for a check.
pub fn local(version: Version) -> &'static [u8] {
    match version {
        Version::V1 => v1::LOCAL,
        Version::V2 => &v2::LOCAL,
    }
}

impl Ends {
    fn of_one_family(self) -> Self {
        match (self.from, self.to) {
            (SocketAddr::V4(_), SocketAddr::V4(_)) | (SocketAddr::V6(_), SocketAddr::V6(_)) => self,
            (from, to) => Self { from: mapped(from), to: mapped(to) },
        }
    }
}

fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port())),
        SocketAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests;
