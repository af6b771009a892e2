//! Pure. The cookie of a sticky pool, as the API shows it: without its key.

use serde::Serialize;

use crate::model::intent::StickyCookie;

/// The cookie of a sticky pool.
#[derive(Debug, Serialize)]
pub struct Cookie<'s> {
    /// Its name.
    pub name: &'s str,
    /// Seconds it lasts; null: until the browser is closed.
    pub ttl_seconds: Option<f64>,
    /// Whether it is sent over https alone; null: if it was given over https.
    pub secure: Option<bool>,
    /// `lax`, `strict` or `none`.
    pub same_site: String,
    /// Whether a key was given that its value is made with.
    pub has_key: bool,
}

impl<'s> Cookie<'s> {
    pub(super) fn of(cookie: &'s StickyCookie) -> Self {
        let StickyCookie { name, ttl, secure, same_site, key } = cookie;
        Self {
            name,
            ttl_seconds: ttl.map(|ttl| ttl.as_secs_f64()),
            secure: *secure,
            same_site: same_site.to_string(),
            has_key: key.is_some(),
        }
    }
}
