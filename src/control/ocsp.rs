//! Pure. An OCSP response (RFC 6960), read as far as it must be to know whether it may be sent along with a certificate.
//!
//! Whose signature it bears is for the client to judge; here it is only seen to that no client is shown an answer that
//! is about another certificate, that is not good news, or that has lapsed. What cannot be used is no error: the
//! certificate is served without it, and the reason becomes a problem.

use std::sync::Arc;

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use crate::model::intent::Staple;

/// Reads a response for the certificate `leaf` (DER).
pub(super) fn read(response: &[u8], leaf: &[u8]) -> Staple {
    match judge(response, leaf) {
        Ok((from, until)) => Staple::Good { response: response.into(), from, until },
        Err(reason) => Staple::Unusable(reason),
    }
}

fn judge(response: &[u8], leaf: &[u8]) -> Result<(i64, i64), Arc<str>> {
    let broken = || Arc::from("is no OCSP response in DER; fetch it anew (openssl ocsp -respout FILE)");
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| broken())?;
    match status(response).ok_or_else(broken)? {
        0 => {}
        code => return Err(format!("is the responder's error {code} rather than an answer; fetch it anew").into()),
    }
    let answers = answers(response).ok_or_else(broken)?;
    let same = |answer: &&Answer<'_>| unpadded(answer.serial) == unpadded(leaf.raw_serial());
    let Some(answer) = answers.iter().find(same) else {
        return Err("is about another certificate; fetch the one for this".into());
    };
    match answer.verdict {
        GOOD => Ok((answer.from, answer.until)),
        REVOKED => Err("says that the certificate is revoked; get a new certificate".into()),
        _ => Err("says that the responder does not know the certificate; ask its own authority's".into()),
    }
}

/// Tags of DER.
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const OPTION_0: u8 = 0xa0;
/// What a responder says of a certificate, by the tag of its answer.
const GOOD: u8 = 0x80;
const REVOKED: u8 = 0xa1;

/// What is said of one certificate.
struct Answer<'r> {
    serial: &'r [u8],
    verdict: u8,
    from: i64,
    until: i64,
}

fn status(response: &[u8]) -> Option<u8> {
    let mut outer = Der(Der(response).within(SEQUENCE)?);
    outer.within(ENUMERATED)?.first().copied()
}

fn answers(response: &[u8]) -> Option<Vec<Answer<'_>>> {
    let mut outer = Der(Der(response).within(SEQUENCE)?);
    outer.within(ENUMERATED)?;
    let mut bytes = Der(Der(outer.within(OPTION_0)?).within(SEQUENCE)?);
    bytes.within(OID)?;
    let mut basic = Der(Der(bytes.within(OCTETS)?).within(SEQUENCE)?);
    let mut data = Der(basic.within(SEQUENCE)?);
    // The version, if it is told, and who answers.
    if data.peek() == Some(OPTION_0) {
        data.within(OPTION_0)?;
    }
    data.next()?;
    data.within(TIME)?;
    let mut list = Der(data.within(SEQUENCE)?);
    let mut answers = Vec::new();
    while list.peek().is_some() {
        answers.push(answer(Der(list.within(SEQUENCE)?))?);
    }
    Some(answers)
}

fn answer<'r>(mut single: Der<'r>) -> Option<Answer<'r>> {
    let mut of = Der(single.within(SEQUENCE)?);
    of.within(SEQUENCE)?;
    of.within(OCTETS)?;
    of.within(OCTETS)?;
    let serial = of.within(INTEGER)?;
    let verdict = single.next()?.tag;
    let from = time(&single.next()?)?;
    let until = if single.peek() == Some(OPTION_0) {
        time(&Der(single.within(OPTION_0)?).next()?)?
    } else {
        // "newer revocation information is available all the time" (RFC 6960 §4.2.2.1)
        i64::MAX
    };
    Some(Answer { serial, verdict, from, until })
}

fn time(element: &Element<'_>) -> Option<i64> {
    (element.tag == TIME).then(|| ASN1Time::from_der(element.whole).ok())?.map(|(_, time)| time.timestamp())
}

fn unpadded(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    &serial[zeros..]
}

/// Elements of DER, one after the other.
struct Der<'r>(&'r [u8]);

struct Element<'r> {
    tag: u8,
    content: &'r [u8],
    whole: &'r [u8],
}

