//! Pure. Annotations about backends: how one is picked and kept, how long it may take, and what is spoken to it.

use std::sync::Arc;
use std::time::Duration;

use crate::control::affinity;
use crate::model::intent::{Balance, SameSite, Sticky, StickyCookie};

use super::table::Verdict;
use super::{Asks, Said, values};
use crate::control::kube::translate::annotations::secret_name;

/// The cookie's name where nothing is said.
const COOKIE: &str = "INGRESSCOOKIE";
/// The most tries beside the first that a pool makes.
const RETRIES: u8 = 10;

/// What is spoken to backends; what it needs of Secrets is looked up later.
#[derive(Debug, Default)]
pub(super) struct SpeechAsk {
    /// HTTP/2 or not, in TLS or not; `None`: as the Service says.
    pub(super) spoken: Option<(bool, bool)>,
    /// The Secret with authorities, and with what is shown to backends.
    pub(super) secret: Option<Arc<str>>,
    pub(super) verifies: bool,
    /// The name that is asked for.
    pub(super) name: Option<Arc<str>>,
}

/// Reads all annotations of this room; what is spoken to backends is asked for in `asks`, as its Secret has to be
/// looked up.
pub(super) fn read(said: &mut Said<'_>, asks: &mut Asks) {
    balance(said, asks);
    sticky(said, asks);
    tries(said, asks);
    let pool = &mut asks.wishes.pool;
    pool.connect = said.value("proxy-connect-timeout", values::seconds);
    pool.response = said.value("proxy-read-timeout", values::seconds);
    pool.idle = pool.response;
    speech(said, asks);
    asks.fallback = said.value("default-backend", |text| match text.contains('/') {
        true => Err("it is the name of a Service of the same namespace".to_owned()),
        false => Ok(text.into()),
    });
}

fn balance(said: &mut Said<'_>, asks: &mut Asks) {
    let rule = said.value("load-balance", |text| match text {
        "round_robin" => Ok(Balance::RoundRobin),
        "ewma" => Ok(Balance::RandomTwo),
        _ => Err("it is round_robin or ewma".to_owned()),
    });
    let key = said.text("upstream-hash-by").map(hash);
    asks.wishes.pool.balance = key.or(rule);
}

/// The hash that comes nearest to a key of nginx.
fn hash(text: &str) -> Balance {
    let name = text.trim_start_matches('$').trim_start_matches('{').trim_end_matches('}');
    let field = |name: &str| affinity::hash(&format!("header:{}", name.replace('_', "-")));
    let known = match name {
        "request_uri" | "uri" => Some(Balance::HashUri),
        "host" | "http_host" => field("host"),
        name => match (name.strip_prefix("http_"), name.strip_prefix("cookie_")) {
            (Some(name), _) => field(name),
            (None, Some(name)) => affinity::hash(&format!("cookie:{name}")),
            (None, None) => None,
        },
    };
    known.filter(|_| text.starts_with('$')).unwrap_or(Balance::HashSource)
}

fn sticky(said: &mut Said<'_>, asks: &mut Asks) {
    let kind = said.value("affinity", |text| match text {
        "cookie" => Ok(()),
        _ => Err("it is cookie".to_owned()),
    });
    let name = said.value("session-cookie-name", |text| {
        affinity::cookie(text).map(|cookie| cookie.name).ok_or_else(|| "it is the name of a cookie".to_owned())
    });
    let lasts = |text: &str| values::number(text, 1, 315_360_000_u64).map(Duration::from_secs);
    let (age, expires) = (said.value("session-cookie-max-age", lasts), said.value("session-cookie-expires", lasts));
    let same_site = said.value("session-cookie-samesite", |text| match text {
        "None" => Ok(SameSite::None),
        "Lax" => Ok(SameSite::Lax),
        "Strict" => Ok(SameSite::Strict),
        _ => Err("it is None, Lax or Strict".to_owned()),
    });
    let secure = said.value("session-cookie-secure", values::switch).filter(|secure| *secure);
    if kind.is_none() {
        return;
    }
    asks.wishes.pool.sticky = Some(Some(Sticky::Cookie(StickyCookie {
        name: name.unwrap_or_else(|| COOKIE.into()),
        ttl: age.or(expires),
        secure,
        same_site: same_site.unwrap_or_default(),
        key: None,
    })));
}

fn tries(said: &mut Said<'_>, asks: &mut Asks) {
    let tries = said.value("proxy-next-upstream-tries", |text| values::number(text, 0, u32::MAX));
    // None is no bound, as there.
    let retries = tries.map(|tries| match tries {
        0 => RETRIES,
        tries => u8::try_from(tries - 1).unwrap_or(RETRIES).min(RETRIES),
    });
    let on = said.value("proxy-next-upstream", |text| {
        let mut statuses = Vec::new();
        let mut is_off = false;
        for word in text.split_whitespace() {
            match word {
                "off" => is_off = true,
                "error" | "timeout" | "invalid_header" | "non_idempotent" => {}
                word => {
                    let known = [403, 404, 429, 500, 502, 503, 504_u16];
                    let status = word.strip_prefix("http_").and_then(|status| status.parse().ok());
                    let status = status.filter(|status| known.contains(status));
                    statuses.push(status.ok_or_else(|| "it is words like error timeout http_502".to_owned())?);
                }
            }
        }
        statuses.sort_unstable();
        statuses.dedup();
        Ok((is_off, statuses))
    });
    let pool = &mut asks.wishes.pool;
    pool.retries = retries;
    if let Some((is_off, statuses)) = on {
        if is_off {
            pool.retries = Some(0);
        } else if !statuses.is_empty() {
            pool.retry_on = Some(statuses);
        }
    }
}

fn speech(said: &mut Said<'_>, asks: &mut Asks) {
    let speech = &mut asks.speech;
    speech.spoken = said.value("backend-protocol", |text| match text.to_ascii_uppercase().as_str() {
        "HTTP" | "AUTO_HTTP" => Ok((false, false)),
        "HTTPS" => Ok((false, true)),
        "GRPC" => Ok((true, false)),
        "GRPCS" => Ok((true, true)),
        _ => Err("it is HTTP, HTTPS, GRPC or GRPCS".to_owned()),
    });
    speech.verifies = said.value("proxy-ssl-verify", values::on_or_off).unwrap_or_default();
    speech.secret = said.value("proxy-ssl-secret", |text| Ok(Arc::from(text)));
    speech.name = said.value("proxy-ssl-name", |text| {
        let host = crate::model::host::Host::parse(text).map_err(|error| error.to_string())?;
        Ok(host.as_str().into())
    });
    // Of another namespace it is judged where the Ingress' own is known.
    if let Some(secret) = &speech.secret {
        let bare = secret.rsplit('/').next().unwrap_or_default();
        if secret_name(bare).is_err() {
            said.say("proxy-ssl-secret", Verdict::Refused, "it is NAMESPACE/NAME of a Secret");
        }
    }
    if speech.verifies && speech.secret.is_none() {
        said.say("proxy-ssl-verify", Verdict::Refused, "proxy-ssl-secret says whose word is taken; add it");
    }
}
