//! Pure. By what clients of a pool keep their backend.

use std::sync::Arc;
use std::time::Duration;

use crate::model::secret::Secret;

/// By what clients keep their backend.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Sticky {
    /// By where they come from.
    Source {
        /// Since the last connection of the source began, 1 s to 24 h.
        timeout: Duration,
    },
    /// By a cookie that they are given; connections without requests go by the pool's rule.
    Cookie(StickyCookie),
}

/// The cookie by which clients keep their backend (RFC 6265bis).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct StickyCookie {
    /// Its name.
    pub name: Arc<str>,
    /// How long it lasts from when it was given; `None`: until the browser is closed.
    pub ttl: Option<Duration>,
    /// Whether it is sent over https alone; `None`: if it was given over https.
    pub secure: Option<bool>,
    /// With which requests from other sites it comes.
    pub same_site: SameSite,
    /// What its value is made with, so that nobody else can make one or read an address out of it; `None`: with
    /// nothing that is secret.
    pub key: Option<Secret>,
}

/// With which requests from other sites a cookie comes.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum SameSite {
    /// With links that are followed.
    #[default]
    Lax,
    /// With none.
    Strict,
    /// With all; browsers ask that it is `Secure` then.
    None,
}
