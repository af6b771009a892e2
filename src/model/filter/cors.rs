//! Pure. Which other origins' scripts may use a route (the CORS protocol of the Fetch standard).

use http::HeaderValue;

use crate::model::host::{Host, HostPattern};
use crate::model::intent::filter::Cors;

/// The rules of one route, ready for use.
#[derive(Debug)]
pub struct CorsPlan {
    origins: Vec<Origins>,
    /// What a preflight is told that may be used, …
    pub methods: HeaderValue,
    /// … and which fields may be sent; `None`: those it asks for.
    pub headers: Option<HeaderValue>,
    /// Which fields of answers scripts may read.
    pub expose: Option<HeaderValue>,
    /// Whether cookies and credentials may be sent.
    pub credentials: bool,
    /// Seconds for which a preflight's answer may be kept.
    pub max_age: HeaderValue,
}

#[derive(Debug)]
enum Origins {
    Any,
    /// As browsers send it.
    One(Box<str>),
    /// What comes before and after the one label.
    Below(Box<str>, Box<str>),
}

/// Who is granted an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Grant {
    /// Everybody: answers are the same whoever asks.
    Any,
    /// This origin: answers differ by it.
    One(HeaderValue),
    /// Nobody; but another origin might be.
    None,
}

impl CorsPlan {
    /// The plan of these rules.
    ///
    /// # Errors
    /// What is wrong with them and what would be right.
    pub fn of(cors: &Cors) -> Result<Self, String> {
        let Cors { origins, methods, headers, expose, credentials, max_age } = cors;
        let origins: Vec<_> = origins.iter().map(|text| Origins::parse(text)).collect::<Result<_, _>>()?;
        if *credentials && origins.iter().any(|origin| matches!(origin, Origins::Any)) {
            return Err(
                "credentials for the origin * would open every user's session to every site; name the origins".into()
            );
        }
        let list = |all: &[std::sync::Arc<str>], what: &str| -> Result<Option<HeaderValue>, String> {
            if let Some(bad) = all.iter().find(|item| !is_token(item)) {
                return Err(format!("{bad:?} is not the name of a {what}"));
            }
            let joined = (!all.is_empty()).then(|| HeaderValue::try_from(all.join(", ")));
            joined.transpose().map_err(|_| format!("the {what}s cannot be written in a field"))
        };
        Ok(Self {
            origins,
            methods: list(methods, "method")?.unwrap_or_else(|| HeaderValue::from_static("GET, HEAD, POST")),
            headers: list(headers, "field")?,
            expose: list(expose, "field")?,
            credentials: *credentials,
            max_age: HeaderValue::from(max_age.as_secs()),
        })
    }

    /// What a request of this origin is granted.
    pub fn grant(&self, origin: Option<&HeaderValue>) -> Grant {
        if self.origins.iter().any(|known| matches!(known, Origins::Any)) {
            return Grant::Any;
        }
        let is_known = |origin: &&HeaderValue| {
            let text = origin.to_str().unwrap_or_default();
            self.origins.iter().any(|known| known.has(text))
        };
        origin.filter(is_known).map_or(Grant::None, |origin| Grant::One(origin.clone()))
    }
}

impl Origins {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let shown: String = text.chars().take(80).collect();
        let wrong = || {
            format!("{shown:?} is not an origin; write one like https://app.example.test, https://*.example.test or *")
        };
        let lower = text.to_ascii_lowercase();
        let (scheme, authority) = lower.split_once("://").ok_or_else(wrong)?;
        let is_scheme = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.');
        if !scheme.starts_with(|c: char| c.is_ascii_lowercase()) || !scheme.bytes().all(is_scheme) {
            return Err(wrong());
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse::<u16>().map_err(|_| wrong())?)),
            _ => (authority, None),
        };
        // A browser leaves the usual port out.
        let port = match (scheme, port) {
            ("http", Some(80)) | ("https", Some(443)) | (_, None) => String::new(),
            (_, Some(port)) => format!(":{port}"),
        };
        let written = |host: &Host| match host.as_str() {
            address if address.contains(':') => format!("[{address}]"),
            name => name.to_owned(),
        };
        match HostPattern::parse(host).map_err(|error| format!("{}: {error}", wrong()))? {
            HostPattern::Exact(host) => Ok(Self::One(format!("{scheme}://{}{port}", written(&host)).into())),
            HostPattern::Wildcard(host) => {
                Ok(Self::Below(format!("{scheme}://").into(), format!(".{}{port}", written(&host)).into()))
            }
            HostPattern::Any => Err(wrong()),
        }
    }

    fn has(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::One(known) => **known == *origin,
            Self::Below(before, after) => {
                let label = origin.strip_prefix(&**before).and_then(|rest| rest.strip_suffix(&**after));
                let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
                label.is_some_and(|label| !label.is_empty() && label.bytes().all(is_plain))
            }
        }
    }
}

/// Whether a text is the name of a method or a field (RFC 9110 §5.6.2).
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn cors(origins: &[&str], credentials: bool) -> Cors {
        let origins = origins.iter().map(|text| (*text).into()).collect();
        let max_age = Duration::from_secs(5);
        Cors { origins, methods: vec!["PUT".into()], headers: vec![], expose: vec![], credentials, max_age }
    }

    #[test]
    fn an_origin_is_granted_by_its_whole_name() {
        let plan =
            CorsPlan::of(&cors(&["https://app.example.test:443", "https://*.b.test:8443", "http://[::1]"], true));
        let plan = plan.unwrap();
        let granted = |origin: &'static str| plan.grant(Some(&HeaderValue::from_static(origin))) != Grant::None;
        for origin in ["https://app.example.test", "https://x.b.test:8443", "http://[::1]"] {
            assert!(granted(origin), "{origin}");
        }
        for origin in [
            "http://app.example.test",
            "https://app.example.test:8443",
            "https://app.example.test.evil.test",
            "https://evilapp.example.test",
            "https://b.test:8443",
            "https://x.y.b.test:8443",
            "https://x.b.test",
            "https://evil.test/.b.test:8443",
            "https://.b.test:8443",
            "null",
            "",
        ] {
            assert!(!granted(origin), "{origin}");
        }
        assert_eq!(plan.grant(None), Grant::None);
        assert_eq!(CorsPlan::of(&cors(&["*"], false)).unwrap().grant(None), Grant::Any);
    }

    #[test]
    fn rules_that_are_wrong_or_open_everything_are_refused() {
        assert!(CorsPlan::of(&cors(&["https://a.test", "*"], true)).unwrap_err().contains("name the origins"));
        for bad in ["", "a.test", "https://", "https://a.test/", "https://*", "https://a.*.test", "://a", "https://a:x"]
        {
            assert!(CorsPlan::of(&cors(&[bad], false)).is_err(), "{bad}");
        }
        let bad = Cors { headers: vec!["x y".into()], ..cors(&["*"], false) };
        assert!(CorsPlan::of(&bad).unwrap_err().contains("\"x y\""));
    }
}
