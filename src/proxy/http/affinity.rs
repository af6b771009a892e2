//! What a request says of the backend it wants, and what its answer says of the one it got: the key of a hash, and the
//! cookie of a sticky pool. Pools that are neither cost two comparisons.
//!
//! The cookie is between the client and us: it is taken out of what the backend gets (HAProxy calls that indirect), and
//! it is set when the client has none that leads home, so answers to who comes again are as the backend made them.
//! An answer that sets it must not be kept by shared caches, which would hand one client's backend to all.
//!
//! Several pools may serve one host with cookies of one name. A value therefore holds the tokens of several pools, and
//! each pool adds its own to what is there.

use std::net::IpAddr;

use hyper::Request;
use hyper::header::{self, HeaderMap, HeaderValue};

use super::forwarded;
use crate::model::balance::{Client, Kept, Tried, digest, token};
use crate::model::intent::{Balance, SameSite, Sticky, StickyCookie};
use crate::model::snapshot::PoolPlan;

/// The most tokens in one cookie.
const MOST: usize = 4;

/// What the request says.
pub(super) struct Wish {
    /// What a pick goes by.
    pub(super) client: Client,
    /// The tokens of other pools in the client's cookie, which stay there.
    others: Vec<Box<str>>,
    /// Whether the client came over https, where that matters.
    is_https: bool,
}

/// Reads what a request of the client at `source` says of the backend it wants, and takes out what is not for the
/// backend. `over_tls`: whether the request came by a TLS connection, which holds where its fields do not say.
pub(super) fn read<B>(pool: &PoolPlan, source: IpAddr, over_tls: bool, request: &mut Request<B>) -> Wish {
    let mut client = Client::from(source);
    client.hash = match &pool.intent.balance {
        Balance::HashUri => Some(digest::of_bytes(request.uri().path().as_bytes())),
        Balance::HashHeader(name) => request.headers().get(&**name).map(|value| digest::of_bytes(value.as_bytes())),
        Balance::HashCookie(name) => cookies(request.headers(), name).next().map(digest::of_bytes),
        Balance::RoundRobin | Balance::LeastConnections | Balance::RandomTwo | Balance::HashSource | Balance::First => {
            None
        }
    };
    let (mut others, mut is_https) = (Vec::new(), false);
    if let Some(Sticky::Cookie(cookie)) = &pool.intent.sticky {
        client.kept = kept(pool, request.headers(), &cookie.name, &mut others);
        take_out(request.headers_mut(), &cookie.name);
        // As the backend is told, or will be.
        is_https = forwarded::is_https(request.headers()).unwrap_or(over_tls);
    }
    Wish { client, others, is_https }
}

impl Wish {
    /// Tells the client in the fields of its answer which backend it has now, if its cookie does not say so.
    pub(super) fn tell(&self, pool: &PoolPlan, tried: &Tried, served: usize, answer: &mut HeaderMap) {
        let Some(Sticky::Cookie(cookie)) = &pool.intent.sticky else { return };
        let Some(token) = pool.renamed(self.client.kept, tried, served) else { return };
        // Names and tokens are checked where they are read, so this is a value.
        if let Ok(value) = HeaderValue::from_str(&written(cookie, token, &self.others, self.is_https)) {
            answer.append(header::SET_COOKIE, value);
            if !is_private(answer) {
                answer.append(header::CACHE_CONTROL, HeaderValue::from_static("private"));
            }
        }
    }
}

/// Whether shared caches know already that they may not keep the answer.
fn is_private(answer: &HeaderMap) -> bool {
    let lines = answer.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut words = lines.flat_map(|line| line.split(',')).map(str::trim);
    words.any(|word| word.eq_ignore_ascii_case("private") || word.eq_ignore_ascii_case("no-store"))
}

/// The field's value (RFC 6265 §4.1).
fn written(cookie: &StickyCookie, token: &str, others: &[Box<str>], https: bool) -> String {
    let mut text = format!("{}={token}", cookie.name);
    for other in others.iter().take(MOST - 1) {
        text.push('.');
        text.push_str(other);
    }
    text.push_str("; Path=/; HttpOnly");
    if let Some(ttl) = cookie.ttl {
        text.push_str(&format!("; Max-Age={}", ttl.as_secs()));
    }
    if cookie.secure.unwrap_or(https) {
        text.push_str("; Secure");
    }
    text.push_str(match cookie.same_site {
        SameSite::Lax => "; SameSite=Lax",
        SameSite::Strict => "; SameSite=Strict",
        SameSite::None => "; SameSite=None",
    });
    text
}

