//! Pure. Annotations about what clients get: which origins may use it, and what backends say of places.

use std::sync::Arc;
use std::time::Duration;

use crate::model::filter::CorsPlan;
use crate::model::intent::filter::Cors;

use super::table::Verdict;
use super::{Asks, Said, values};

/// What ingress-nginx grants where nothing is said.
const METHODS: &str = "GET, PUT, POST, DELETE, PATCH, OPTIONS";
const HEADERS: &str = "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,\
    Authorization";
const MAX_AGE: u32 = 1_728_000;

/// Reads all annotations of this room into the wishes in `asks`.
pub(super) fn read(said: &mut Said<'_>, asks: &mut Asks) {
    cors(said, asks);
    let renames = &mut asks.wishes.base.renames;
    renames.cookie_domain = said.value("proxy-cookie-domain", pair).flatten();
    renames.cookie_path = said.value("proxy-cookie-path", pair).flatten();
    let from = said.value("proxy-redirect-from", one).flatten();
    let to = said.value("proxy-redirect-to", one).flatten();
    match (from, to) {
        (Some(from), Some(to)) => renames.location = Some((from, to)),
        (None, None) => {}
        (Some(_), None) => {
            said.say("proxy-redirect-from", Verdict::Unsafe, "proxy-redirect-to says what is put there; add it")
        }
        (None, Some(_)) => said.say("proxy-redirect-to", Verdict::Safe, "there is nothing that it is put in place of"),
    }
}

fn cors(said: &mut Said<'_>, asks: &mut Asks) {
    let is_on = said.is_true("enable-cors");
    let list = |text: &str| -> Result<Vec<Arc<str>>, String> {
        Ok(text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(Arc::from).collect())
    };
    let lower = |text: &str| list(&text.to_ascii_lowercase());
    let credentials = said.value("cors-allow-credentials", values::switch).unwrap_or(true);
    let max_age = said.value("cors-max-age", |text| values::number(text, 0, u32::MAX)).unwrap_or(MAX_AGE);
    let mut cors = Cors {
        origins: said.value("cors-allow-origin", list).unwrap_or_else(|| vec!["*".into()]),
        methods: said.value("cors-allow-methods", list).unwrap_or_else(|| list(METHODS).unwrap_or_default()),
        headers: said.value("cors-allow-headers", lower).unwrap_or_else(|| lower(HEADERS).unwrap_or_default()),
        expose: said.value("cors-expose-headers", list).unwrap_or_default(),
        credentials,
        max_age: Duration::from_secs(max_age.into()),
    };
    if cors.origins.iter().any(|origin| &**origin == "*") {
        // Others beside it say no more.
        cors.origins = vec!["*".into()];
        cors.credentials = false;
    }
    if !is_on {
        return;
    }
    match CorsPlan::of(&cors) {
        Ok(_) => asks.wishes.base.cors = Some(cors),
        // Without rules the backend's own words go on, which are what it wrote.
        Err(wrong) => said.say("enable-cors", Verdict::Unsafe, format!("{wrong}; no origin is granted anything here")),
    }
}

/// What is there, and what is put there.
type Pair = (Arc<str>, Arc<str>);

/// `off`, or such a pair.
fn pair(text: &str) -> Result<Option<Pair>, String> {
    let mut words = text.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some("off"), None, None) => Ok(None),
        (Some(from), Some(to), None) if is_plain(from) && is_plain(to) => Ok(Some((from.into(), to.into()))),
        _ => Err("it is off, or one pair like backend.test shop.test, without variables or expressions".to_owned()),
    }
}

/// `off` and `default`, or the beginning of an address.
fn one(text: &str) -> Result<Option<Arc<str>>, String> {
    match text {
        "off" | "default" => Ok(None),
        text if is_plain(text) => Ok(Some(text.into())),
        _ => Err("it is off, default, or the beginning of an address, without variables or expressions".to_owned()),
    }
}

fn is_plain(text: &str) -> bool {
    !text.starts_with('~')
        && text.len() <= 1024
        && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'$' | b';' | b'"'))
}
