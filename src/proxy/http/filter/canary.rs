//! Some requests go to another pool: those that say so, and of the rest a part by chance.

use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;

use super::Filtering;
use crate::model::intent::filter::Canary;
use crate::model::snapshot::PoolPlan;

/// The pool for this request, which without a canary would go to `pool`.
pub(super) fn choose(filtering: &Filtering<'_>, parts: &Parts, pool: Arc<PoolPlan>) -> Arc<PoolPlan> {
    let Some(canary) = &filtering.plan.asked.canary else { return pool };
    let worker = &filtering.session.worker;
    if !takes(canary, &parts.headers, || worker.draw()) {
        return pool;
    }
    match worker.reader.read(|snapshot| snapshot.pools.get(&canary.pool).cloned()) {
        Some(canary) => {
            filtering.is_canary.set(true);
            canary
        }
        // It was told when the snapshot was made; what works is not to suffer for it.
        None => pool,
    }
}

/// Whether a request with these fields goes to the canary.
fn takes(canary: &Canary, headers: &HeaderMap, draw: impl FnOnce() -> u64) -> bool {
    if let Some((name, wanted)) = &canary.header
        && let Some(said) = headers.get(&**name)
    {
        match wanted {
            Some(wanted) if said.as_bytes() == wanted.as_bytes() => return true,
            // Another value decides nothing.
            Some(_) => {}
            None if said.as_bytes() == b"always" => return true,
            None if said.as_bytes() == b"never" => return false,
            None => {}
        }
    }
    if let Some(name) = &canary.cookie {
        match cookie(headers, name) {
            Some(b"always") => return true,
            Some(b"never") => return false,
            _ => {}
        }
    }
    is_drawn(canary.permille, draw)
}

/// Whether a request is among so many in a thousand.
pub(super) fn is_drawn(permille: u16, draw: impl FnOnce() -> u64) -> bool {
    match permille {
        0 => false,
        1000.. => true,
        some => draw() % 1000 < u64::from(some),
    }
}

/// The value of a cookie, the first of its name (RFC 6265 §4.2).
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let fields = headers.get_all(header::COOKIE).into_iter().map(HeaderValue::as_bytes);
    let pairs = fields.flat_map(|field| field.split(|b| *b == b';')).map(<[u8]>::trim_ascii);
    pairs.filter_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::intent::PoolName;

    fn asked(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn the_field_decides_before_the_cookie_and_the_cookie_before_chance() {
        let pool = PoolName::new("next");
        let header = Some(("x-canary".into(), None));
        let canary = Canary { pool, header, cookie: Some("canary".into()), permille: 500 };
        let heads = || 0;
        let tails = || 999;
        for (fields, drawn_low, drawn_high) in [
            (&[][..], true, false),
            (&[("x-canary", "always"), ("cookie", "canary=never")], true, true),
            (&[("x-canary", "never"), ("cookie", "canary=always")], false, false),
            (&[("x-canary", "perhaps"), ("cookie", "a=1; canary=always")], true, true),
            (&[("cookie", "canary=never; canary=always")], false, false),
            (&[("cookie", "xcanary=always; canaryx=always; canary")], true, false),
        ] {
            let headers = asked(fields);
            assert_eq!(takes(&canary, &headers, heads), drawn_low, "{fields:?}");
            assert_eq!(takes(&canary, &headers, tails), drawn_high, "{fields:?}");
        }
        let by_value = Canary { header: Some(("x-user".into(), Some("ann".into()))), permille: 0, ..canary };
        assert!(takes(&by_value, &asked(&[("x-user", "ann")]), heads));
        assert!(!takes(&by_value, &asked(&[("x-user", "always")]), heads));
    }

    #[test]
    fn so_many_in_a_thousand_are_drawn() {
        for permille in [0, 1, 250, 999, 1000] {
            let drawn = (0..1000).filter(|n| is_drawn(permille, || *n)).count();
            assert_eq!(drawn, usize::from(permille));
        }
    }
}
