//! Pure. What browsers may be told about https, in the file and in annotations alike.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::time;
use crate::model::intent::filter::Hsts;

/// How long where nobody says: a year.
pub(super) const USUAL: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long it may be; none takes back what was said before.
pub(super) const BOUNDS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3650 * 24 * 3600);

/// Whether browsers would ship with it where that is asked for (hstspreload.org).
///
/// # Errors
/// What would be right.
pub(super) fn check(hsts: &Hsts) -> Result<(), &'static str> {
    match hsts {
        Hsts { preload: true, subdomains, max_age } if !subdomains || *max_age < USUAL => {
            Err("asks for preload, which takes subdomains and at least 365d; write both or leave it out")
        }
        _ => Ok(()),
    }
}

/// `365d`, or with `; includeSubDomains` and `; preload` after it; or the field as browsers get it.
///
/// # Errors
/// What would be right.
pub(super) fn parse(text: &str) -> Result<Hsts, String> {
    let wrong = || "it is a time like 365d, up to 3650d, with or without ; includeSubDomains and ; preload".to_owned();
    let mut parts = text.split(';').map(str::trim);
    let age = parts.next().unwrap_or_default();
    let age = match age.strip_prefix("max-age=") {
        Some(seconds) => seconds.parse().ok().map(Duration::from_secs),
        None => time::parse(age),
    };
    let max_age = age.filter(|age| BOUNDS.contains(age)).ok_or_else(wrong)?;
    let mut hsts = Hsts { max_age, subdomains: false, preload: false };
    for part in parts {
        match part.to_ascii_lowercase().as_str() {
            "includesubdomains" => hsts.subdomains = true,
            "preload" => hsts.preload = true,
            _ => return Err(wrong()),
        }
    }
    check(&hsts)?;
    Ok(hsts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_the_field_itself_are_taken() {
        for (text, value) in [
            ("365d", "max-age=31536000"),
            ("0s", "max-age=0"),
            ("max-age=600; includeSubDomains", "max-age=600; includeSubDomains"),
            ("365d;preload;includeSubDomains", "max-age=31536000; includeSubDomains; preload"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), value, "{text}");
        }
        for text in
            ["", "true", "1y", "4000d", "365d; preload", "1h; includeSubDomains; preload", "365d; x", "max-age=-1"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
