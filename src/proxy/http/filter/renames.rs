//! What backends say of places, in the words of clients: `Location`, and the domain and path of cookies.

use hyper::header::{self, HeaderMap, HeaderValue};

use crate::model::intent::filter::Renames;

/// Renames the places in the answer of a backend.
pub(super) fn edit(renames: &Renames, headers: &mut HeaderMap) {
    if renames.is_empty() {
        return;
    }
    if let Some((from, to)) = &renames.location
        && let Some(location) = headers.get(header::LOCATION).and_then(|value| value.to_str().ok())
        && let Some(rest) = location.strip_prefix(&**from)
        && let Ok(location) = HeaderValue::try_from(format!("{to}{rest}"))
    {
        headers.insert(header::LOCATION, location);
    }
    if (renames.cookie_domain.is_none() && renames.cookie_path.is_none()) || !headers.contains_key(header::SET_COOKIE) {
        return;
    }
    let cookies: Vec<HeaderValue> = headers.get_all(header::SET_COOKIE).iter().cloned().collect();
    headers.remove(header::SET_COOKIE);
    for cookie in cookies {
        let renamed = cookie.to_str().ok().and_then(|text| HeaderValue::try_from(renamed(renames, text)).ok());
        headers.append(header::SET_COOKIE, renamed.unwrap_or(cookie));
    }
}

/// A cookie with its domain and path renamed; all else of it stays byte by byte (RFC 6265 §5.2).
fn renamed(renames: &Renames, cookie: &str) -> String {
    let attribute = |part: &str| {
        let (name, value) = part.split_once('=')?;
        let value = value.trim();
        let put = match name.trim() {
            name if name.eq_ignore_ascii_case("domain") => {
                let (from, to) = renames.cookie_domain.as_ref()?;
                let bare = |text: &str| text.strip_prefix('.').unwrap_or(text).to_ascii_lowercase();
                (bare(value) == bare(from)).then(|| to.to_string())?
            }
            name if name.eq_ignore_ascii_case("path") => {
                let (from, to) = renames.cookie_path.as_ref()?;
                format!("{to}{}", value.strip_prefix(&**from)?)
            }
            _ => return None,
        };
        Some(format!("{name}={put}"))
    };
    let mut parts = cookie.split(';');
    // What comes first is the cookie itself, whatever its name.
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push(';');
        text.push_str(&attribute(part).unwrap_or_else(|| part.to_owned()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(from: &str, to: &str) -> Option<(std::sync::Arc<str>, std::sync::Arc<str>)> {
        Some((from.into(), to.into()))
    }

    #[test]
    fn places_are_renamed_and_nothing_else() {
        let renames = Renames {
            location: pair("http://backend.test/", "https://shop.test/"),
            cookie_domain: pair("backend.test", "shop.test"),
            cookie_path: pair("/one/", "/"),
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, HeaderValue::from_static("http://backend.test/a?b"));
        for cookie in [
            "domain=backend.test; Domain=.Backend.test; PATH=/one/x; Secure",
            "a=1; Domain=other.test; Path=/two",
            "path=/one/",
        ] {
            headers.append(header::SET_COOKIE, HeaderValue::from_static(cookie));
        }
        edit(&renames, &mut headers);
        assert_eq!(headers[header::LOCATION], "https://shop.test/a?b");
        let cookies: Vec<_> = headers.get_all(header::SET_COOKIE).iter().map(|c| c.to_str().unwrap()).collect();
        assert_eq!(
            cookies,
            [
                "domain=backend.test; Domain=shop.test; PATH=/x; Secure",
                "a=1; Domain=other.test; Path=/two",
                "path=/one/",
            ],
        );
        headers.insert(header::LOCATION, HeaderValue::from_static("/one/a"));
        edit(&renames, &mut headers);
        assert_eq!(headers[header::LOCATION], "/one/a");
    }
}
