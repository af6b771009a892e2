//! Pure. PEM to [`Cert`]: the one place where certificates are read, for the file and for clusters alike.
//!
//! A key of another certificate is refused here, so that a renewal in two steps is no more than a fault for a moment and
//! what was last good goes on.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::InconsistentKeys;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{Error as Section, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::model::host::HostPattern;
use crate::model::intent::Cert;
use crate::model::problem::Origin;
use crate::model::secret::Secret;

/// Why a certificate and its key cannot be read. Says what would be right; never shows bytes of the key.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PemError {
    /// The certificate text has no certificate.
    #[error(
        "there is no certificate in it; it must hold the chain as PEM, the leaf first, each as -----BEGIN CERTIFICATE-----"
    )]
    NoCert,
    /// The key text has no key.
    #[error("there is no private key in it; it must hold one as PEM: PRIVATE KEY, EC PRIVATE KEY or RSA PRIVATE KEY")]
    NoKey,
    /// The key is locked with a passphrase.
    #[error("the private key is encrypted; give it without passphrase (openssl pkey -in KEY -out PLAIN)")]
    EncryptedKey,
    /// A section of the certificate text is damaged.
    #[error("the certificate's PEM is damaged: {0}; copy the file again, whole")]
    BrokenCert(String),
    /// A section of the key text is damaged.
    #[error("the private key's PEM is damaged; copy the file again, whole")]
    BrokenKey,
    /// The leaf is not X.509.
    #[error("the first certificate is not a valid X.509 certificate: {0}; the leaf comes first in the chain")]
    BadLeaf(String),
    /// The key cannot sign.
    #[error("the private key is of a kind that cannot be used; use ECDSA (P-256, P-384, P-521), Ed25519 or RSA")]
    BadKey,
    /// The text for authorities has no certificate.
    #[error(
        "there is no certificate in it; it must hold those of authorities as PEM, each as -----BEGIN CERTIFICATE-----"
    )]
    NoAuthority,
    /// A certificate cannot stand for an authority.
    #[error("its certificate {0} cannot be used: {1}; give the certificate of whoever signed those of the backends")]
    BadAuthority(usize, String),
    /// The key belongs to another certificate.
    #[error("the private key is not the certificate's; give the leaf first and its own key (is a renewal half done?)")]
    OtherKey,
}

/// Parses a chain (leaf first) and its key. Names are the leaf's DNS and IP subject alternative names, or its common
/// name when it has no such extension; names that no client can ask for are left out.
pub fn parse(cert_pem: &[u8], key_pem: &[u8], origin: &Origin) -> Result<Cert, PemError> {
    let mut chain: Vec<Arc<[u8]>> = Vec::new();
    for section in CertificateDer::pem_slice_iter(cert_pem) {
        chain.push(section.map_err(|error| PemError::BrokenCert(in_words(&error)))?.as_ref().into());
    }
    let leaf = chain.first().ok_or(PemError::NoCert)?;
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|error| PemError::BadLeaf(error.to_string()))?;
    let (names, validity) = (names_of(&leaf), leaf.validity());
    let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let must_staple = asks_for_staple(&leaf);
    let key = key_of(key_pem)?;
    check_pair(&chain, &key)?;
    let key = Secret::new(key.secret_der());
    Ok(Cert { names, chain, key, not_before, not_after, must_staple, staple: None, origin: origin.clone() })
}

/// Whether the certificate has the extension `id-pe-tlsfeature` with `status_request` in it (RFC 7633).
fn asks_for_staple(leaf: &X509Certificate<'_>) -> bool {
    const TLS_FEATURE: &str = "1.3.6.1.5.5.7.1.24";
    /// INTEGER 5.
    const STATUS_REQUEST: [u8; 3] = [2, 1, 5];
    leaf.extensions().iter().any(|extension| {
        extension.oid.to_id_string() == TLS_FEATURE
            && extension.value.windows(STATUS_REQUEST.len()).any(|part| part == STATUS_REQUEST)
    })
}

/// Parses the certificates of authorities, as DER.
pub fn authorities(pem: &[u8]) -> Result<Vec<Arc<[u8]>>, PemError> {
    let mut authorities: Vec<Arc<[u8]>> = Vec::new();
    for (number, section) in CertificateDer::pem_slice_iter(pem).enumerate() {
        let der = section.map_err(|error| PemError::BrokenCert(in_words(&error)))?;
        let bad = |error: rustls::Error| PemError::BadAuthority(number + 1, error.to_string());
        rustls::RootCertStore::empty().add(der.clone()).map_err(bad)?;
        authorities.push(der.as_ref().into());
    }
    if authorities.is_empty() { Err(PemError::NoAuthority) } else { Ok(authorities) }
}

fn check_pair(chain: &[Arc<[u8]>], key: &PrivateKeyDer<'_>) -> Result<(), PemError> {
    let chain = chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    let signer = any_supported_type(key).map_err(|_| PemError::BadKey)?;
    match CertifiedKey::new(chain, signer).keys_match() {
        // What cannot be compared is tried.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => Err(PemError::OtherKey),
        Err(error) => Err(PemError::BadLeaf(error.to_string())),
    }
}

fn key_of(pem: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => Ok(key),
        Err(Section::NoItemsFound) if pem.windows(LOCKED.len()).any(|w| w == LOCKED) => Err(PemError::EncryptedKey),
        Err(Section::NoItemsFound) => Err(PemError::NoKey),
        // The parser's own words may quote a line of the key.
        Err(_) => Err(PemError::BrokenKey),
    }
}

const LOCKED: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";

fn in_words(error: &Section) -> String {
    match error {
        Section::MissingSectionEnd { .. } => "a section has no end line".to_owned(),
        Section::IllegalSectionStart { .. } => "a BEGIN line is malformed".to_owned(),
        Section::Base64Decode(_) => "a section is not base64".to_owned(),
        other => other.to_string(),
    }
}