/// The backend that the client's cookie names; what else it names goes to `others`.
fn kept(pool: &PoolPlan, headers: &HeaderMap, name: &str, others: &mut Vec<Box<str>>) -> Option<Kept> {
    let mut home = None;
    let values = cookies(headers, name).filter_map(|value| std::str::from_utf8(value).ok());
    // What a client makes up may be long.
    for text in values.flat_map(|value| value.split('.')).filter(|text| token::is_token(text)).take(2 * MOST) {
        match pool.named(text) {
            Some(kept) => home = home.or(Some(kept)),
            None if others.iter().all(|known| **known != *text) => others.push(text.into()),
            None => {}
        }
    }
    home
}

/// The values of the cookies of this name, over all lines.
fn cookies<'h>(headers: &'h HeaderMap, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    let lines = headers.get_all(header::COOKIE).into_iter().map(HeaderValue::as_bytes);
    lines.flat_map(|line| line.split(|b| *b == b';')).filter_map(|pair| value_of(pair, name))
}

fn value_of<'h>(pair: &'h [u8], name: &str) -> Option<&'h [u8]> {
    let at = pair.iter().position(|b| *b == b'=')?;
    (pair[..at].trim_ascii() == name.as_bytes()).then(|| pair[at + 1..].trim_ascii())
}

