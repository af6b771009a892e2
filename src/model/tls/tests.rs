//! Who answers to which name, and who may ask for what on whose connection.

use super::*;
use crate::model::host::HostPattern;
use crate::model::intent::tls::Tell;
use crate::model::intent::{ListenerKey, Protocol};
use crate::model::problem::Origin;
use crate::model::secret::Secret;

fn cert(names: &[&str], algorithm: &'static rcgen::SignatureAlgorithm) -> Arc<Cert> {
    let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["any.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    Arc::new(Cert {
        names: names.iter().map(|name| HostPattern::parse(name).unwrap()).collect(),
        chain: vec![leaf.der().to_vec().into()],
        key: Secret::new(key.serialize_der()),
        not_before: 0,
        not_after: i64::MAX,
        must_staple: false,
        staple: None,
        origin: Origin::new("test", "certificate"),
    })
}

fn listener(strict_sni: bool) -> Listener {
    Listener {
        name: "web".into(),
        protocol: Protocol::Https,
        routes: vec![],
        certs: vec![],
        strict_sni,
        tls: TlsRules::default(),
        sources: Default::default(),
        http: Default::default(),
        proxies: vec![],
        limits: Default::default(),
        flow_idle: None,
        essential: true,
        origin: Origin::new("test", ListenerKey::tcp(([127, 0, 0, 1], 1).into()).to_string()),
    }
}

/// ECDSA and RSA for `both.test`, one of each kind for others, and a wildcard.
fn names(is_strict: bool) -> Arc<Names> {
    let certs = [
        ("e", cert(&["both.test", "e.test"], &rcgen::PKCS_ECDSA_P256_SHA256)),
        ("r", cert(&["both.test", "r.test"], &rcgen::PKCS_RSA_SHA256)),
        ("late", cert(&["both.test", "late.test"], &rcgen::PKCS_ECDSA_P384_SHA384)),
        ("wild", cert(&["*.wild.test"], &rcgen::PKCS_ECDSA_P256_SHA256)),
        ("one", cert(&["one.wild.test"], &rcgen::PKCS_ECDSA_P256_SHA256)),
    ];
    let certs = certs.map(|(name, cert)| (CertName::new(name), cert)).into();
    let mut problems = Vec::new();
    let plan = TlsPlan::build(certs, &listener(is_strict), &TlsShared::new(Default::default()), &mut problems);
    assert_eq!(problems, []);
    plan.names
}

fn found(names: &Names, name: Option<&str>) -> String {
    let certs = |identity: &Arc<Identity>| identity.certs.iter().map(CertName::as_str).collect::<Vec<_>>().join("+");
    names.find(name).map_or_else(String::new, certs)
}

#[test]
fn a_name_has_one_certificate_of_each_kind() {
    let lax = names(false);
    for (name, certs) in [
        (Some("both.test"), "e+r"),
        (Some("BOTH.test"), "e+r"),
        (Some("e.test"), "e"),
        (Some("r.test"), "r"),
        (Some("late.test"), "late"),
        (Some("x.wild.test"), "wild"),
        (Some("one.wild.test"), "one"),
        (Some("y.x.wild.test"), "e+r"),
        (Some("none.test"), "e+r"),
        (Some("not a name"), "e+r"),
        (None, "e+r"),
    ] {
        assert_eq!(found(&lax, name), certs, "{name:?}");
    }
    let strict = names(true);
    assert_eq!((found(&strict, Some("none.test")), found(&strict, None)), (String::new(), String::new()));
    assert_eq!(found(&strict, Some("r.test")), "r");
    assert!(lax.only().is_none() && strict.only().is_none());
}

#[test]
fn a_connection_is_for_the_hosts_of_its_certificate() {
    let lax = names(false);
    for (name, host, may) in [
        (Some("both.test"), "both.test", true),
        (Some("both.test"), "e.test", true),
        (Some("e.test"), "both.test", true),
        (Some("e.test"), "r.test", false),
        (Some("e.test"), "late.test", false),
        (Some("a.wild.test"), "b.wild.test", true),
        (Some("a.wild.test"), "one.wild.test", false),
        (Some("one.wild.test"), "a.wild.test", false),
        (Some("e.test"), "none.test", true),
        (Some("late.test"), "none.test", false),
        (None, "both.test", true),
        (None, "192.0.2.1", true),
        (None, "late.test", false),
    ] {
        assert_eq!(lax.may_ask(name, host), may, "{host} on a connection for {name:?}");
    }
    assert!(!names(true).may_ask(Some("e.test"), "none.test"));
}

#[test]
fn where_all_are_one_nothing_need_be_asked() {
    let certs = vec![(CertName::new("a"), cert(&["a.test", "*.a.test"], &rcgen::PKCS_ECDSA_P256_SHA256))];
    let built = |is_strict| {
        TlsPlan::build(certs.clone(), &listener(is_strict), &TlsShared::new(Default::default()), &mut Vec::new())
    };
    assert!(built(false).names.only().is_some());
    assert!(built(false).names.may_ask(Some("a.test"), "b.test"));
    assert!(built(true).names.only().is_none(), "a name that is not its own is refused");
    assert!(!built(true).names.may_ask(Some("a.test"), "b.test"));
}

#[test]
fn rules_for_clients_that_cannot_be_kept_leave_nobody_in() {
    let mut asked = listener(false);
    asked.tls.client_auth = Some(ClientAuth {
        mode: ClientAuthMode::Optional,
        roots: [(*b"not DER").into()].into(),
        crls: [].into(),
        tell: Tell::Nothing,
    });
    let certs = vec![(CertName::new("a"), cert(&["a.test"], &rcgen::PKCS_ECDSA_P256_SHA256))];
    let mut problems = Vec::new();
    let plan = TlsPlan::build(certs, &asked, &TlsShared::new(Default::default()), &mut problems);
    assert!(plan.names.find(Some("a.test")).is_none() && !plan.is_clean());
    assert!(problems[0].reason.contains("cannot be an authority"), "{problems:?}");
    assert!(problems[0].reason.ends_with("until then every handshake is refused"), "{problems:?}");
}

#[test]
fn nothing_that_is_shown_in_debug_is_secret() {
    let key = cert(&["a.test"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let shown = format!("{key:?} {:?} {:?}", TlsShared::new(Default::default()), names(false));
    assert!(shown.contains("Secret(hidden)"));
    let secret = format!("{:?}", key.key.expose());
    assert!(!shown.contains(secret.trim_matches(['[', ']'])));
}
