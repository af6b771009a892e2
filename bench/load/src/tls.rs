//! TLS 1.3 handshakes, full ones or resumed ones, each with one small request on its connection.
//!
//! What must not happen is that the one kind passes for the other. So a full one is made by a client that keeps no
//! session, a resumed one by a client that keeps only those of its own last connection, and of each handshake rustls is
//! asked which it was: a single one of the other kind fails the whole load, as does any other version, suite or group
//! than the one that is offered. The server's signature is verified, and its certificate must be the given one.
//!
//! The connection ends as that of [`crate::close`] does. It is read to its end, past the tickets. The last lines are
//! `KINDS full resumed` and `SEEDS n`: the full handshakes that gave resumption its first tickets, which are no units.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, NamedGroup, ProtocolVersion,
    SignatureScheme,
};

use crate::Counted;
use crate::close::{HUNG, connect};
use crate::http::{Answer, request};
use crate::sys::{Epoll, events};
use crate::tcp::Sources;

/// The name asked for.
const NAME: &str = "localhost";

/// Which handshakes a load consists of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Full,
    Resumed,
}

impl Kind {
    fn told(self) -> HandshakeKind {
        match self {
            Self::Full => HandshakeKind::Full,
            Self::Resumed => HandshakeKind::Resumed,
        }
    }
}

/// What a load of handshakes saw beside what every load counts.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Kinds {
    /// Of the wanted kind, among the counted ones.
    pub wanted: u64,
    /// Not of the wanted kind, or not with what was offered.
    pub others: u64,
    /// Full ones before resumption could begin.
    pub seeds: u64,
}

struct Slot {
    stream: TcpStream,
    tls: ClientConnection,
    answer: Answer,
    since: Instant,
}

/// What happened to a connection.
enum Step {
    Under,
    /// It came to its end, with a whole answer.
    Done,
    Broken,
    /// What came is not HTTP's or not a 200.
    Wrong,
}

/// Keeps so many connections under way for so many seconds, and tells what became of them.
pub fn load(to: SocketAddr, cert: &str, path: &str, kind: Kind, connections: u64, seconds: u64) -> io::Result<()> {
    let since = Instant::now();
    let pinned = certificate(cert)?;
    let (counted, kinds) = drive(to, &pinned, path, kind, connections, Duration::from_secs(seconds))?;
    let (full, resumed) = if kind == Kind::Full { (kinds.wanted, 0) } else { (0, kinds.wanted) };
    println!("KINDS {full} {resumed}");
    println!("SEEDS {}", kinds.seeds);
    if kinds.others > 0 {
        let all = kinds.others + kinds.wanted;
        return Err(io::Error::other(format!("{} of {all} handshakes were not {kind:?}", kinds.others)));
    }
    counted.tell(since);
    Ok(())
}

/// The one certificate of a PEM file.
pub fn certificate(file: &str) -> io::Result<CertificateDer<'static>> {
    let text = fs::read(file).map_err(|error| io::Error::other(format!("{file}: {error}")))?;
    CertificateDer::from_pem_slice(&text)
        .map_err(|error| io::Error::other(format!("{file} has no certificate: {error}")))
}

