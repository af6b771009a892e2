//! Pure. What time does to certificates: which are not valid yet or any more, which OCSP responses have lapsed, which
//! lists of revoked certificates are outdated.
//!
//! Compile knows no time. So what time takes away is taken out of the intent here, the loop looks again when the next
//! of these moments comes, and what is left is compiled like any change.

use std::sync::Arc;

use x509_parser::time::ASN1Time;

use crate::model::intent::{Cert, Intent, Listener, Staple};
use crate::model::problem::{Cause, Problem};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What is wrong now.
    pub(super) problems: Vec<Problem>,
    /// When something may be wrong next, in seconds since 1970.
    pub(super) next: Option<i64>,
}

impl Found {
    fn say(&mut self, cert: &Cert, reason: String) {
        self.problems.push(Problem::new(&cert.origin, reason).because(Cause::Certificate));
    }

    /// Whether a moment has passed; one that has not is looked at again then.
    fn has_passed(&mut self, moment: i64, now: i64) -> bool {
        if moment > now && moment < i64::MAX {
            self.next = Some(self.next.map_or(moment, |next| next.min(moment)));
        }
        moment <= now
    }
}

/// Looks at an intent at a moment, in seconds since 1970, and takes OCSP responses out that do not hold then.
pub(super) fn look(intent: &mut Intent, now: i64) -> Found {
    let mut found = Found::default();
    for cert in intent.certs.values_mut() {
        look_at(cert, now, &mut found);
    }
    for listener in intent.listeners.values() {
        look_at_crls(listener, now, &mut found);
    }
    found
}

fn look_at(cert: &mut Arc<Cert>, now: i64, found: &mut Found) {
    if !found.has_passed(cert.not_before, now) {
        let reason = format!("the certificate is not valid before {}; is the clock right?", shown(cert.not_before));
        found.say(cert, reason);
    } else if found.has_passed(cert.not_after, now) {
        found.say(cert, format!("the certificate ended on {}, so clients refuse it; renew it", shown(cert.not_after)));
    }
    let lapse = match &cert.staple {
        None => None,
        Some(Staple::Unusable(reason)) => Some(format!("its ocsp {reason}")),
        Some(Staple::Good { from, until, .. }) => {
            let (from, until) = (*from, *until);
            if !found.has_passed(from, now) {
                Some(format!("its ocsp holds from {} on; is the clock right?", shown(from)))
            } else if found.has_passed(until, now) {
                Some(format!("its ocsp held until {}; fetch it anew", shown(until)))
            } else {
                None
            }
        }
    };
    let is_stapled = cert.staple.is_some() && lapse.is_none();
    if let Some(reason) = lapse {
        found.say(cert, format!("{reason}; until then none is sent along"));
        Arc::make_mut(cert).staple = None;
    }
    if cert.must_staple && !is_stapled {
        let reason = "the certificate asks for an OCSP response beside it (must-staple) and has none, so some clients \
                      refuse it; give one as ocsp:, or get a certificate that does not ask";
        found.say(cert, reason.to_owned());
    }
}

fn look_at_crls(listener: &Listener, now: i64, found: &mut Found) {
    let crls = listener.tls.client_auth.iter().flat_map(|auth| &*auth.crls);
    let outdated: Vec<i64> =
        crls.filter_map(|crl| crl.next_update).filter(|moment| found.has_passed(*moment, now)).collect();
    if let Some(first) = outdated.first() {
        let reason = format!(
            "its list of revoked client certificates (crl) was to be renewed by {}, so the certificates of its \
             authority are refused; write it anew",
            shown(*first)
        );
        found.problems.push(Problem::new(&listener.origin, reason));
    }
}

