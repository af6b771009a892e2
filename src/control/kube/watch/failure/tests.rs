//! Every failure names what is wrong and what would be right; several become one line.

use super::*;
use crate::control::kube::objects::endpoints::EndpointSlice;
use crate::control::kube::objects::secret::TlsSecret;
use crate::control::kube::objects::service::Service;

fn server() -> Server {
    Server { url: "https://192.0.2.1:6443".to_owned(), access: "kubeconfig /k".to_owned() }
}

fn feed(namespace: Option<&str>) -> Feed {
    Feed { kind: "Service", namespace: namespace.map(Into::into) }
}

fn api(code: u16, message: &str) -> Wrong {
    let status = Status { code, message: message.to_owned(), ..Status::default() };
    Wrong::Refused { status: Box::new(status), after: None }
}

/// As it comes from below: the cause is wrapped in an I/O error, that in the client's, that in kube's.
fn transport(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Wrong {
    #[derive(Debug, thiserror::Error)]
    #[error("client error (Connect)")]
    struct Connect(#[source] io::Error);
    Wrong::Unreached(kube::Error::Service(Box::new(Connect(io::Error::other(cause)))))
}

fn text(failure: Failure) -> String {
    summary([failure].iter()).unwrap()
}

#[test]
fn what_ails_the_server_is_told_with_its_url_and_the_cure() {
    let refused = io::Error::from(ErrorKind::ConnectionRefused);
    let certificate = |error| rustls::Error::InvalidCertificate(error);
    let cases = [
        (api(401, "Unauthorized"), "does not accept our credentials (401)", "valid token or client certificate into"),
        (api(503, "not\nyet"), "answers 503: not yet", ""),
        (transport(refused), "connection refused", "correct `server` in"),
        (transport(io::Error::from(ErrorKind::TimedOut)), "no answer in time", "firewall"),
        (transport(certificate(CertificateError::UnknownIssuer)), "another authority", "put the cluster's own there"),
        (transport(certificate(CertificateError::NotValidForName)), "cannot trust", "tls-server-name"),
        (transport(certificate(CertificateError::Expired)), "cannot trust", "clock"),
        (transport("dns error: failed to lookup address"), "cannot be found by that name", "DNS"),
        (transport(io::Error::from(ErrorKind::ConnectionReset)), "broke the connection off", ""),
        (transport("out of luck"), "out of luck", ""),
    ];
    for (error, wrong, right) in cases {
        let text = text(Failure::of::<Service>(&error, &feed(None), &server()));
        assert!(text.starts_with("API server https://192.0.2.1:6443 "), "{text}");
        assert!(text.contains(wrong) && text.contains(right), "{text}");
        assert!(!text.contains("services"), "the kind is not to blame: {text}");
        assert!(right.is_empty() || right == "DNS" || right == "clock" || text.contains("kubeconfig /k"), "{text}");
    }
}

#[test]
fn all_that_is_forbidden_is_told_at_once_and_to_whom() {
    let denied = api(403, "secrets is forbidden: User \"system:serviceaccount:kube-system:sluice\" cannot list");
    let failures = [
        Failure::Kind("something of one kind".to_owned()),
        Failure::of::<EndpointSlice>(&api(403, ""), &feed(None), &server()),
        Failure::of::<TlsSecret>(&denied, &feed(Some("shop")), &server()),
    ];
    assert_eq!(
        summary(failures.iter()).unwrap(),
        "system:serviceaccount:kube-system:sluice may not read endpointslices.discovery.k8s.io, secrets in namespace \
         shop (403); give it the verbs get, list and watch there, as deploy/kubernetes/rights.yaml does"
    );
    let many: Vec<_> =
        (0..10).map(|n| Failure::Forbidden { account: None, what: format!("secrets in namespace n{n}") }).collect();
    assert!(summary(many.iter()).unwrap().contains("n7 and 2 more (403)"));
}

#[test]
fn the_server_comes_before_kinds_and_nothing_is_no_failure() {
    let kind = Failure::of::<EndpointSlice>(&api(404, "404 page not found"), &feed(None), &server());
    assert!(text(kind.clone()).starts_with("endpointslices.discovery.k8s.io: "), "{kind:?}");
    let server = Failure::Server("down".to_owned());
    assert_eq!(summary([kind, server].iter()).unwrap(), "down");
    assert_eq!(summary([].iter()), None);
}

#[test]
fn a_chain_says_nothing_twice() {
    #[derive(Debug, thiserror::Error)]
    #[error("outer: {0}")]
    struct Outer(#[source] io::Error);
    assert_eq!(chain(&Outer(io::Error::other("inner"))), "outer: inner");
}
