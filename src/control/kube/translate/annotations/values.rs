//! Pure. The values of annotations. Every error says what would be right.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use crate::control::{affinity, amount, time, usual};
use crate::model::intent::{Balance, ProbeKind, Rate, Speech, Sticky};

/// One of some words.
pub(super) fn one_of<T: Copy>(value: &str, known: &[(&str, T)]) -> Result<T, String> {
    known.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        match &words[..] {
            [more @ .., last] if !more.is_empty() => format!("it is {} or {last}", more.join(", ")),
            only => format!("it is {}", only.concat()),
        }
    })
}

/// A rule of balancing.
pub(super) fn balance(value: &str) -> Result<Balance, String> {
    let by_key = value.strip_prefix("hash:").and_then(affinity::hash);
    by_key.map_or_else(
        || match value {
            "round-robin" => Ok(Balance::RoundRobin),
            "least-connections" => Ok(Balance::LeastConnections),
            "random-two" => Ok(Balance::RandomTwo),
            "first" => Ok(Balance::First),
            _ => Err("it is round-robin, least-connections, random-two, first, hash:source, hash:uri, \
                hash:header:NAME or hash:cookie:NAME"
                .to_owned()),
        },
        Ok,
    )
}

/// By what clients keep their backend; the inner `None`: by nothing.
pub(super) fn sticky(value: &str) -> Result<Option<Sticky>, String> {
    let cookie = || value.strip_prefix("cookie:").and_then(affinity::cookie);
    match value {
        "none" => Ok(None),
        "source" => Ok(Some(usual::STICKY)),
        _ => cookie()
            .map(|cookie| Some(Sticky::Cookie(cookie)))
            .ok_or_else(|| "it is source, cookie:NAME or none".to_owned()),
    }
}

/// What is spoken to backends. Of certificates nothing can be said in a word, so any is taken.
pub(super) fn speech(value: &str) -> Result<Speech, String> {
    const HTTPS: &str = "https";
    let known = [("http", Speech::PLAIN.name()), (HTTPS, HTTPS), ("h2c", "h2c"), ("grpc", "h2c")];
    Ok(match one_of(value, &known)? {
        HTTPS => Speech::https_unverified(),
        "h2c" => Speech::H2C,
        _ => Speech::PLAIN,
    })
}

/// A whole number within bounds.
pub(super) fn number<T: FromStr + PartialOrd + std::fmt::Display>(value: &str, least: T, most: T) -> Result<T, String> {
    let wrong = || format!("it is a number from {least} to {most}");
    value.parse().ok().filter(|number| *number >= least && *number <= most).ok_or_else(wrong)
}

/// A length of time like `500ms`, `5s`, `1m30s` or `2h`, within bounds that are written the same way.
pub(super) fn duration(value: &str, least: &str, most: &str) -> Result<Duration, String> {
    let wrong = || format!("it is a time from {least} to {most}, like 500ms, 5s, 1m30s or 2h");
    let bound = |text| time::parse(text).ok_or_else(wrong);
    let (time, least, most) = (bound(value)?, bound(least)?, bound(most)?);
    if time < least || time > most { Err(wrong()) } else { Ok(time) }
}

/// An address.
pub(super) fn address(value: &str) -> Result<IpAddr, String> {
    value.parse().map_err(|_| "it is an address like 192.0.2.10".to_owned())
}

/// Addresses and ranges, at least one.
pub(super) fn ranges(value: &str) -> Result<Vec<IpNet>, String> {
    value.split(',').map(|part| range(part.trim())).collect()
}

/// A range, or a single address.
pub(in crate::control::kube::translate) fn range(text: &str) -> Result<IpNet, String> {
    let one = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse()
        .or_else(|_| one())
        .map_err(|_| "it is ranges like 10.0.0.0/8, 192.0.2.7, with commas between".to_owned())
}

fn port(text: &str) -> Option<u16> {
    text.trim().parse().ok().filter(|port| *port != 0)
}

/// `PORT[:PORTNAME]`, several with commas between.
pub(super) fn expose(value: &str) -> Result<Vec<(u16, Option<String>)>, String> {
    let one = |part: &str| match part.split_once(':') {
        None => Some((port(part)?, None)),
        Some((number, name)) => Some((port(number)?, Some(name.trim().to_owned()).filter(|name| !name.is_empty())?))
            .map(|(n, s)| (n, Some(s))),
    };
    let wrong =
        || "it is PORT or PORT:PORTNAME, like 8080:http, with the name of one of the Service's ports".to_owned();
    value.split(',').map(one).collect::<Option<_>>().ok_or_else(wrong)
}

/// `PORTNAME=PORT`, several with commas between.
pub(super) fn listen(value: &str) -> Result<Vec<(String, u16)>, String> {
    let one = |part: &str| {
        let (name, number) = part.split_once('=')?;
        Some((Some(name.trim().to_owned()).filter(|name| !name.is_empty())?, port(number)?))
    };
    let wrong = || "it is PORTNAME=PORT, like https=8443, with commas between several".to_owned();
    value.split(',').map(one).collect::<Option<_>>().ok_or_else(wrong)
}

/// `100/s per source`.
pub(super) fn rate(value: &str) -> Result<Rate, String> {
    let wrong =
        || "it is so many in a second, a minute or an hour, like 100/s per source or 5000/h per source".to_owned();
    // Said in full, for a limit that all sources share would be another one.
    value.strip_suffix(" per source").and_then(|text| amount::rate(text.trim())).ok_or_else(wrong)
}

/// `tcp`, `none`, `grpc`, `grpc:SERVICE`, `http:/path` or `https:/path`.
pub(super) fn probe(value: &str) -> Result<Option<ProbeKind>, String> {
    let (kind, rest) = value.split_once(':').map_or((value, None), |(kind, rest)| (kind, Some(rest)));
    let is_plain = |rest: &str| !rest.is_empty() && rest.len() <= 255 && rest.bytes().all(|b| b.is_ascii_graphic());
    let kind = match (kind, rest) {
        ("none", None) => return Ok(None),
        ("tcp", None) => ProbeKind::Tcp,
        ("grpc", None) => ProbeKind::Grpc { service: "".into(), port: None },
        ("grpc", Some(service)) if is_plain(service) => ProbeKind::Grpc { service: service.into(), port: None },
        ("http" | "https", Some(path)) if path.starts_with('/') && is_plain(path) => {
            ProbeKind::Http { path: path.into(), host: None, port: None, tls: kind == "https" }
        }
        _ => return Err("it is tcp, none, grpc, grpc:SERVICE, http:/path or https:/path".to_owned()),
    };
    Ok(Some(kind))
}

/// How many letters must change to make `a` of `b`.
pub(super) fn distance(a: &str, b: &str) -> usize {
    // A name of a hundred letters is near to none of ours.
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
