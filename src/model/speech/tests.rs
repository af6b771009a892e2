//! Plans for speech, and when one is taken over.

use super::*;

fn cert() -> (Arc<[u8]>, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
    (made.cert.der().to_vec().into(), made.signing_key.serialize_der())
}

fn sealed(tls: BackendTls) -> Speech {
    Speech { http2: false, tls: Some(Arc::new(tls)) }
}

#[test]
fn plain_needs_no_plan_and_what_is_the_same_is_taken_over() {
    let shared = TlsShared::new(Arc::default());
    assert!(SpeechPlan::of(&Speech::PLAIN, None, &shared).is_none());
    let one = SpeechPlan::of(&Speech::https_unverified(), None, &shared).unwrap();
    let same = SpeechPlan::of(&Speech::https_unverified(), Some(&one), &shared).unwrap();
    assert!(Arc::ptr_eq(&one, &same));
    let named = sealed(BackendTls { verify: Verify::None, name: Some("a.test".into()), identity: None });
    assert!(!Arc::ptr_eq(&one, &SpeechPlan::of(&named, Some(&one), &shared).unwrap()));
}

#[test]
fn what_cannot_be_had_says_why_and_is_tried_again() {
    let shared = TlsShared::new(Arc::default());
    let asked = sealed(BackendTls::default());
    let broken = SpeechPlan::of(&asked, None, &shared).unwrap();
    assert!(broken.trouble().unwrap().contains("tls.ca"), "{:?}", broken.trouble());
    let (ca, _) = cert();
    shared.trust_by(move || vec![CertificateDer::from(ca.to_vec())]);
    let whole = SpeechPlan::of(&asked, Some(&broken), &shared).unwrap();
    assert_eq!(whole.trouble(), None);
    let bad = sealed(BackendTls { verify: Verify::By(vec![(*b"no").into()]), ..BackendTls::default() });
    assert!(SpeechPlan::of(&bad, None, &shared).unwrap().trouble().unwrap().starts_with("a certificate of tls.ca"));
    let (one, _) = cert();
    let (_, other) = cert();
    let identity = Some(Identity { chain: vec![one], key: crate::model::secret::Secret::new(other) });
    let bad = sealed(BackendTls { verify: Verify::None, name: None, identity });
    assert!(SpeechPlan::of(&bad, None, &shared).unwrap().trouble().unwrap().starts_with("tls.client_cert"));
}

#[test]
fn a_failure_is_told_once() {
    let plan = SpeechPlan::of(&Speech::H2C, None, &TlsShared::new(Arc::default())).unwrap();
    let told: Vec<bool> = [false, false, true, false].into_iter().map(|well| plan.shook(well)).collect();
    assert_eq!(told, [true, false, false, true]);
}

#[test]
fn it_is_shown_without_secrets() {
    let (chain, key) = cert();
    let identity = Some(Identity { chain: vec![chain], key: crate::model::secret::Secret::new(key) });
    let asked = sealed(BackendTls { verify: Verify::System, name: Some("a.test".into()), identity });
    assert_eq!(asked.to_string(), "https verify system name a.test client certificate");
    assert_eq!(Speech { http2: true, ..Speech::https_unverified() }.to_string(), "h2 verify none");
    assert_eq!((Speech::H2C.to_string().as_str(), Speech::PLAIN.name()), ("h2c", "http"));
}
