//! Pure. Host names and host patterns, parsed once, so that nothing behind the doors validates again.

use std::fmt;
use std::sync::Arc;

/// A lower-case DNS name or an IP literal, without port and without a trailing dot.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Host(Arc<str>);

/// Why a text is not a host.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HostError {
    /// Nothing left once dots are taken off.
    #[error("a host name is empty; write it like shop.example.test")]
    Empty,
    /// Longer than DNS allows (253 characters, RFC 1035 §2.3.4).
    #[error("host name {0:?} is longer than the 253 characters DNS allows")]
    TooLong(String),
    /// A label is empty, longer than 63 characters or begins or ends with a hyphen (RFC 1123 §2.1).
    #[error("host name {0:?} has a label that is empty, over 63 characters, or begins or ends with '-'")]
    BadLabel(String),
    /// A character outside letters, digits, `-`, `_` and `.`.
    #[error(
        "host name {0:?} has the character {1:?}; letters, digits, '-' and '.' are allowed (write other scripts as xn--…)"
    )]
    BadCharacter(String, char),
    /// A `*` anywhere but as the whole first label.
    #[error("host pattern {0:?}: '*' can only stand alone as the first label, as in *.example.test")]
    BadWildcard(String),
}

impl Host {
    /// Parses and lower-cases a DNS name or an IP literal (`[::1]` with or without brackets).
    pub fn parse(text: &str) -> Result<Self, HostError> {
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = bare.parse::<std::net::IpAddr>() {
            return Ok(Self(ip.to_string().into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() {
            return Err(HostError::Empty);
        }
        if name.len() > 253 {
            return Err(HostError::TooLong(shorten(name)));
        }
        if name.contains('*') {
            return Err(HostError::BadWildcard(shorten(name)));
        }
        if let Some(bad) = name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
            return Err(HostError::BadCharacter(shorten(name), bad));
        }
        if name.split('.').any(|l| l.is_empty() || l.len() > 63 || l.starts_with('-') || l.ends_with('-')) {
            return Err(HostError::BadLabel(shorten(name)));
        }
        Ok(Self(name.to_ascii_lowercase().into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which hosts a route or a certificate is for.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum HostPattern {
    /// This name alone.
    Exact(Host),
    /// `*.name`: exactly one label before the name, as in Ingress and certificates (RFC 6125 §6.4.3).
    Wildcard(Host),
    /// Any host, and requests that name none.
    Any,
}

impl HostPattern {
    /// Parses `shop.example.test`, `*.example.test` or `*`.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        match text.strip_prefix("*.") {
            Some(rest) => Host::parse(rest).map(Self::Wildcard).map_err(|e| match e {
                HostError::BadWildcard(_) => HostError::BadWildcard(shorten(text)),
                other => other,
            }),
            None => Host::parse(text).map(Self::Exact),
        }
    }

    /// `*.example.test` of `shop.example.test`; `None` of what is no single host, or has no dot.
    pub fn parent(&self) -> Option<Self> {
        let Self::Exact(host) = self else { return None };
        let (_, rest) = host.as_str().split_once('.')?;
        Self::parse(&format!("*.{rest}")).ok()
    }

    /// Where the requests of a host go whose paths do not match, in turn.
    pub fn broader(&self) -> impl Iterator<Item = Self> + use<> {
        self.parent().into_iter().chain((*self != Self::Any).then_some(Self::Any))
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => write!(f, "{host}"),
            Self::Wildcard(host) => write!(f, "*.{host}"),
            Self::Any => f.write_str("*"),
        }
    }
}

impl serde::Serialize for Host {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_lower_cased_and_lose_the_root_dot() {
        assert_eq!(Host::parse("Shop.Example.TEST.").unwrap().as_str(), "shop.example.test");
        assert_eq!(Host::parse("[::1]").unwrap().as_str(), "::1");
    }

    #[test]
    fn patterns_say_what_is_wrong() {
        assert_eq!(HostPattern::parse("*.a.test").unwrap().to_string(), "*.a.test");
        assert!(matches!(HostPattern::parse("a.*.test"), Err(HostError::BadWildcard(_))));
        assert!(matches!(HostPattern::parse("a..test"), Err(HostError::BadLabel(_))));
        assert!(matches!(HostPattern::parse("a b"), Err(HostError::BadCharacter(_, ' '))));
        assert!(matches!(HostPattern::parse(""), Err(HostError::Empty)));
    }
}
