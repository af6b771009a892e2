//! Pure. What a hash goes by and how cookies are called, as people write it in the file and in annotations alike.

use std::sync::Arc;

use crate::model::intent::{Balance, SameSite, StickyCookie};

/// The longest name of a field or a cookie.
const LONGEST: usize = 128;

/// `source`, `uri`, `header:NAME` or `cookie:NAME`.
pub(super) fn hash(text: &str) -> Option<Balance> {
    match text.split_once(':') {
        None if text == "source" => Some(Balance::HashSource),
        None if text == "uri" => Some(Balance::HashUri),
        Some(("header", name)) => name_of(name).map(|name| Balance::HashHeader(name.to_ascii_lowercase().into())),
        Some(("cookie", name)) => name_of(name).map(|name| Balance::HashCookie(name.into())),
        _ => None,
    }
}

/// The cookie of this name, with everything as it usually is.
pub(super) fn cookie(name: &str) -> Option<StickyCookie> {
    let name: Arc<str> = name_of(name)?.into();
    Some(StickyCookie { name, ttl: None, secure: None, same_site: SameSite::default(), key: None })
}

/// A token (RFC 9110 §5.6.2), which the names of fields and of cookies are.
fn name_of(text: &str) -> Option<&str> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    (!text.is_empty() && text.len() <= LONGEST && text.bytes().all(is_token)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_goes_by_what_is_named() {
        assert_eq!(hash("source"), Some(Balance::HashSource));
        assert_eq!(hash("uri"), Some(Balance::HashUri));
        assert_eq!(hash("header:X-User"), Some(Balance::HashHeader("x-user".into())), "names of fields have no case");
        assert_eq!(hash("cookie:Sid"), Some(Balance::HashCookie("Sid".into())), "those of cookies have");
        for wrong in ["", "header", "header:", "header:x y", "cookie:a=b", "cookie:a;b", "uri:", "path", "source:x"] {
            assert_eq!(hash(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_cookie_has_a_name_that_no_field_is_broken_by() {
        assert_eq!(&*cookie("__Host-srv").unwrap().name, "__Host-srv");
        for wrong in ["", "a b", "a=b", "a;b", "a\r\nb", "\u{e9}", &"x".repeat(129)] {
            assert_eq!(cookie(wrong), None, "{wrong:?}");
        }
    }
}
