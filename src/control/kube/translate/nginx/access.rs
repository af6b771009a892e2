//! Pure. Annotations about who may use an Ingress, and how often.

use std::sync::Arc;
use std::time::Duration;

use crate::control::ask;
use crate::model::intent::Rate;
use crate::model::intent::filter::{RateKey, RequestRate};

use super::table::Verdict;
use super::{Asks, Said, values};
use crate::control::kube::translate::annotations::{Named, field_name, service_url};

/// How many more than the rate ingress-nginx lets through at once: so many times the rate.
const BURST: u32 = 5;
/// The parameter that says where who signs in wanted to go.
const PARAMETER: &str = "rd";

/// Names and passwords.
#[derive(Debug)]
pub(super) struct BasicAsk {
    /// The Secret, of the Ingress' own namespace.
    pub(super) secret: Arc<str>,
    /// Its keys are the names (`auth-map`).
    pub(super) is_map: bool,
    pub(super) realm: Arc<str>,
}

/// A server that is asked about each request.
#[derive(Debug)]
pub(super) struct ServerAsk {
    pub(super) to: Server,
    pub(super) path: Arc<str>,
    pub(super) headers: Vec<Arc<str>>,
    pub(super) sign_in: Option<Arc<str>>,
}

/// Where it is asked.
#[derive(Debug)]
pub(super) enum Server {
    /// A Service, and the host it is asked by.
    Service(Named, Arc<str>),
    /// Whatever Ingress serves this host; `None`: the host of the request.
    Host(Option<Arc<str>>),
}

/// Reads all annotations of this room; what has to be looked up is asked for in `asks`.
pub(super) fn read(said: &mut Said<'_>, asks: &mut Asks) {
    sources(said, asks);
    limits(said, asks);
    basic(said, asks);
    server(said, asks);
    client_certificates(said);
}

fn sources(said: &mut Said<'_>, asks: &mut Asks) {
    let rules = &mut asks.wishes.base.sources;
    // The older name of the same; the newer one wins, as there.
    let allowed = said.value("allowlist-source-range", values::ranges);
    let older = said.value("whitelist-source-range", values::ranges);
    rules.allow = allowed.or(older).unwrap_or_default();
    rules.deny = said.value("denylist-source-range", values::ranges).unwrap_or_default();
    let any = said.value("satisfy", |text| match text {
        "any" => Ok(true),
        "all" => Ok(false),
        _ => Err("it is any or all".to_owned()),
    });
    asks.wishes.base.satisfy_any = any.unwrap_or_default();
}

fn limits(said: &mut Said<'_>, asks: &mut Asks) {
    let count = |text: &str| values::number(text, 1, 1_000_000_u32);
    let second = said.value("limit-rps", count).map(|count| Rate { count, per: Duration::from_secs(1) });
    let minute = said.value("limit-rpm", count).map(|count| Rate { count, per: Duration::from_secs(60) });
    let times = said.value("limit-burst-multiplier", |text| values::number(text, 1, 1000)).unwrap_or(BURST);
    let newer = said.value("limit-allowlist", values::ranges);
    let older = said.value("limit-whitelist", values::ranges);
    let except = newer.or(older).unwrap_or_default();
    // nginx lets one through and so many times the rate more; here the rate itself comes at once, and the burst more.
    let burst_of = |rate: Rate| rate.count.saturating_mul(times.saturating_sub(1)).saturating_add(1).min(1_000_000);
    let (rate, burst) = match (second, minute) {
        (None, None) => return,
        (Some(rate), None) | (None, Some(rate)) => (rate, burst_of(rate)),
        (Some(second), Some(minute)) => {
            // One bucket that neither of the two would find too large, nor refilled too fast.
            let slower = if second.count.saturating_mul(60) < minute.count { second } else { minute };
            let most = [second, minute].map(|rate| rate.count.saturating_add(burst_of(rate)));
            let most = most.into_iter().min().unwrap_or_default();
            let rate = Rate { count: slower.count.min(most), ..slower };
            (rate, most.saturating_sub(rate.count).min(1_000_000))
        }
    };
    asks.wishes.base.rate = Some(RequestRate { rate, burst, key: RateKey::Source, except });
}

fn basic(said: &mut Said<'_>, asks: &mut Asks) {
    let kind = said.value("auth-type", |text| match text {
        "basic" => Ok(()),
        "digest" => Err("digest is not spoken; use basic, over https".to_owned()),
        _ => Err("it is basic".to_owned()),
    });
    let secret = said.value("auth-secret", |text| {
        let is_name = |name: &str| !name.is_empty() && name.len() <= 253 && !name.contains('/');
        match is_name(text) {
            true => Ok(Arc::from(text)),
            false => {
                Err("it is the name of a Secret of the same namespace; those of others are not looked at".to_owned())
            }
        }
    });
    let is_map = said.value("auth-secret-type", |text| match text {
        "auth-file" => Ok(false),
        "auth-map" => Ok(true),
        _ => Err("it is auth-file or auth-map".to_owned()),
    });
    let realm = said.value("auth-realm", ask::realm);
    match (kind, secret) {
        (Some(()), Some(secret)) => {
            let realm = realm.unwrap_or_else(|| ask::REALM.into());
            asks.basic = Some(BasicAsk { secret, is_map: is_map.unwrap_or_default(), realm });
        }
        (Some(()), None) => said.say("auth-type", Verdict::Refused, "auth-secret says who may pass; add it"),
        // So it is with ingress-nginx: without a type nobody is asked.
        (None, _) => {
            for name in ["auth-secret", "auth-secret-type", "auth-realm"] {
                said.say(name, Verdict::Safe, "without auth-type nobody is asked for a password, and nobody was");
            }
        }
    }
}

