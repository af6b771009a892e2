//! Pure. Values as ingress-nginx writes them. Every error says what would be right.

use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use crate::control::kube::translate::annotations::range;

/// `true` or `false`, as Go reads them.
pub(super) fn switch(value: &str) -> Result<bool, String> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("it is true or false".to_owned()),
    }
}

/// `on` or `off`, or the words of [`switch`].
pub(super) fn on_or_off(value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        other => switch(other).map_err(|_| "it is on or off".to_owned()),
    }
}

/// Addresses and ranges with commas between.
pub(super) fn ranges(value: &str) -> Result<Vec<IpNet>, String> {
    let parts = value.split(',').map(str::trim).filter(|part| !part.is_empty());
    let all: Vec<IpNet> = parts.map(range).collect::<Result<_, _>>()?;
    if all.is_empty() {
        Err("it is ranges like 10.0.0.0/8, 192.0.2.7, with commas between".to_owned())
    } else {
        Ok(all)
    }
}

/// A whole number within bounds.
pub(super) fn number<T: FromStr + PartialOrd + std::fmt::Display>(value: &str, least: T, most: T) -> Result<T, String> {
    let wrong = || format!("it is a number from {least} to {most}");
    value.parse().ok().filter(|number| *number >= least && *number <= most).ok_or_else(wrong)
}

/// Seconds, with or without their letter.
pub(super) fn seconds(value: &str) -> Result<Duration, String> {
    let digits = value.strip_suffix('s').unwrap_or(value);
    number(digits, 1, 86_400)
        .map(Duration::from_secs)
        .map_err(|_| "it is a number of seconds from 1 to 86400".to_owned())
}

/// Bytes, or with k, m or g. 0 is no limit.
pub(super) fn size(value: &str) -> Result<Option<u64>, String> {
    let wrong = || "it is a size like 8m, 512k, 1g or 0 for no limit".to_owned();
    let (digits, unit) = match value.as_bytes().last().map(u8::to_ascii_lowercase) {
        Some(b'k') => (&value[..value.len() - 1], 1 << 10),
        Some(b'm') => (&value[..value.len() - 1], 1 << 20),
        Some(b'g') => (&value[..value.len() - 1], 1 << 30),
        _ => (value, 1_u64),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(unit).map(|bytes| (bytes != 0).then_some(bytes)).ok_or_else(wrong)
}

/// A text with nginx's variables in place of which something else is put.
///
/// # Errors
/// The first variable of which `put` gives nothing.
pub(super) fn with_variables(value: &str, put: impl Fn(&str) -> Option<&'static str>) -> Result<String, String> {
    let mut text = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find('$') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let braced = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let (name, after) = braced.unwrap_or_else(|| {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            rest.split_at(end)
        });
        let shown: String = name.chars().take(40).collect();
        text.push_str(put(name).ok_or_else(|| format!("the variable ${shown} is not known here"))?);
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

/// What stands for a variable in the addresses that clients are sent to.
pub(super) fn of_request(name: &str) -> Option<&'static str> {
    match name {
        "scheme" | "pass_access_scheme" => Some("{scheme}"),
        "host" | "http_host" | "best_http_host" => Some("{host}"),
        "request_uri" | "escaped_request_uri" => Some("{uri}"),
        _ => None,
    }
}