impl<'r> Der<'r> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn next(&mut self) -> Option<Element<'r>> {
        let (tag, length) = (*self.0.first()?, *self.0.get(1)?);
        let (begin, length) = match length {
            0..=0x7f => (2, usize::from(length)),
            0x81..=0x84 => {
                let bytes = self.0.get(2..2 + usize::from(length & 0x7f))?;
                (2 + bytes.len(), bytes.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte)))
            }
            // Indefinite, or longer than any file that is read.
            _ => return None,
        };
        let end = begin.checked_add(length)?;
        let (whole, content) = (self.0.get(..end)?, self.0.get(begin..end)?);
        self.0 = self.0.get(end..)?;
        Some(Element { tag, content, whole })
    }

    /// The content of the next element, which must have this tag.
    fn within(&mut self, tag: u8) -> Option<&'r [u8]> {
        self.next().filter(|element| element.tag == tag).map(|element| element.content)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        let head = if content.len() < 128 { vec![tag, length[1]] } else { vec![tag, 0x82, length[0], length[1]] };
        [head, content].concat()
    }

    fn response(serial: &[u8], verdict: u8, until: Option<&[u8]>) -> Vec<u8> {
        let id = der(
            SEQUENCE,
            &[&der(SEQUENCE, &[]), &der(OCTETS, &[b"n"]), &der(OCTETS, &[b"k"]), &der(INTEGER, &[serial])],
        );
        let until = until.map_or_else(Vec::new, |until| der(OPTION_0, &[&der(TIME, &[until])]));
        let single = der(SEQUENCE, &[&id, &der(verdict, &[]), &der(TIME, &[b"20260102030405Z"]), &until]);
        let data =
            der(SEQUENCE, &[&der(0xa1, &[b"who"]), &der(TIME, &[b"20260102030405Z"]), &der(SEQUENCE, &[&single])]);
        let basic = der(SEQUENCE, &[&data, &der(SEQUENCE, &[]), &der(3, &[b"signature"])]);
        let bytes = der(SEQUENCE, &[&der(OID, &[b"type"]), &der(OCTETS, &[&basic])]);
        der(SEQUENCE, &[&der(ENUMERATED, &[&[0]]), &der(OPTION_0, &[&bytes])])
    }

    fn leaf(serial: &[u8]) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::default();
        params.serial_number = Some(rcgen::SerialNumber::from_slice(serial));
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn a_good_answer_is_kept_for_as_long_as_it_holds() {
        let (leaf, time) = (leaf(&[0x92, 2, 3]), |y, m, d| rcgen::date_time_ymd(y, m, d).unix_timestamp());
        let made = response(&[0, 0x92, 2, 3], GOOD, Some(b"20310506000000Z"));
        let Staple::Good { response: kept, from, until } = read(&made, &leaf) else { panic!("not good") };
        assert_eq!(*kept, *made);
        assert_eq!((from, until), (time(2026, 1, 2) + 3 * 3600 + 4 * 60 + 5, time(2031, 5, 6)));
        let open = response(&[0, 0x92, 2, 3], GOOD, None);
        assert!(matches!(read(&open, &leaf), Staple::Good { until: i64::MAX, .. }));
    }

    #[test]
    fn what_must_not_be_sent_says_why() {
        let leaf = leaf(&[1, 2, 3]);
        let refused = |response: &[u8]| match read(response, &leaf) {
            Staple::Unusable(reason) => reason.to_string(),
            Staple::Good { .. } => panic!("is good"),
        };
        assert!(refused(&response(&[1, 2, 3], REVOKED, None)).contains("revoked"));
        assert!(refused(&response(&[1, 2, 3], 0x82, None)).contains("does not know"));
        assert!(refused(&response(&[3, 2, 1], GOOD, None)).contains("another certificate"));
        assert!(refused(&response(&[1, 2, 3], GOOD, Some(b"yesterday"))).contains("no OCSP response"));
        assert!(refused(&der(SEQUENCE, &[&der(ENUMERATED, &[&[6]])])).contains("error 6"));
        assert!(refused(b"").contains("no OCSP response"));
        assert!(refused(b"-----BEGIN").contains("no OCSP response"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), at in 0..200_usize, byte: u8) {
            let leaf = leaf(&[1]);
            read(&bytes, &leaf);
            let mut near = response(&[1], GOOD, Some(b"20310506000000Z"));
            let at = at % near.len();
            near[at] = byte;
            read(&near, &leaf);
            near.truncate(at);
            read(&near, &leaf);
        }
    }
}