pub fn drive(
    to: SocketAddr,
    pinned: &CertificateDer<'static>,
    path: &str,
    kind: Kind,
    connections: u64,
    time: Duration,
) -> io::Result<(Counted, Kinds)> {
    let base = config(pinned)?;
    // Tickets of one place never serve another, so that none is without.
    let configs: Vec<Arc<ClientConfig>> = (0..connections)
        .map(|_| {
            let mut own = base.clone();
            if kind == Kind::Resumed {
                own.resumption = Resumption::in_memory_sessions(1);
            }
            Arc::new(own)
        })
        .collect();
    let ask = request(to.port(), path, true);
    let (mut counted, mut kinds) = (Counted::default(), Kinds::default());
    let mut sources = Sources::new(to);
    let mut piece = vec![0; 16 << 10];
    if kind == Kind::Resumed {
        for config in &configs {
            let slot = open(&mut sources, to, config, &ask, &mut counted);
            let mut slot = slot.ok_or_else(|| io::Error::other("the first connections cannot be opened"))?;
            slot.stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            loop {
                match step(&mut slot, &mut piece) {
                    Step::Under => {}
                    Step::Done if is(&slot.tls, HandshakeKind::Full) => break,
                    _ => return Err(io::Error::other("a first connection, for tickets, has failed")),
                }
            }
            kinds.seeds += 1;
        }
    }

    let epoll = Epoll::new()?;
    let mut events = events();
    let until = Instant::now() + time;
    let mut slots: Vec<Option<Slot>> = (0..connections).map(|_| None).collect();
    loop {
        for ((number, place), config) in (0..).zip(&mut slots).zip(&configs) {
            if place.is_none() {
                *place = open(&mut sources, to, config, &ask, &mut counted);
                if let Some(slot) = place {
                    epoll.add(&slot.stream, number)?;
                }
            }
        }
        let now = Instant::now();
        if now >= until {
            break;
        }
        let left = (until - now).as_millis().min(100) as i32;
        for number in epoll.wait(&mut events, left.max(1))? {
            let place = &mut slots[number as usize];
            let Some(slot) = place else { continue };
            match step(slot, &mut piece) {
                Step::Under => continue,
                Step::Done if is(&slot.tls, kind.told()) => {
                    kinds.wanted += 1;
                    counted.units += 1;
                    counted.bytes += slot.answer.taken();
                }
                Step::Done => kinds.others += 1,
                Step::Broken => counted.read_errors += 1,
                Step::Wrong => counted.wrong += 1,
            }
            *place = None;
        }
    }
    counted.timeouts += slots.iter().flatten().filter(|slot| slot.since.elapsed() > HUNG).count() as u64;
    Ok((counted, kinds))
}

/// A connection with its hello on the way. The request waits in the client and leaves with the last of the handshake.
fn open(
    sources: &mut Sources,
    to: SocketAddr,
    config: &Arc<ClientConfig>,
    ask: &[u8],
    counted: &mut Counted,
) -> Option<Slot> {
    let mut stream = connect(sources, to, counted)?;
    let opened = client(config).and_then(|mut tls| {
        tls.writer().write_all(ask)?;
        flush(&mut tls, &mut stream)?;
        Ok(tls)
    });
    match opened {
        Ok(tls) => Some(Slot { stream, tls, answer: Answer::default(), since: Instant::now() }),
        Err(_) => {
            counted.write_errors += 1;
            None
        }
    }
}

/// Takes what is there, waiting for it if there is nothing yet.
fn step(slot: &mut Slot, piece: &mut [u8]) -> Step {
    let Slot { stream, tls, answer, .. } = slot;
    match tls.read_tls(stream) {
        Ok(0) => return if answer.is_whole() { Step::Done } else { Step::Broken },
        Ok(_) => {}
        Err(_) => return Step::Broken,
    }
    if tls.process_new_packets().is_err() || flush(tls, stream).is_err() {
        return Step::Broken;
    }
    while let Ok(read @ 1..) = tls.reader().read(piece) {
        if answer.take(&piece[..read]).is_err() {
            return Step::Wrong;
        }
    }
    Step::Under
}

pub fn flush(tls: &mut ClientConnection, stream: &mut TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(stream)?;
    }
    Ok(())
}

/// Whether its handshake was of this kind, with what was offered and nothing else.
fn is(tls: &ClientConnection, kind: HandshakeKind) -> bool {
    tls.handshake_kind() == Some(kind)
        && tls.protocol_version() == Some(ProtocolVersion::TLSv1_3)
        && tls.negotiated_cipher_suite().map(|suite| suite.suite()) == Some(CipherSuite::TLS13_AES_256_GCM_SHA384)
        && tls.negotiated_key_exchange_group().map(|group| group.name()) == Some(NamedGroup::X25519)
}

pub fn client(config: &Arc<ClientConfig>) -> io::Result<ClientConnection> {
    let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
    ClientConnection::new(config.clone(), name).map_err(io::Error::other)
}

/// Offers what wrk is made to offer: TLS 1.3, one suite, one group; keeps no session.
pub fn config(pinned: &CertificateDer<'static>) -> io::Result<ClientConfig> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384];
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let provider = Arc::new(provider);
    let verifier = Arc::new(Pinned { certificate: pinned.clone(), provider: provider.clone() });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Takes one certificate only.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General("another certificate than the given one".to_owned()))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 was not offered".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
