//! What a client's bytes say to a strict reader of HTTP/1.1, up to the first thing that two servers could read in two
//! ways: nothing behind that may reach a backend.
//!
//! It takes what RFC 9112 has every recipient take: empty lines before a request, spaces around values, any case, chunk
//! extensions, absolute targets. All else ends it.

use std::borrow::Cow;

use sluice::model::path::{PathRules, normal};

use crate::backend::Record;
use crate::plain::is_token;

/// A request, as far as it came.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    pub method: String,
    /// As it came.
    pub target: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// Whether its end came.
    pub is_whole: bool,
}

impl Reading {
    /// What speaks against this being what a backend took.
    ///
    /// # Errors
    /// What differs.
    pub fn differs(&self, record: &Record) -> Result<(), String> {
        let taken = &record.request;
        if !self.is_whole {
            return Err("its end never came".into());
        }
        if (&taken.method, &taken.body) != (&self.method, &self.body) {
            return Err("another method or body".into());
        }
        let (authority, target) = self.split();
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&*target, None),
        };
        // A line holds a character for each byte.
        let path = String::from_utf8(path.chars().map(|c| c as u8).collect()).map_err(|error| format!("{error}"))?;
        let path = normal(&path, &PathRules::default()).map_err(|fault| format!("{fault:?}"))?.path;
        let expected = query.map_or_else(|| path.clone(), |query| format!("{path}?{query}").into());
        if expected != taken.target {
            return Err(format!("another target: {expected:?}"));
        }
        let host = self.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("host")).map(|(_, value)| &**value);
        let told = taken.values("host");
        if host.or(authority).is_some_and(|host| !told[0].eq_ignore_ascii_case(host)) {
            return Err("another host".into());
        }
        for (name, value) in &taken.fields {
            let ours = name.starts_with("x-forwarded-")
                || ["connection", "host", "te", "transfer-encoding", "x-real-ip", "x-request-id", "cookie"]
                    .contains(&&**name);
            let said = |(other, theirs): &(String, String)| other.eq_ignore_ascii_case(name) && theirs == value;
            if !ours && !self.fields.iter().any(said) {
                return Err(format!("a field that nobody sent: {name}: {value:?}"));
            }
        }
        for (name, value) in &taken.trailers {
            let said = |(other, theirs): &(String, String)| other.eq_ignore_ascii_case(name) && theirs == value;
            if !self.trailers.iter().any(said) {
                return Err(format!("a trailer that nobody sent: {name}: {value:?}"));
            }
        }
        Ok(())
    }

    /// The authority and the rest of its target. A fragment is no part of it.
    fn split(&self) -> (Option<&str>, Cow<'_, str>) {
        let target = self.target.split('#').next().unwrap_or_default();
        match target.split_once("://") {
            Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
                let end = rest.find(['/', '?']).unwrap_or(rest.len());
                let (authority, rest) = rest.split_at(end);
                (Some(authority), if rest.starts_with('/') { rest.into() } else { format!("/{rest}").into() })
            }
            _ => (None, target.into()),
        }
    }
}

/// All requests that `bytes` say without a doubt, the last one perhaps not whole.
#[must_use]
pub fn readings(bytes: &[u8]) -> Vec<Reading> {
    let mut reader = Reader { bytes, at: 0 };
    let mut all = Vec::new();
    while let Some(reading) = reader.request() {
        let goes_on = reading.is_whole;
        all.push(reading);
        if !goes_on {
            break;
        }
    }
    all
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Reader<'_> {
    /// A line that ends in CR LF and holds neither otherwise.
    fn line(&mut self) -> Option<String> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let line = rest[..end].strip_suffix(b"\r")?;
        self.at += end + 1;
        (!line.contains(&b'\r') && !line.contains(&0)).then(|| line.iter().map(|byte| char::from(*byte)).collect())
    }

    fn request(&mut self) -> Option<Reading> {
        let mut first = self.line()?;
        while first.is_empty() {
            first = self.line()?;
        }
        let [method, target, version @ ("HTTP/1.1" | "HTTP/1.0")] = first.split(' ').collect::<Vec<_>>()[..] else {
            return None;
        };
        if !is_token(method) || target.is_empty() {
            return None;
        }
        let fields = self.fields()?;
        let values = |name: &str| -> Vec<&str> {
            let named = fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
            named.map(|(_, value)| &**value).collect()
        };
        let (lengths, codings, hosts) = (values("content-length"), values("transfer-encoding"), values("host"));
        if hosts.len() > 1 || (hosts.is_empty() && version == "HTTP/1.1") {
            return None;
        }
        let length = match (&lengths[..], &codings[..]) {
            ([], []) => Some(0),
            ([length], []) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
                Some(length.parse::<usize>().ok()?)
            }
            ([], [coding]) if coding.eq_ignore_ascii_case("chunked") && version == "HTTP/1.1" => None,
            _ => return None,
        };
        let (method, target) = (method.to_owned(), target.to_owned());
        let mut reading = Reading { method, target, fields, ..Reading::default() };
        reading.is_whole = match length {
            Some(length) => self.take(length, &mut reading.body),
            None => self.chunks(&mut reading).is_some(),
        };
        Some(reading)
    }

    /// Fields and the empty line after them.
    fn fields(&mut self) -> Option<Vec<(String, String)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some(fields);
            }
            let (name, value) = line.split_once(':')?;
            let value = value.trim_matches([' ', '\t']);
            if !is_token(name) || value.chars().any(|c| c != '\t' && c.is_ascii_control()) {
                return None;
            }
            fields.push((name.to_owned(), value.to_owned()));
        }
    }

    fn take(&mut self, length: usize, into: &mut Vec<u8>) -> bool {
        let Some(bytes) = self.bytes[self.at..].get(..length) else { return false };
        into.extend_from_slice(bytes);
        self.at += length;
        true
    }

    fn chunks(&mut self, reading: &mut Reading) -> Option<()> {
        loop {
            let line = self.line()?;
            let size = line.split(';').next()?.trim_end_matches([' ', '\t']);
            if size.is_empty() || !size.bytes().all(|b| b.is_ascii_hexdigit()) {
                return None;
            }
            let size = usize::from_str_radix(size, 16).ok()?;
            if size == 0 {
                reading.trailers = self.fields()?;
                return Some(());
            }
            self.take(size, &mut reading.body).then_some(())?;
            (self.line()?.is_empty()).then_some(())?;
        }
    }
}
