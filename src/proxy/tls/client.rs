//! Pure. A client's certificate in header fields, for backends.
//!
//! The names are those that users of HAProxy and nginx write by convention, and `Client-Cert` of RFC 9440. Whether or
//! not they are set, no client may send any of them: a backend that trusts them must not have to know who set them.

use std::rc::Rc;

use hyper::header::{HeaderName, HeaderValue};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::name;
use crate::model::intent::tls::Tell;

/// The fields of one client, made once a connection.
pub(in crate::proxy) type Fields = Rc<[(HeaderName, HeaderValue)]>;

static VERIFY: HeaderName = HeaderName::from_static("x-ssl-client-verify");
static SUBJECT: HeaderName = HeaderName::from_static("x-ssl-client-subject-dn");
static ISSUER: HeaderName = HeaderName::from_static("x-ssl-client-issuer-dn");
static SERIAL: HeaderName = HeaderName::from_static("x-ssl-client-serial");
static CERT: HeaderName = HeaderName::from_static("client-cert");

/// What of a request's fields is ours alone, by its beginning and with `-` for `_` and `.`: what is set here, and what
/// backends of nginx, Traefik and others are told by.
const OURS: [&str; 3] = ["client-cert", "ssl-client-", "x-ssl-client-"];

/// Whether a field is one by which proxies tell backends of a client's certificate, in any spelling that a backend could
/// take for it. The name is lower-case.
pub(in crate::proxy) fn is_ours(name: &str) -> bool {
    let hyphen = |b: u8| if matches!(b, b'_' | b'.') { b'-' } else { b };
    let begins =
        |ours: &str| name.len() >= ours.len() && name.bytes().map(hyphen).zip(ours.bytes()).all(|(a, b)| a == b);
    name.starts_with(['c', 's', 'x']) && OURS.iter().any(|ours| begins(ours))
}

/// The fields for a client that was found good, with its certificate or without. `None`: nothing is told.
pub(super) fn fields(tell: Tell, leaf: Option<&[u8]>) -> Option<Fields> {
    if tell == Tell::Nothing {
        return None;
    }
    let value = |text: String| HeaderValue::from_str(&text).ok();
    let Some(leaf) = leaf else {
        return Some([(VERIFY.clone(), HeaderValue::from_static("NONE"))].into());
    };
    let mut fields = vec![(VERIFY.clone(), HeaderValue::from_static("SUCCESS"))];
    if let Ok((_, cert)) = X509Certificate::from_der(leaf) {
        let serial = cert.raw_serial().iter().map(|byte| format!("{byte:02X}")).collect();
        let told = [(&SUBJECT, name::shown(cert.subject())), (&ISSUER, name::shown(cert.issuer())), (&SERIAL, serial)];
        fields.extend(told.into_iter().filter_map(|(name, text)| Some((name.clone(), value(text)?))));
    }
    if tell == Tell::Certificate {
        // A byte sequence of RFC 8941 §3.3.5.
        fields.extend(value(format!(":{}:", base64(leaf))).map(|text| (CERT.clone(), text)));
    }
    Some(fields.into())
}

/// The common name in a certificate. `None`: it has none, or one that is no text.
pub(super) fn common_name(leaf: &[u8]) -> Option<Box<str>> {
    let (_, cert) = X509Certificate::from_der(leaf).ok()?;
    cert.subject().iter_common_name().next()?.as_str().ok().map(Into::into)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = (bits >> (18 - 6 * place)) & 63;
            text.push(if place > three.len() { '=' } else { char::from(DIGITS[digit as usize]) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_of_a_certificate_is_ours_in_every_spelling() {
        for name in
            ["x-ssl-client-verify", "x_ssl_client.cn", "ssl-client-subject-dn", "client-cert", "client_cert-chain"]
        {
            assert!(is_ours(name), "{name}");
        }
        for name in ["x-ssl", "client-certainly-not".strip_suffix("ainly-not").unwrap(), "x-ssl-clients", "cookie"] {
            assert_eq!(is_ours(name), name == "client-cert", "{name}");
        }
    }

    #[test]
    fn a_certificate_is_told_as_far_as_is_asked() {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "ann");
        params.serial_number = Some(rcgen::SerialNumber::from(0x1234_u64));
        let der = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec();
        let told = |tell, leaf| -> Vec<String> {
            let fields = fields(tell, leaf);
            fields.iter().flat_map(|f| f.iter()).map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect()
        };
        assert_eq!(common_name(&der).as_deref(), Some("ann"));
        assert_eq!(told(Tell::Nothing, Some(&der)), [""; 0]);
        assert_eq!(told(Tell::Certificate, None), ["x-ssl-client-verify: NONE"]);
        let subject = told(Tell::Subject, Some(&der));
        let expected = [
            "x-ssl-client-verify: SUCCESS",
            "x-ssl-client-subject-dn: CN=ann",
            "x-ssl-client-issuer-dn: CN=ann",
            "x-ssl-client-serial: 1234",
        ];
        assert_eq!(subject, expected);
        let whole = told(Tell::Certificate, Some(&der));
        assert_eq!((&whole[..4], &whole[4]), (&subject[..], &format!("client-cert: :{}:", base64(&der))));
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (plain, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")]
        {
            assert_eq!(base64(plain.as_bytes()), text);
        }
    }
}
