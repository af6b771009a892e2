//! Pure. Authorities and revocations from files, for what is asked of clients' certificates.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::model::intent::tls::Crl;

/// The certificates of authorities in a PEM text, each once.
///
/// # Errors
/// What is wrong and what would be right.
pub(super) fn authorities(pem: &[u8]) -> Result<Vec<Arc<[u8]>>, String> {
    let mut all: Vec<Arc<[u8]>> = Vec::new();
    for section in CertificateDer::pem_slice_iter(pem) {
        let der = section.map_err(|_| "its PEM is damaged; copy the file again, whole".to_owned())?;
        X509Certificate::from_der(&der)
            .map_err(|error| format!("it holds what is no X.509 certificate ({error}); copy the file again, whole"))?;
        if all.iter().all(|known| **known != *der) {
            all.push(der.as_ref().into());
        }
    }
    if all.is_empty() {
        return Err("there is no certificate in it; it must hold those of authorities as PEM".to_owned());
    }
    Ok(all)
}

/// The lists of revoked certificates in a file: any number as PEM, or one as DER, as authorities publish it.
///
/// # Errors
/// What is wrong and what would be right.
pub(super) fn revocations(file: &[u8]) -> Result<Vec<Crl>, String> {
    const BEGIN: &[u8] = b"-----BEGIN";
    if !file.windows(BEGIN.len()).any(|part| part == BEGIN) {
        return Ok(vec![revocation(file)?]);
    }
    let mut all = Vec::new();
    for section in CertificateRevocationListDer::pem_slice_iter(file) {
        all.push(revocation(&section.map_err(|_| "its PEM is damaged; copy the file again, whole".to_owned())?)?);
    }
    if all.is_empty() {
        return Err("there is no X509 CRL in it; it must hold at least one, as PEM or DER".to_owned());
    }
    Ok(all)
}

fn revocation(der: &[u8]) -> Result<Crl, String> {
    let (_, list) = CertificateRevocationList::from_der(der)
        .map_err(|error| format!("it holds what is no list of revoked certificates ({error}); write it anew"))?;
    Ok(Crl { der: der.into(), next_update: list.next_update().map(|time| time.timestamp()) })
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyIdMethod, KeyPair,
        KeyUsagePurpose, SerialNumber, date_time_ymd,
    };

    use super::*;

    fn made() -> (String, rcgen::CertificateRevocationList) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let crl = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2031, 5, 6),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        (pem, crl.signed_by(&Issuer::from_params(&params, &key)).unwrap())
    }

    #[test]
    fn authorities_are_read_once_each() {
        let (a, b) = (made().0, made().0);
        assert_eq!(authorities(format!("a comment\n{a}{b}{a}").as_bytes()).unwrap().len(), 2);
        assert!(authorities(b"").unwrap_err().starts_with("there is no certificate in it"));
        assert!(authorities(&a.as_bytes()[..a.len() / 2]).unwrap_err().contains("damaged"));
        let odd = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(authorities(odd).unwrap_err().contains("no X.509 certificate"));
    }

    #[test]
    fn revocations_are_read_from_pem_and_der() {
        let (ca, crl) = made();
        let pem = crl.pem().unwrap();
        let found = revocations(format!("{pem}{pem}").as_bytes()).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].next_update, Some(date_time_ymd(2031, 5, 6).unix_timestamp()));
        assert_eq!(revocations(crl.der()).unwrap(), found[..1]);
        assert!(revocations(ca.as_bytes()).unwrap_err().starts_with("there is no X509 CRL in it"));
        assert!(revocations(b"").unwrap_err().contains("no list of revoked certificates"));
        assert!(revocations(&pem.as_bytes()[..pem.len() / 2]).unwrap_err().contains("damaged"));
    }
}
