//! Certificates made on the spot, authorities that sign them, and a client that takes any and tells which it got.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use sluice::model::host::HostPattern;
use sluice::model::intent::Cert;
use sluice::model::intent::tls::{ClientAuth, ClientAuthMode, Crl, Tell};
use sluice::model::secret::Secret;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::asked::origin;
use super::{Wire, soon};

/// A self-signed certificate for these names.
pub fn cert(names: &[&str]) -> Cert {
    cert_with(names, &rcgen::PKCS_ECDSA_P256_SHA256)
}

/// One with this kind of key.
pub fn cert_with(names: &[&str], algorithm: &'static rcgen::SignatureAlgorithm) -> Cert {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    let leaf = params.self_signed(&key).unwrap();
    Cert {
        names: names.iter().map(|name| HostPattern::parse(name).unwrap()).collect(),
        chain: vec![leaf.der().to_vec().into()],
        key: Secret::new(key.serialize_der()),
        not_before: 0,
        not_after: i64::MAX,
        must_staple: false,
        staple: None,
        origin: origin("certificate"),
    }
}

/// Signs certificates of clients, and revokes them.
pub struct Authority {
    pub cert: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// What a client shows: its certificate and its key, in DER.
pub type Shown = (CertificateDer<'static>, Vec<u8>);

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = named(name);
        let key = KeyPair::generate().unwrap();
        Self { cert: params.self_signed(&key).unwrap(), issuer: Issuer::new(params, key) }
    }

    /// A client's certificate with this serial number.
    pub fn client(&self, name: &str, serial: u64) -> Shown {
        self.client_until(name, serial, 2999)
    }

    /// One that ends with the beginning of this year.
    pub fn client_until(&self, name: &str, serial: u64, year: i32) -> Shown {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(SerialNumber::from(serial));
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().der().clone(), key.serialize_der())
    }

    /// The list of these revoked serial numbers, outdated with the beginning of this year.
    pub fn crl(&self, revoked: &[u64], year: i32) -> Crl {
        let until = date_time_ymd(year, 1, 1);
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2000, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2000, 1, 1),
            next_update: until,
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let der = params.signed_by(&self.issuer).unwrap().der().to_vec().into();
        Crl { der, next_update: Some(until.unix_timestamp()) }
    }

    /// Rules that ask clients for a certificate of this authority.
    pub fn asked(&self, mode: ClientAuthMode, crls: Vec<Crl>, tell: Tell) -> ClientAuth {
        ClientAuth { mode, roots: [self.cert.der().to_vec().into()].into(), crls: crls.into(), tell }
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// How a client behaves.
#[derive(Default)]
pub struct Manner {
    /// Application protocols, best first.
    pub alpn: Vec<String>,
    /// The one version it speaks; `None`: all.
    pub version: Option<&'static rustls::SupportedProtocolVersion>,
    /// It can verify RSA alone.
    pub rsa_only: bool,
    /// The certificate it shows.
    pub shows: Option<Shown>,
}

/// A client that remembers its sessions, and so can resume them.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
    staple: Arc<Mutex<Vec<u8>>>,
}

impl Client {
    /// One that offers these protocols, best first.
    pub fn offering(alpn: &[&str]) -> Self {
        Self::new(Manner { alpn: alpn.iter().map(|name| (*name).to_owned()).collect(), ..Manner::default() })
    }

    /// One that behaves like this.
    pub fn new(manner: Manner) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let staple = Arc::default();
        let verifier = TakeAny { provider: provider.clone(), rsa_only: manner.rsa_only, staple: Arc::clone(&staple) };
        let one: &[_] = manner.version.as_slice();
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(if one.is_empty() { rustls::ALL_VERSIONS } else { one })
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match manner.shows {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => builder.with_client_auth_cert(vec![cert], key.try_into().unwrap()).unwrap(),
        };
        config.alpn_protocols = manner.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self { config: Arc::new(config), staple }
    }

    /// The OCSP response that came with the last certificate; empty: none.
    pub fn staple(&self) -> Vec<u8> {
        self.staple.lock().unwrap().clone()
    }

    /// Connects and shakes hands, naming `host`, which may be an address: then there is no SNI.
    pub async fn try_connect(&self, address: SocketAddr, host: &str) -> std::io::Result<TlsStream<TcpStream>> {
        self.shake(Wire::to(address).await.stream, host).await
    }

    /// Shakes hands on a connection, naming `host`.
    pub async fn shake(&self, stream: TcpStream, host: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).unwrap();
        soon("the handshake", TlsConnector::from(self.config.clone()).connect(name, stream)).await
    }

    /// The first bytes of a handshake that names `host`.
    pub fn first_message(&self, host: &str) -> Vec<u8> {
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let mut bytes = Vec::new();
        rustls::ClientConnection::new(self.config.clone(), name).unwrap().write_tls(&mut bytes).unwrap();
        bytes
    }

    /// Connects and shakes hands, where that must succeed.
    pub async fn connect(&self, address: SocketAddr, host: &str) -> TlsStream<TcpStream> {
        self.try_connect(address, host).await.unwrap()
    }
}

/// Whether the server showed this certificate.
pub fn showed(stream: &TlsStream<TcpStream>, cert: &Cert) -> bool {
    stream.get_ref().1.peer_certificates().unwrap()[0].as_ref() == &*cert.chain[0]
}

#[derive(Debug)]
struct TakeAny {
    provider: Arc<CryptoProvider>,
    rsa_only: bool,
    staple: Arc<Mutex<Vec<u8>>>,
}

impl ServerCertVerifier for TakeAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        staple: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.staple.lock().unwrap() = staple.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let is_rsa = |scheme: &SignatureScheme| format!("{scheme:?}").starts_with("RSA");
        let all = self.provider.signature_verification_algorithms.supported_schemes();
        all.into_iter().filter(|scheme| !self.rsa_only || is_rsa(scheme)).collect()
    }
}
