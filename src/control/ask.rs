//! Pure. Values of filters that ask or send elsewhere, the same in the file and in annotations; and what is usual. Every
//! error says what would be right.

use std::sync::Arc;
use std::time::Duration;

use crate::model::intent::filter::Compress;

/// What a prompt for a password says where nobody says what.
pub(super) const REALM: &str = "restricted";
/// How long a server may take that is asked whether a request may pass.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// Bodies up to this are copied for a mirror, in bytes.
pub(super) const MIRRORED: u64 = 256 * 1024;
/// What a sign-in page looks like.
pub(super) const SIGN_IN: &str = "the address of a page like https://auth.example.test/?rd={url}";

/// How answers are compressed where nobody says how.
pub(super) fn compress() -> Compress {
    Compress { codings: Compress::usual_codings(), types: Compress::usual_types(), min_size: Compress::USUAL_MIN_SIZE }
}

/// The name of what is guarded.
pub(super) fn realm(text: &str) -> Result<Arc<str>, String> {
    let is_plain = |b: u8| (b == b' ' || b.is_ascii_graphic()) && !matches!(b, b'"' | b'\\');
    match !text.is_empty() && text.len() <= 128 && text.bytes().all(is_plain) {
        true => Ok(text.into()),
        false => Err("is not fit for a prompt; write up to 128 plain letters without quotes".to_owned()),
    }
}

/// A path and query.
pub(super) fn path(text: &str) -> Result<Arc<str>, String> {
    let is_plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'#' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`');
    match text.starts_with('/') && text.len() <= 1024 && text.bytes().all(is_plain) {
        true => Ok(text.into()),
        false => Err(format!("{} is not a path; write one like /api/verify", shown(text))),
    }
}

/// A host, with a port perhaps.
pub(super) fn host(text: &str) -> Result<Arc<str>, String> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b':' | b'[' | b']' | b'_');
    match !text.is_empty() && text.len() <= 255 && text.bytes().all(is_plain) {
        true => Ok(text.into()),
        false => Err(format!("{} is not a host; write one like auth.example.test", shown(text))),
    }
}

/// The address of a sign-in page.
pub(super) fn sign_in(text: &str) -> Result<Arc<str>, String> {
    let is_plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'\\' | b'$');
    let is_address = text.starts_with("https://") || text.starts_with("http://") || is_own(text);
    match is_address && text.len() <= 1024 && text.bytes().all(is_plain) {
        true => Ok(text.into()),
        false => Err(format!("{} is no sign-in page; write {SIGN_IN}", shown(text))),
    }
}

/// A path of the same host; `//` would lead to another.
fn is_own(text: &str) -> bool {
    text.starts_with('/') && !text.starts_with("//")
}

/// The name of a cookie (RFC 6265: a token).
pub(super) fn cookie(text: &str) -> Result<Arc<str>, String> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    match !text.is_empty() && text.len() <= 128 && text.bytes().all(is_token) {
        true => Ok(text.into()),
        false => Err(format!("{} is not the name of a cookie; write one like canary", shown(text))),
    }
}

/// `10%` or `0.5%`, in thousandths.
pub(super) fn share(text: &str) -> Result<u16, String> {
    let thousandths = || {
        let number = text.strip_suffix('%')?.trim();
        let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let tenth = Some(tenth).filter(|tenth| digits(tenth) && tenth.len() == 1)?.parse::<u16>().ok()?;
        let whole = Some(whole).filter(|whole| digits(whole) && whole.len() <= 3)?.parse::<u16>().ok()?;
        Some(whole * 10 + tenth).filter(|permille| *permille <= 1000)
    };
    thousandths().ok_or_else(|| format!("{} is not a share; write one from 0% to 100%, like 10% or 0.5%", shown(text)))
}

fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(80).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percents_with_at_most_one_more_digit() {
        for (text, permille) in [("10%", 10 * 10), ("0.5%", 5), ("100%", 1000), ("0%", 0), ("99.9 %", 999)] {
            assert_eq!(share(text), Ok(permille), "{text}");
        }
        for text in ["", "10", "%", "100.1%", "-1%", "+1%", "1.25%", "1.%", ".5%", "9999%"] {
            assert!(share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_could_end_a_field_or_lead_elsewhere_is_refused() {
        assert!(
            path("/api/verify?x=1").is_ok() && path("/a b").is_err() && path("x").is_err() && path("/\r\n").is_err()
        );
        assert!(sign_in("https://a.test/?rd={url}").is_ok() && sign_in("/login?to={url}").is_ok());
        for bad in
            ["//evil.test", "javascript:alert(1)", "https://a.test/?rd=$scheme://$host", "https://a.test/\r\nX: y"]
        {
            assert!(sign_in(bad).is_err(), "{bad}");
        }
        assert!(realm("the cellar").is_ok() && realm("a\"b").is_err() && realm("").is_err());
        assert!(host("auth.example.test:8080").is_ok() && host("a/b").is_err());
        assert!(cookie("canary").is_ok() && cookie("a=b").is_err() && cookie("a;b").is_err());
    }
}