fn shown(moment: i64) -> String {
    let text = ASN1Time::from_timestamp(moment).ok().and_then(|time| time.to_rfc2822().ok());
    text.unwrap_or_else(|| format!("second {moment} of Unix time"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::intent::tls::{ClientAuth, ClientAuthMode, Crl, Tell};
    use crate::model::intent::{CertName, ListenerKey, Protocol, TlsRules};
    use crate::model::problem::Origin;
    use crate::model::secret::Secret;

    fn intent(must_staple: bool, staple: Option<Staple>) -> Intent {
        let cert = Cert {
            names: vec![],
            chain: vec![],
            key: Secret::new(*b"k"),
            not_before: 100,
            not_after: 200,
            must_staple,
            staple,
            origin: Origin::new("file", "certificate 1"),
        };
        Intent { certs: [(CertName::new("a"), Arc::new(cert))].into(), ..Intent::default() }
    }

    fn good() -> Option<Staple> {
        Some(Staple::Good { response: [1].into(), from: 110, until: 150 })
    }

    /// What is told at a moment, when it is looked at next, and whether a response is sent.
    fn at(now: i64, intent: &Intent) -> (String, Option<i64>, bool) {
        let mut intent = intent.clone();
        let found = look(&mut intent, now);
        let told: Vec<_> = found.problems.into_iter().map(|problem| problem.reason).collect();
        (told.join(" | "), found.next, intent.certs.values().any(|cert| cert.staple.is_some()))
    }

    #[test]
    fn a_certificate_is_good_between_its_two_moments() {
        let asked = intent(false, None);
        let (told, next, _) = at(99, &asked);
        assert!(told.contains("not valid before Thu, 01 Jan 1970 00:01:40 +0000"), "{told}");
        assert_eq!(next, Some(100));
        assert_eq!(at(100, &asked), (String::new(), Some(200), false));
        assert_eq!(at(199, &asked), (String::new(), Some(200), false));
        let (told, next, _) = at(200, &asked);
        assert!(told.contains("ended on") && told.ends_with("renew it"), "{told}");
        assert_eq!(next, None);
    }

    #[test]
    fn a_response_is_sent_while_it_holds() {
        let asked = intent(true, good());
        for (now, is_sent, next) in [(105, false, Some(110)), (110, true, Some(150)), (150, false, Some(200))] {
            let (told, then, sent) = at(now, &asked);
            assert_eq!((sent, then), (is_sent, next), "at {now}");
            assert_eq!(told.contains("must-staple"), !is_sent, "{told}");
        }
        let (told, ..) = at(150, &intent(false, good()));
        assert!(told.contains("its ocsp held until") && !told.contains("must-staple"), "{told}");
        let (told, _, is_sent) = at(120, &intent(false, Some(Staple::Unusable("is about another".into()))));
        assert_eq!((&*told, is_sent), ("its ocsp is about another; until then none is sent along", false));
    }

    #[test]
    fn an_outdated_list_of_revocations_is_told() {
        let crl = |next_update| Crl { der: [1].into(), next_update };
        let client_auth = ClientAuth {
            mode: ClientAuthMode::Required,
            roots: [].into(),
            crls: [crl(None), crl(Some(150)), crl(Some(120))].into(),
            tell: Tell::Nothing,
        };
        let key = ListenerKey::tcp(([127, 0, 0, 1], 1).into());
        let listener = Listener {
            name: "web".into(),
            protocol: Protocol::Https,
            routes: vec![],
            certs: vec![],
            strict_sni: false,
            tls: TlsRules { client_auth: Some(client_auth), ..TlsRules::default() },
            sources: Default::default(),
            http: Default::default(),
            proxies: vec![],
            limits: Default::default(),
            flow_idle: None,
            essential: true,
            origin: Origin::new("file", "listener web"),
        };
        let asked = Intent { listeners: [(key, Arc::new(listener))].into(), ..Intent::default() };
        assert_eq!(at(100, &asked), (String::new(), Some(120), false));
        let (told, next, _) = at(130, &asked);
        assert!(told.contains("was to be renewed by Thu, 01 Jan 1970 00:02:00"), "{told}");
        assert_eq!(next, Some(150));
    }
}
