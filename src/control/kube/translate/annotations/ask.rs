//! Pure. The values of annotations that ask a Service or send requests to one. Every error says what would be right.

use std::sync::Arc;

use crate::control::ask;
use crate::model::filter::fields;

/// A Service as an annotation names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Named {
    /// Its name.
    pub service: Arc<str>,
    /// Its namespace; `None`: that of the object.
    pub namespace: Option<Arc<str>>,
    /// The name or number of its port; `None`: its only one.
    pub port: Option<Arc<str>>,
}

/// `auth-url` and what belongs to it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AuthWishes {
    /// `auth-url`: the Service that is asked, and with which path.
    pub url: Option<(Named, Arc<str>)>,
    /// `auth-signin`.
    pub sign_in: Option<Arc<str>>,
    /// `auth-response-headers`, lower-case.
    pub headers: Vec<Arc<str>>,
}

/// `canary` and what belongs to it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CanaryWishes {
    /// `canary`.
    pub to: Option<Named>,
    /// `canary-weight`, in thousandths.
    pub permille: Option<u16>,
    /// `canary-by-header`, lower-case.
    pub header: Option<Arc<str>>,
    /// `canary-by-header-value`.
    pub value: Option<Arc<str>>,
    /// `canary-by-cookie`.
    pub cookie: Option<Arc<str>>,
}

/// `http://SERVICE[.NAMESPACE[.svc[.cluster.local]]][:PORT][/PATH]`.
pub(in crate::control::kube::translate) fn url(value: &str) -> Result<(Named, Arc<str>), String> {
    let wrong = || {
        "it is the address of a Service like http://oauth2-proxy/oauth2/auth or \
         http://authelia.auth.svc:9091/api/authz/forward-auth"
            .to_owned()
    };
    let rest = value.strip_prefix("http://").ok_or_else(wrong)?;
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    let mut labels = host.split('.');
    let (service, namespace) = (labels.next().unwrap_or_default(), labels.next());
    let rest: Vec<&str> = labels.collect();
    let is_whole = matches!(rest[..], [] | ["svc"] | ["svc", "cluster", "local"]);
    let is_right =
        is_name(service) && namespace.is_none_or(is_name) && port.is_none_or(|port| port.parse::<u16>().is_ok());
    if !is_whole || !is_right {
        return Err(wrong());
    }
    let port = port.unwrap_or("80");
    Ok((
        Named { service: service.into(), namespace: namespace.map(Arc::from), port: Some(port.into()) },
        ask::path(path)?,
    ))
}

/// `SERVICE` or `SERVICE:PORT`, of the same namespace.
pub(super) fn named(value: &str) -> Result<Named, String> {
    let (service, port) = value.split_once(':').map_or((value, None), |(service, port)| (service, Some(port)));
    if !is_name(service) || !port.is_none_or(is_name) {
        return Err("it is SERVICE or SERVICE:PORT, like web-next:http".to_owned());
    }
    Ok(Named { service: service.into(), namespace: None, port: port.map(Arc::from) })
}

/// The name of a Secret of the same namespace: letters and digits with dots and dashes between (RFC 1123).
pub(in crate::control::kube::translate) fn secret(value: &str) -> Result<Arc<str>, String> {
    match value.len() <= 253 && value.split('.').all(is_name) {
        true => Ok(value.into()),
        false => Err("it is the name of a Secret of the same namespace, like users".to_owned()),
    }
}

/// Whether it is the name of an object or of a port (RFC 1123).
fn is_name(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.len() <= 63 && text.bytes().all(fits)
}

/// Names of fields, with commas between.
pub(super) fn names(value: &str) -> Result<Vec<Arc<str>>, String> {
    value.split(',').map(|name| name_of(name.trim())).collect()
}

/// The name of a field.
pub(in crate::control::kube::translate) fn name_of(value: &str) -> Result<Arc<str>, String> {
    fields::name(value).map(|name| name.as_str().into())
}

/// What a field says.
pub(in crate::control::kube::translate) fn value(value: &str) -> Result<Arc<str>, String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    match !value.is_empty() && value.len() <= 128 && value.bytes().all(fits) {
        true => Ok(value.into()),
        false => Err("it is up to 128 letters, digits and -._~+/=, like beta".to_owned()),
    }
}

/// A percentage, with or without its sign.
pub(super) fn weight(value: &str) -> Result<u16, String> {
    let value = value.strip_suffix('%').unwrap_or(value);
    ask::share(&format!("{value}%")).map_err(|_| "it is a share from 0 to 100, like 10 or 0.5".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_named_by_their_addresses() {
        let named = |service: &str, namespace: Option<&str>, port: Option<&str>| Named {
            service: service.into(),
            namespace: namespace.map(Into::into),
            port: port.map(Into::into),
        };
        for (value, service, path) in [
            ("http://auth", named("auth", None, Some("80")), "/"),
            ("http://auth:9091/api/verify?x=1", named("auth", None, Some("9091")), "/api/verify?x=1"),
            ("http://auth.sso/x", named("auth", Some("sso"), Some("80")), "/x"),
            ("http://auth.sso.svc.cluster.local:80/", named("auth", Some("sso"), Some("80")), "/"),
        ] {
            assert_eq!(url(value), Ok((service, path.into())), "{value}");
        }
        for bad in [
            "",
            "auth",
            "https://auth/",
            "http://",
            "http://auth.example.com/",
            "http://a:x/",
            "http://A/",
            "http://u@a/",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
        assert_eq!(super::named("web:http"), Ok(named("web", None, Some("http"))));
        assert_eq!(secret("users.v2"), Ok("users.v2".into()));
        assert!(secret("other/users").is_err() && secret("").is_err() && secret("a..b").is_err());
        assert!(super::named("other/web").is_err() && super::named("").is_err() && super::named("web:").is_err());
        assert_eq!((weight("10"), weight("0.5%")), (Ok(100), Ok(5)));
        assert!(weight("101").is_err() && names("a, b c").is_err());
    }
}
