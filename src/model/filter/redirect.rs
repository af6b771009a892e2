//! Pure. Where a client is sent instead.
//!
//! Never to a host that the client chose: the host is the one that was written down, or the one by which the route was
//! found; a location that changes neither scheme, host nor port names none.

use std::fmt::Write;
use std::sync::Arc;

use super::path::PathPlan;
use crate::model::intent::PathMatch;
use crate::model::intent::filter::{Redirect, Scheme};

/// A redirect, ready for use.
#[derive(Debug)]
pub struct RedirectPlan {
    asked: Arc<Redirect>,
    path: Option<PathPlan>,
}

impl RedirectPlan {
    /// The plan of a redirect on a route for these paths.
    ///
    /// # Errors
    /// What is wrong with it and what would be right.
    pub fn of(asked: &Arc<Redirect>, route: &PathMatch) -> Result<Self, String> {
        let path = asked.path.as_ref().map(|edit| PathPlan::of(edit, route)).transpose()?;
        asked.to.as_deref().map_or(Ok(()), check)?;
        Ok(Self { asked: asked.clone(), path })
    }

    /// The status of the answer: 301, 302, 303, 307 or 308.
    pub fn code(&self) -> u16 {
        self.asked.code
    }

    /// The location for a request by this scheme for this host (without port) and path. `None` when it needs a host and
    /// the request names none.
    pub fn location(&self, scheme: Scheme, host: Option<&str>, path: &str, query: Option<&str>) -> Option<String> {
        let Redirect { scheme: to, host: to_host, port, path: _, to: address, code: _, pool: _ } = &*self.asked;
        if let Some(address) = address {
            return filled(address, scheme, host, path, query);
        }
        let mut location = String::new();
        if to.is_some() || to_host.is_some() || port.is_some() {
            let host = to_host.as_ref().map(|host| host.as_str()).or(host)?;
            let to = to.unwrap_or(scheme);
            let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
            let _ = write!(location, "{to}://{open}{host}{close}");
            if let Some(port) = port.filter(|port| *port != to.port()) {
                let _ = write!(location, ":{port}");
            }
        }
        match &self.path {
            Some(edit) => location.push_str(&edit.apply(path)),
            // With the host left out, two slashes would name one.
            None => {
                location.push('/');
                location.push_str(path.trim_start_matches(['/', '\\']));
            }
        }
        if let Some(query) = query {
            location.push('?');
            location.push_str(query);
        }
        Some(location)
    }
}

/// An address in which words in braces stand for what was asked.
fn filled(address: &str, scheme: Scheme, host: Option<&str>, path: &str, query: Option<&str>) -> Option<String> {
    let mut location = String::with_capacity(address.len() + path.len());
    let mut rest = address;
    while let Some(at) = rest.find('{') {
        location.push_str(&rest[..at]);
        rest = &rest[at..];
        let (word, after) = rest[1..].split_once('}')?;
        match word {
            "scheme" => location.push_str(&scheme.to_string()),
            "host" => match host? {
                host if host.contains(':') => location.extend(["[", host, "]"]),
                host => location.push_str(host),
            },
            // Behind a scheme alone two slashes would be followed by a host of the client's choice.
            "uri" => {
                location.push('/');
                location.push_str(path.trim_start_matches(['/', '\\']));
                location.extend(query.iter().flat_map(|query| ["?", query]));
            }
            _ => return None,
        }
        rest = after;
    }
    location.push_str(rest);
    Some(location)
}

/// Whether a text is an address that clients may be sent to, with the words that [`Redirect::to`] knows.
///
/// # Errors
/// What is wrong with it and what would be right.
pub fn check(text: &str) -> Result<(), String> {
    let shown: String = text.chars().take(80).collect();
    let wrong = || {
        format!(
            "{shown:?} is no address to send clients to; write one like https://new.example.test/, or /path, in which \
             {{scheme}}, {{host}} and {{uri}} may stand for those of the request"
        )
    };
    let is_plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`');
    let is_own = text.starts_with('/') && !text.starts_with("//") && !text.starts_with("/{");
    let host = ["https://", "http://", "{scheme}://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    // What stands for a path never begins an authority.
    let has_host =
        host.is_some_and(|host| !host.is_empty() && !host.starts_with(['/', '?', '#']) && !host.starts_with("{uri}"));
    let sample = filled(text, Scheme::Https, Some("a.test"), "/", None).filter(|filled| !filled.contains(['{', '}']));
    match text.len() <= 1024 && text.bytes().all(is_plain) && (is_own || has_host) && sample.is_some() {
        true => Ok(()),
        false => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host::Host;
    use crate::model::intent::filter::PathEdit;

    fn located(redirect: Redirect, path: &str) -> Option<String> {
        let plan = RedirectPlan::of(&Arc::new(redirect), &PathMatch::Prefix("/old".into())).unwrap();
        plan.location(Scheme::Http, Some("a.test"), path, Some("q=1"))
    }

    #[test]
    fn the_location_names_what_changes() {
        let host = |name: &str| Some(Host::parse(name).unwrap());
        let to = |path: &str| Some(PathEdit::Prefix(path.into()));
        let bare = Redirect::default;
        for (redirect, path, expected) in [
            (Redirect { scheme: Some(Scheme::Https), ..bare() }, "/old/x", "https://a.test/old/x?q=1"),
            (Redirect { host: host("b.test"), ..bare() }, "/old", "http://b.test/old?q=1"),
            (Redirect { host: host("::1"), port: Some(81), ..bare() }, "/old", "http://[::1]:81/old?q=1"),
            (Redirect { port: Some(8443), scheme: Some(Scheme::Https), ..bare() }, "/", "https://a.test:8443/?q=1"),
            (Redirect { port: Some(443), scheme: Some(Scheme::Https), ..bare() }, "/", "https://a.test/?q=1"),
            (Redirect { path: to("/new"), ..bare() }, "/old/x", "/new/x?q=1"),
            (Redirect { path: to("/"), ..bare() }, "/old//evil.test", "/evil.test?q=1"),
            (Redirect { path: to("/"), ..bare() }, "/old/\\evil.test", "/evil.test?q=1"),
        ] {
            assert_eq!(located(redirect.clone(), path).as_deref(), Some(expected), "{redirect:?}");
        }
        let plan = Redirect { scheme: Some(Scheme::Https), ..bare() };
        let plan = RedirectPlan::of(&Arc::new(plan), &PathMatch::any()).unwrap();
        assert_eq!(plan.location(Scheme::Http, None, "/", None), None);
    }

    #[test]
    fn a_whole_address_may_name_what_was_asked() {
        let to = |text: &str| located(Redirect { to: Some(text.into()), ..Redirect::default() }, "/old//x");
        assert_eq!(to("https://b.test/").as_deref(), Some("https://b.test/"), "the query is not carried over");
        assert_eq!(to("https://b.test{uri}").as_deref(), Some("https://b.test/old//x?q=1"));
        assert_eq!(to("{scheme}://www.{host}/a?b={uri}").as_deref(), Some("http://www.a.test/a?b=/old//x?q=1"));
        for bad in [
            "",
            "b.test",
            "//b.test",
            "/{uri}",
            "https://",
            "https:///x",
            "https://{uri}",
            "https://a{x}",
            "https://a{",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
        for bad in ["javascript:alert(1)", "https://a b", "https://a\r\nX: y", "https://$host/"] {
            assert!(check(bad).is_err() || bad.contains('$'), "{bad}");
        }
    }
}
