//! Pure. What names a backend in the cookie of a sticky pool.
//!
//! Theory: a token is a part of HMAC-SHA-256 (RFC 2104) over the pool's name and the backend's address and instance. So
//! it is the same after a restart and at every instance that has the key; it shows nothing of the address; and who has
//! no key cannot make one, only show again what he was given, which leads where he was led. Tokens are made once, when
//! the pool is compiled; what a client sends is looked up among them and is never computed with.
//!
//! Without a key they are made with one that everybody knows: still nobody is led anywhere but to backends of the pool,
//! but who guesses pool and address can see that he was right.

use std::collections::HashMap;

use aws_lc_rs::hmac;

use crate::model::intent::{Backend, PoolName, StickyCookie};

/// The length of a token, in hexadecimal digits: 96 bits.
pub const LENGTH: usize = 24;

/// What is made with no key is made with this.
const KNOWN: &[u8] = b"sluice sticky cookie";

/// The tokens of a pool's backends.
#[derive(Debug)]
pub struct Tokens {
    by_place: Box<[Box<str>]>,
    // Made with a key that clients do not have, or by no choice of theirs: any hasher would do.
    places: HashMap<Box<str>, u16>,
}

impl Tokens {
    /// Names the backends of a pool, in their order.
    pub fn new(pool: &PoolName, cookie: &StickyCookie, backends: &[Backend]) -> Self {
        let key = cookie.key.as_ref().map_or(KNOWN, |key| key.expose());
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let by_place: Box<[Box<str>]> = backends.iter().map(|backend| token(&key, pool, backend)).collect();
        let mut places = HashMap::with_capacity(by_place.len());
        for (token, place) in by_place.iter().zip(0u16..) {
            // Where one is listed twice, the first place stands for both.
            places.entry(token.clone()).or_insert(place);
        }
        Self { by_place, places }
    }

    /// The token of the backend at this place.
    pub fn of(&self, index: usize) -> Option<&str> {
        self.by_place.get(index).map(|token| &**token)
    }

    /// The place of the backend that a token names.
    pub fn place_of(&self, token: &str) -> Option<usize> {
        self.places.get(token).map(|place| usize::from(*place))
    }
}

/// Whether a text could be the token of some backend.
pub fn is_token(text: &str) -> bool {
    text.len() == LENGTH && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn token(key: &hmac::Key, pool: &PoolName, backend: &Backend) -> Box<str> {
    // No part can hold the zero that ends it.
    let message = format!("{}\0{}\0{}", pool.as_str(), backend.address, backend.instance);
    let tag = hmac::sign(key, message.as_bytes());
    let text: String = tag.as_ref().iter().take(LENGTH / 2).map(|byte| format!("{byte:02x}")).collect();
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::intent::SameSite;
    use crate::model::secret::Secret;

    fn cookie(key: Option<&str>) -> StickyCookie {
        let key = key.map(|key| Secret::new(key.as_bytes()));
        StickyCookie { name: "SRV".into(), ttl: None, secure: None, same_site: SameSite::Lax, key }
    }

    fn backends(hosts: &[u8]) -> Vec<Backend> {
        hosts.iter().map(|host| Backend::new(([10, 0, 0, *host], 80).into())).collect()
    }

    #[test]
    fn a_token_stands_for_one_backend_of_one_pool_under_one_key() {
        let of = |pool: &str, key: Option<&str>, host: u8| {
            Tokens::new(&PoolName::new(pool), &cookie(key), &backends(&[host])).of(0).unwrap().to_owned()
        };
        let all = [of("a", None, 1), of("b", None, 1), of("a", None, 2), of("a", Some("k"), 1), of("a", Some("l"), 1)];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
        assert!(all.iter().all(|token| is_token(token)), "{all:?}");
        assert_eq!(all[3], of("a", Some("k"), 1), "the same in every process");
        // Pinned: another one would move every client at an update.
        assert_eq!(all[3], PINNED);
    }

    const PINNED: &str = "086e9201ac49c7c123509a2f";

    #[test]
    fn a_pool_knows_its_own_and_no_others() {
        let (pool, mut listed) = (PoolName::new("a"), backends(&[1, 2, 3, 2]));
        let tokens = Tokens::new(&pool, &cookie(None), &listed);
        let places = |tokens: &Tokens| (0..4).map(|n| tokens.place_of(tokens.of(n).unwrap())).collect::<Vec<_>>();
        assert_eq!(places(&tokens), [Some(0), Some(1), Some(2), Some(1)]);
        assert_eq!(tokens.of(4), None);
        listed.iter_mut().for_each(|backend| backend.instance = "another pod".into());
        let other = Tokens::new(&pool, &cookie(None), &listed);
        assert_eq!(tokens.place_of(other.of(0).unwrap()), None, "who lives there now never saw the client");
        for text in ["", "0", "10.0.0.1:80", "000000000000000000000000"] {
            assert_eq!(tokens.place_of(text), None);
        }
    }
}