fn names_of(leaf: &X509Certificate<'_>) -> Vec<HostPattern> {
    let mut names: Vec<HostPattern> = match leaf.subject_alternative_name() {
        Ok(Some(alternative)) => alternative.value.general_names.iter().filter_map(name_of).collect(),
        // RFC 6125 §6.4.4: the common name counts only when there is nothing else.
        _ => leaf.subject().iter_common_name().filter_map(|cn| servable(cn.as_str().ok()?)).collect(),
    };
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

fn name_of(name: &GeneralName<'_>) -> Option<HostPattern> {
    match name {
        GeneralName::DNSName(name) => servable(name),
        GeneralName::IPAddress(bytes) => {
            let ip = match bytes.len() {
                4 => IpAddr::from(<[u8; 4]>::try_from(*bytes).ok()?),
                16 => IpAddr::from(<[u8; 16]>::try_from(*bytes).ok()?),
                _ => return None,
            };
            servable(&ip.to_string())
        }
        _ => None,
    }
}

/// A bare `*` is a name to no client.
fn servable(name: &str) -> Option<HostPattern> {
    HostPattern::parse(name).ok().filter(|pattern| *pattern != HostPattern::Any)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin::new("file", "listener web")
    }

    fn made(names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn shown(cert: &Cert) -> Vec<String> {
        cert.names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_come_from_the_alternative_names() {
        let (cert, key) = made(&["Shop.example.test", "*.example.test", "192.0.2.1", "shop.example.test", "*"]);
        let cert = parse(cert.as_bytes(), key.as_bytes(), &origin()).unwrap();
        assert_eq!(shown(&cert), ["shop.example.test", "*.example.test", "192.0.2.1"]);
        assert!(cert.not_after > 4_000_000_000 - 1_000_000_000);
        assert_eq!(cert.chain.len(), 1);
        assert_eq!(cert.origin, origin());
    }

    #[test]
    fn the_common_name_counts_when_nothing_else_is_there() {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "old.example.test");
        params.not_after = rcgen::date_time_ymd(2031, 5, 6);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let cert = parse(pem.as_bytes(), key.serialize_pem().as_bytes(), &origin()).unwrap();
        assert_eq!(shown(&cert), ["old.example.test"]);
        assert_eq!(cert.not_after, rcgen::date_time_ymd(2031, 5, 6).unix_timestamp());
    }

    #[test]
    fn a_certificate_says_when_it_is_valid_and_whether_it_must_be_stapled() {
        let key = rcgen::KeyPair::generate().unwrap();
        let made = |features: &[u8]| {
            let mut params = rcgen::CertificateParams::default();
            params.not_before = rcgen::date_time_ymd(2021, 5, 6);
            if !features.is_empty() {
                let oid = [1, 3, 6, 1, 5, 5, 7, 1, 24];
                params.custom_extensions = vec![rcgen::CustomExtension::from_oid_content(&oid, features.to_vec())];
            }
            let pem = params.self_signed(&key).unwrap().pem();
            parse(pem.as_bytes(), key.serialize_pem().as_bytes(), &origin()).unwrap()
        };
        assert_eq!(made(&[]).not_before, rcgen::date_time_ymd(2021, 5, 6).unix_timestamp());
        assert!(!made(&[]).must_staple && !made(&[0x30, 3, 2, 1, 17]).must_staple);
        assert!(made(&[0x30, 3, 2, 1, 5]).must_staple && made(&[0x30, 6, 2, 1, 17, 2, 1, 5]).must_staple);
    }

    #[test]
    fn a_chain_keeps_its_order_and_other_sections_are_passed_over() {
        let ((leaf, key), (issuer, _)) = (made(&["a.test"]), made(&["b.test"]));
        let text = format!("a comment\n{leaf}{key}{issuer}");
        let cert = parse(text.as_bytes(), text.as_bytes(), &origin()).unwrap();
        assert_eq!(shown(&cert), ["a.test"]);
        assert_eq!(cert.chain.len(), 2);
    }

    #[test]
    fn authorities_are_one_or_several() {
        let ((one, key), (other, _)) = (made(&["a.test"]), made(&["b.test"]));
        assert_eq!(authorities(format!("{one}{other}").as_bytes()).unwrap().len(), 2);
        assert_eq!(authorities(key.as_bytes()), Err(PemError::NoAuthority));
        assert!(matches!(authorities(&one.as_bytes()[..one.len() / 2]), Err(PemError::BrokenCert(_))));
        let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(authorities(format!("{one}{bad}").as_bytes()), Err(PemError::BadAuthority(2, _))));
    }

    #[test]
    fn errors_are_in_plain_words() {
        let (cert, key) = made(&["a.test"]);
        let error = |cert: &str, key: &str| parse(cert.as_bytes(), key.as_bytes(), &origin()).unwrap_err();
        assert_eq!(error("", &key), PemError::NoCert);
        assert_eq!(error(&key, &key), PemError::NoCert);
        assert_eq!(error(&cert, ""), PemError::NoKey);
        assert_eq!(error(&cert, &cert), PemError::NoKey);
        let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert_eq!(error(&cert, locked), PemError::EncryptedKey);
        let cut = &cert[..cert.len() / 2];
        assert!(matches!(error(cut, &key), PemError::BrokenCert(_)));
        assert_eq!(error(&cert, &key[..key.len() / 2]), PemError::BrokenKey);
        let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(error(empty, &key), PemError::BadLeaf(_)));
        assert_eq!(error(&cert, &made(&["a.test"]).1), PemError::OtherKey);
        let odd = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert_eq!(error(&cert, odd), PemError::BadKey);
    }
}