/// Takes the cookies of this name out of the fields; a line that held nothing else goes whole.
fn take_out(headers: &mut HeaderMap, name: &str) {
    if cookies(headers, name).next().is_none() {
        return;
    }
    let lines: Vec<HeaderValue> = headers.get_all(header::COOKIE).iter().cloned().collect();
    headers.remove(header::COOKIE);
    for line in lines {
        let pairs = line.as_bytes().split(|b| *b == b';').filter(|pair| value_of(pair, name).is_none());
        let left: Vec<&[u8]> = pairs.map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty()).collect();
        // Parts of a value, joined by what may be in one, are a value.
        if let Ok(left) = HeaderValue::from_bytes(&left.join(&b"; "[..]))
            && !left.is_empty()
        {
            headers.append(header::COOKIE, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::model::compile::compile;
    use crate::model::intent::{Backend, Intent, Pool, PoolName};
    use crate::model::live::Live;
    use crate::model::problem::Origin;
    use crate::model::snapshot::Snapshot;

    fn cookie() -> StickyCookie {
        StickyCookie { name: "SRV".into(), ttl: None, secure: None, same_site: SameSite::Lax, key: None }
    }

    fn plan(name: &str) -> Arc<PoolPlan> {
        let mut pool = Pool::new(Origin::new("test", "pool"));
        pool.sticky = Some(Sticky::Cookie(cookie()));
        pool.backends = (1..4).map(|host| Backend::new(([10, 0, 0, host], 80).into())).collect();
        let mut intent = Intent::default();
        intent.pools.insert(PoolName::new(name), Arc::new(pool));
        let (snapshot, _) = compile(&intent, &Snapshot::default(), &Live::new(1));
        snapshot.pools[&PoolName::new(name)].clone()
    }

    fn sent(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    fn left(lines: &[&str]) -> Vec<String> {
        let mut headers = sent(lines);
        take_out(&mut headers, "SRV");
        headers.get_all(header::COOKIE).iter().map(|line| line.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn our_cookie_is_taken_out_and_nothing_else() {
        assert_eq!(left(&["SRV=1"]), [""; 0]);
        assert_eq!(left(&["a=1; SRV=1; b=2"]), ["a=1; b=2"]);
        assert_eq!(left(&["SRV=1; SRV=2;a=SRV=1", "SRV=3", "b=2"]), ["a=SRV=1", "b=2"]);
        assert_eq!(left(&["XSRV=1; SRVX=2; srv=3; SRV"]), ["XSRV=1; SRVX=2; srv=3; SRV"], "not one byte");
    }

    proptest::proptest! {
        /// Whatever a client makes up, every other pair stays as it was and in its order, and ours is gone.
        #[test]
        fn other_cookies_stay_as_they_are(pairs in proptest::collection::vec(("(SRV|S|srv|a)", "[!-:<-~]{0,6}"), 0..8)) {
            let line = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
            let others: Vec<_> = pairs.iter().filter(|(name, _)| name != "SRV").collect();
            let others = others.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
            let left = left(&[&line]);
            proptest::prop_assert_eq!(left.concat(), others);
            proptest::prop_assert!(left.len() <= 1);
        }

        /// No bytes are too odd.
        #[test]
        fn no_bytes_are_too_odd(line in proptest::collection::vec(32u8..=255, 0..64)) {
            if let Ok(value) = HeaderValue::from_bytes(&[b"SRV=", &line[..]].concat()) {
                let mut headers: HeaderMap = [(header::COOKIE, value)].into_iter().collect();
                let mut others = Vec::new();
                kept(&plan("one"), &headers, "SRV", &mut others);
                take_out(&mut headers, "SRV");
                proptest::prop_assert!(cookies(&headers, "SRV").next().is_none());
            }
        }
    }

    #[test]
    fn a_value_names_a_backend_of_each_pool() {
        let (one, other) = (plan("one"), plan("other"));
        let token = |plan: &PoolPlan, n| plan.tokens.as_ref().unwrap().of(n).unwrap().to_owned();
        let value = format!("a=1; SRV={}.{}", token(&one, 2), token(&other, 1));
        for (plan, index) in [(&one, 2), (&other, 1)] {
            let mut others = Vec::new();
            assert_eq!(kept(plan, &sent(&[&value]), "SRV", &mut others).unwrap().index, index);
            assert_eq!(others.len(), 1);
        }
        for wrong in ["SRV=10.0.0.1:80", "SRV=", "SRV=\u{7f}", "SRV=zzzzzzzzzzzzzzzzzzzzzzzz"] {
            let mut others = Vec::new();
            let wrong = HeaderValue::from_bytes(wrong.as_bytes());
            let headers = wrong.into_iter().map(|wrong| (header::COOKIE, wrong)).collect();
            assert!(kept(&one, &headers, "SRV", &mut others).is_none() && others.is_empty());
        }
        let flood = format!("SRV={}", (0..1_000).map(|n| format!("{n:024x}")).collect::<Vec<_>>().join("."));
        let mut others = Vec::new();
        assert!(kept(&one, &sent(&[&flood]), "SRV", &mut others).is_none());
        assert!(written(&cookie(), &token(&one, 0), &others, false).len() < 160, "what is made up does not grow");
    }

    #[test]
    fn the_cookie_is_as_safe_as_it_was_asked_to_be() {
        let mut cookie = cookie();
        assert_eq!(written(&cookie, "t", &["u".into()], false), "SRV=t.u; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(written(&cookie, "t", &[], true), "SRV=t; Path=/; HttpOnly; Secure; SameSite=Lax");
        (cookie.ttl, cookie.secure, cookie.same_site) = (Some(Duration::from_secs(60)), Some(true), SameSite::None);
        assert_eq!(written(&cookie, "t", &[], false), "SRV=t; Path=/; HttpOnly; Max-Age=60; Secure; SameSite=None");
    }

    #[test]
    fn an_answer_that_sets_it_is_private() {
        let plan = plan("one");
        let wish = Wish { client: Client::from(IpAddr::from([192, 0, 2, 1])), others: Vec::new(), is_https: false };
        for (before, after) in [(None, vec!["private"]), (Some("public"), vec!["public", "private"])] {
            let mut answer = HeaderMap::new();
            answer.extend(before.map(|before| (header::CACHE_CONTROL, HeaderValue::from_static(before))));
            wish.tell(&plan, &Tried::default(), 1, &mut answer);
            assert_eq!(answer.get_all(header::CACHE_CONTROL).iter().collect::<Vec<_>>(), after);
            assert!(answer.contains_key(header::SET_COOKIE));
        }
        for known in ["no-store", "max-age=0, Private"] {
            let mut answer = HeaderMap::new();
            answer.insert(header::CACHE_CONTROL, HeaderValue::from_static(known));
            wish.tell(&plan, &Tried::default(), 1, &mut answer);
            assert_eq!(answer.get_all(header::CACHE_CONTROL).iter().count(), 1);
        }
    }
}
