//! Certificates made on the spot, and a client that takes any and tells which it got.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use sluice::model::host::HostPattern;
use sluice::model::intent::Cert;
use sluice::model::secret::Secret;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::asked::origin;
use super::{Wire, soon};

/// A self-signed certificate for these names.
pub fn cert(names: &[&str]) -> Cert {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    let leaf = params.self_signed(&key).unwrap();
    Cert {
        names: names.iter().map(|name| HostPattern::parse(name).unwrap()).collect(),
        chain: vec![leaf.der().to_vec().into()],
        key: Secret::new(key.serialize_der()),
        not_after: i64::MAX,
        origin: origin("certificate"),
    }
}

/// A client that remembers its sessions, and so can resume them.
#[derive(Clone)]
pub struct Client(Arc<ClientConfig>);

impl Client {
    /// One that offers these protocols, best first.
    pub fn offering(alpn: &[&str]) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TakeAny(provider)))
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self(Arc::new(config))
    }

    /// Connects and shakes hands, naming `host`, which may be an address: then there is no SNI.
    pub async fn try_connect(&self, address: SocketAddr, host: &str) -> std::io::Result<TlsStream<TcpStream>> {
        self.shake(Wire::to(address).await.stream, host).await
    }

    /// Shakes hands on a connection, naming `host`.
    pub async fn shake(&self, stream: TcpStream, host: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).unwrap();
        soon("the handshake", TlsConnector::from(self.0.clone()).connect(name, stream)).await
    }

    /// The same, where it must succeed.
    pub async fn connect(&self, address: SocketAddr, host: &str) -> TlsStream<TcpStream> {
        self.try_connect(address, host).await.unwrap()
    }
}

/// Whether the server showed this certificate.
pub fn showed(stream: &TlsStream<TcpStream>, cert: &Cert) -> bool {
    stream.get_ref().1.peer_certificates().unwrap()[0].as_ref() == &*cert.chain[0]
}

#[derive(Debug)]
struct TakeAny(Arc<CryptoProvider>);

impl ServerCertVerifier for TakeAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
