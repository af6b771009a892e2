//! `tls:` of listeners, and what goes beside their certificates.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, SerialNumber, date_time_ymd,
};

use super::*;
use crate::model::intent::tls::{Alpn, ClientAuthMode, Staple, Tell, TlsRules, TlsVersion};

/// An authority (PEM) and its list of revoked certificates (DER).
pub(super) fn authority() -> &'static (String, Vec<u8>) {
    static MADE: std::sync::LazyLock<(String, Vec<u8>)> = std::sync::LazyLock::new(|| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let crl = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2031, 5, 6),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let pem = params.self_signed(&key).unwrap().pem();
        (pem, crl.signed_by(&Issuer::from_params(&params, &key)).unwrap().der().to_vec())
    });
    &MADE
}

fn with(protocol: &str, tls: &str) -> String {
    let certificates = if protocol == "https" { "certificates: [{cert: a.crt, key: a.key}], " } else { "" };
    format!(
        "listeners:\n  web: {{bind: 127.0.0.1:1, protocol: {protocol}, pool: p, {certificates}tls: {tls}}}\n\
         pools: {{p: {{backends: [192.0.2.1:1]}}}}\n"
    )
}

fn rules(tls: &str) -> TlsRules {
    loaded(&with("https", tls)).fragment.listeners.values().next().unwrap().tls.clone()
}

#[test]
fn rules_are_read_and_the_usual_ones_need_not_be_written() {
    assert_eq!(rules("{}"), TlsRules::default());
    assert_eq!(rules("{min_version: 1.2, alpn: [h2, http/1.1], client_auth: none}"), TlsRules::default());
    let other = rules("{min_version: 1.3, alpn: http/1.1}");
    assert_eq!((other.min_version, other.alpn), (TlsVersion::Tls13, vec![Alpn::Http1]));
    assert_eq!(rules("{min_version: \"1.3\"}").min_version, TlsVersion::Tls13);
    let auth = rules("{client_auth: {ca: clients.ca}}").client_auth.unwrap();
    assert_eq!((auth.mode, auth.tell, auth.roots.len()), (ClientAuthMode::Required, Tell::Nothing, 1));
    assert!(auth.crls.is_empty());
    let auth =
        rules("{client_auth: {mode: optional, ca: clients.ca, crl: [a.crl], forward: subject}}").client_auth.unwrap();
    assert_eq!((auth.mode, auth.tell), (ClientAuthMode::Optional, Tell::Subject));
    assert_eq!(auth.crls[0].next_update, Some(date_time_ymd(2031, 5, 6).unix_timestamp()));
    let files = reading(&with("https", "{client_auth: {ca: clients.ca, crl: a.crl}}")).files;
    for file in ["clients.ca", "a.crl"] {
        assert!(files.contains(&Path::new("/etc/sluice").join(file)), "{file} is watched: {files:?}");
    }
}

#[test]
fn mistakes_are_told_with_their_remedy_and_leave_no_listener_open() {
    for (tls, said) in [
        ("{min_version: 1.1}", "tls.min_version: is 1.1; write 1.2 or 1.3"),
        ("{alpn: [spdy]}", "write h2 or http/1.1"),
        ("{alpn: []}", "is empty; write [h2, http/1.1]"),
        ("{ciphers: x}", "unknown key \"ciphers\""),
        ("{client_auth: yes}", "write none or keys: mode, ca, crl, forward"),
        ("{client_auth: {mode: required}}", "has no ca; add ca:"),
        ("{client_auth: {ca: gone}}", "cannot be read"),
        ("{client_auth: {ca: a.key}}", "there is no certificate in it"),
        ("{client_auth: {ca: clients.ca, crl: clients.ca}}", "there is no X509 CRL in it"),
        ("{client_auth: {ca: clients.ca, mode: maybe}}", "write required or optional"),
        ("{client_auth: {ca: clients.ca, forward: all}}", "write none, subject or certificate"),
    ] {
        let told = errors(&with("https", tls)).join("\n");
        assert!(told.contains(said), "{tls}: {told}");
        assert!(told.starts_with("f.yaml:2:"), "{told}");
    }
    let told = errors(&with("http", "{min_version: 1.3}")).join("\n");
    assert!(told.contains("is for https; this listener is http"), "{told}");
}

#[test]
fn what_cannot_be_stapled_is_no_mistake_of_the_file() {
    let text = "listeners: {web: {bind: 127.0.0.1:1, protocol: https, pool: p, certificates: \
                [{cert: a.crt, key: a.key, ocsp: a.ocsp}]}}\npools: {p: {backends: [192.0.2.1:1]}}\n";
    let loaded = loaded(text);
    let cert = loaded.fragment.certs.values().next().unwrap();
    assert!(matches!(&cert.staple, Some(Staple::Unusable(why)) if why.contains("no OCSP response")), "{cert:?}");
    let text = text.replace("a.ocsp", "gone");
    assert!(errors(&text)[0].contains("cannot be read"));
}
