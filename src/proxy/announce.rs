//! Tells a backend who its client is, by a PROXY protocol header before the first byte.
//!
//! Version 2 tells beside the addresses what is known: the server name, the application protocol, the TLS that ended
//! here, and an id of the client's connection, which the debug log names too.

use std::io;

use rustls::{CipherSuite, ProtocolVersion};
use tokio::net::TcpStream;
use tracing::debug;

use crate::model::intent::ProxyVersion;
use crate::net::first;
use crate::net::proxy_protocol::{Announcement, Ends, Tls, Version, encode};

/// What backends are told of a client.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// The client and the address it connected to.
    pub(super) ends: Ends,
    /// The server name it asked for.
    pub(super) authority: Option<Box<str>>,
    /// The application protocol it speaks.
    pub(super) alpn: Option<Box<[u8]>>,
    /// The TLS that ended here.
    pub(super) tls: Option<Tls>,
    /// The common name in its certificate.
    pub(super) common_name: Option<Box<str>>,
    /// Drawn by chance, one for each connection of a client.
    pub(super) id: [u64; 2],
}

/// Sends the header on a fresh connection. `more`: the next bytes are at hand and leave with it.
pub(super) fn send(stream: &TcpStream, version: ProxyVersion, told: &Told, more: bool) -> io::Result<()> {
    let Told { ends, authority, alpn, tls, common_name, id } = told;
    let id = format!("{:016x}{:016x}", id[0], id[1]);
    let announcement = Announcement {
        ends: *ends,
        authority: authority.as_deref(),
        alpn: alpn.as_deref(),
        tls: *tls,
        common_name: common_name.as_deref(),
        unique_id: Some(id.as_bytes()),
    };
    let version = match version {
        ProxyVersion::V1 => Version::V1,
        ProxyVersion::V2 => Version::V2,
    };
    let mut header = Vec::with_capacity(256);
    encode(version, &announcement, &mut header);
    debug!(client = %ends.from, id, ?version, "told a backend of its client");
    first::put(stream, &header, more)
}

/// The words of the PROXY protocol for a handshake. `None` for what it has no words for. `is_verified`: the client showed
/// a certificate that was found good.
pub(super) fn tls(version: Option<ProtocolVersion>, suite: Option<CipherSuite>, is_verified: bool) -> Option<Tls> {
    let version = match version? {
        ProtocolVersion::TLSv1_2 => "TLSv1.2",
        ProtocolVersion::TLSv1_3 => "TLSv1.3",
        _ => return None,
    };
    Some(Tls { version, cipher: suite.map_or("", cipher), is_verified })
}

/// A suite as OpenSSL names it, which is what backends expect.
fn cipher(suite: CipherSuite) -> &'static str {
    use CipherSuite as C;
    match suite {
        C::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        C::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        C::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        C::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        C::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        C::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-ECDSA-CHACHA20-POLY1305",
        C::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        C::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        C::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_that_is_spoken_has_its_name() {
        for suite in rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES {
            let told = tls(Some(suite.version().version), Some(suite.suite()), false).unwrap();
            assert!(!told.cipher.is_empty() && told.version.starts_with("TLSv1."), "{suite:?}");
        }
    }
}
