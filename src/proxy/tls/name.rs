//! Pure. A distinguished name as text, in the form of RFC 4514 that OpenSSL calls `RFC2253` and nginx tells backends.
//!
//! Every byte that could end a value, a field or a line is escaped, so that nobody whose certificate says
//! `CN=x,CN=admin` in one value is taken for an admin.

use std::fmt::Write;

use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// The short names of attribute types; others are shown by their numbers.
const SHORT: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
];

/// The name as text, the most specific part first. Printable ASCII alone.
pub(super) fn shown(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter_rdn().collect();
    let mut text = String::new();
    for part in parts.into_iter().rev() {
        if !text.is_empty() {
            text.push(',');
        }
        for (at, attribute) in part.iter().enumerate() {
            if at > 0 {
                text.push('+');
            }
            show(attribute, &mut text);
        }
    }
    text
}

fn show(attribute: &AttributeTypeAndValue<'_>, into: &mut String) {
    let kind = attribute.attr_type().to_id_string();
    let short = SHORT.iter().find(|(oid, _)| *oid == kind).map(|(_, short)| *short);
    into.push_str(short.unwrap_or(&kind));
    into.push('=');
    match attribute.as_str() {
        Ok(value) => escape(value, into),
        // Not text: its bytes (RFC 4514 §2.4).
        Err(_) => {
            into.push('#');
            attribute.as_slice().iter().for_each(|byte| hex("", *byte, into));
        }
    }
}

fn hex(before: &str, byte: u8, into: &mut String) {
    // Writing to a string never fails.
    let _ = write!(into, "{before}{byte:02X}");
}

fn escape(value: &str, into: &mut String) {
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        let is_edge = (at == 0 && matches!(byte, b' ' | b'#')) || (at == last && byte == b' ');
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' | b'=' => into.extend(['\\', char::from(byte)]),
            _ if is_edge => into.extend(['\\', char::from(byte)]),
            b' '..=b'~' => into.push(char::from(byte)),
            _ => hex("\\", byte, into),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
    use x509_parser::certificate::X509Certificate;
    use x509_parser::prelude::FromDer;

    use super::*;

    fn of(parts: &[(DnType, &str)]) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
        shown(X509Certificate::from_der(&der).unwrap().1.subject())
    }

    #[test]
    fn the_most_specific_part_comes_first() {
        let parts = [
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "Home & Lab"),
            (DnType::CommonName, "ann@example.test"),
        ];
        assert_eq!(of(&parts), "CN=ann@example.test,O=Home & Lab,C=DE");
        assert_eq!(of(&[(DnType::CustomDnType(vec![1, 2, 3, 4]), "x")]), "1.2.3.4=x");
        assert_eq!(of(&[]), "");
    }

    #[test]
    fn no_value_can_pretend_to_be_more_than_one() {
        for (value, expected) in [
            ("x,CN=admin", r"CN=x\,CN\=admin"),
            ("x\r\nX-Admin: 1", r"CN=x\0D\0AX-Admin: 1"),
            (r#" "a"+<b>; "#, r#"CN=\ \"a\"\+\<b\>\;\ "#),
            ("#1", r"CN=\#1"),
            (r"a\", r"CN=a\\"),
            ("Zoë", r"CN=Zo\C3\AB"),
        ] {
            assert_eq!(of(&[(DnType::CommonName, value)]), expected);
        }
    }
}