fn server(said: &mut Said<'_>, asks: &mut Asks) {
    if said.is_true("enable-global-auth") {
        let why = "ConfigMaps are not read, so there is no global-auth-url here; write auth-url, or take it off";
        said.say("enable-global-auth", Verdict::Refused, why);
    } else {
        said.told
            .entry("enable-global-auth")
            .or_insert_with(|| (Verdict::Safe, "there is no global one here".to_owned()));
    }
    if said.text("auth-url").is_none() {
        for name in [
            "auth-method",
            "auth-proxy-set-headers",
            "auth-response-headers",
            "auth-signin",
            "auth-signin-redirect-param",
        ] {
            said.told.insert(name, (Verdict::Safe, "without auth-url nobody is asked, and nobody was".to_owned()));
        }
        return;
    }
    said.value("auth-method", |text| match text.eq_ignore_ascii_case("GET") {
        true => Ok(()),
        false => Err("who is asked is asked by GET".to_owned()),
    });
    let url = said.value("auth-url", url);
    let names = |text: &str| {
        text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(field_name).collect::<Result<Vec<_>, _>>()
    };
    let headers = said.value("auth-response-headers", names).unwrap_or_default();
    let is_parameter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let parameter = said.value("auth-signin-redirect-param", |text| match text.bytes().all(is_parameter) {
        true => Ok(text.to_owned()),
        false => Err("it is the name of a parameter, like rd".to_owned()),
    });
    let sign_in = said.value("auth-signin", |text| sign_in(text, parameter.as_deref().unwrap_or(PARAMETER)));
    asks.asked = url.map(|(to, path)| ServerAsk { to, path, headers, sign_in });
}

/// Who is asked, and with which path.
fn url(text: &str) -> Result<(Server, Arc<str>), String> {
    let wrong = || {
        "it is the address of a Service like http://oauth2-proxy.auth.svc.cluster.local:4180/oauth2/auth, or one that an \
         Ingress serves here, like https://$host/oauth2/auth"
            .to_owned()
    };
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).ok_or_else(wrong)?;
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    if path.contains('$') {
        return Err("variables in its path are not known here".to_owned());
    }
    let path = ask::path(path)?;
    if let "$host" | "$http_host" | "${host}" = authority {
        return Ok((Server::Host(None), path));
    }
    let host = ask::host(authority).map_err(|_| wrong())?;
    // Names of Services have no dot, or one before the namespace; those of hosts may look the same, and the form with
    // `svc` tells.
    let bare = authority.split(':').next().unwrap_or_default();
    let is_service = !bare.contains('.') || bare.contains(".svc") || bare.split('.').count() == 2;
    if text.starts_with("http://")
        && is_service
        && let Ok((named, _)) = service_url(text)
    {
        return Ok((Server::Service(named, host), path));
    }
    Ok((Server::Host(Some(bare.into())), path))
}

/// Where clients sign in. Without its parameter the page is given the address that was asked for, as there.
fn sign_in(text: &str, parameter: &str) -> Result<Arc<str>, String> {
    let mut page = text.to_owned();
    if page.contains(['{', '}']) && !page.contains("${") {
        return Err("braces are not for addresses".to_owned());
    }
    for scheme in ["$scheme", "$pass_access_scheme"] {
        for host in ["$host", "$http_host", "$best_http_host"] {
            for uri in ["$escaped_request_uri", "$request_uri"] {
                page = page.replace(&format!("{scheme}://{host}{uri}"), "$url");
            }
        }
    }
    let mut page = values::with_variables(&page, |name| match name {
        "url" => Some("{url}"),
        name => values::of_request(name),
    })?;
    let query = page.split_once('?').map(|(_, query)| query);
    let is_there = |query: &str| query.split('&').any(|pair| pair.split('=').next() == Some(parameter));
    if !query.is_some_and(is_there) {
        let join = if query.is_some() { '&' } else { '?' };
        page = format!("{page}{join}{parameter}={{url}}");
    }
    ask::sign_in(&page.replace("{scheme}", "https"))?;
    Ok(page.into())
}

/// Client certificates cannot be asked for by an Ingress: without the Secret nobody was asked for one either.
fn client_certificates(said: &mut Said<'_>) {
    let is_off = said.text("auth-tls-secret").is_none();
    if !is_off {
        return;
    }
    for name in [
        "auth-tls-error-page",
        "auth-tls-match-cn",
        "auth-tls-pass-certificate-to-upstream",
        "auth-tls-secret",
        "auth-tls-verify-client",
        "auth-tls-verify-depth",
    ] {
        said.told.insert(name, (Verdict::Safe, "without auth-tls-secret nobody is asked, and nobody was".to_owned()));
    }
}
