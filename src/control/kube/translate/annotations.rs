//! Pure. Annotations of Services and Ingresses, parsed. A new annotation begins here: a line in [`KNOWN`], a field in
//! [`Wishes`], an arm in [`Reader::take`].
//!
//! A wrong value refuses its object: nobody can say what was meant. So does an annotation that guards something and
//! cannot be honoured; all others are told and the object is served without.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::control::hsts;
use crate::control::kube::objects::{Meta, OURS};
use crate::control::kube::spec::Reach;
use crate::model::intent::filter::{FieldEdits, Filters, Hsts, PathEdit, RateKey, RequestRate};
use crate::model::intent::{Balance, Pool, Probe, ProbeKind, ProxyVersion, Rate, SourceRules, Speech, Sticky};

mod ask;
mod edits;
mod values;

pub use ask::{AuthWishes, CanaryWishes, Named};
pub(super) use ask::{name_of as field_name, secret as secret_name, url as service_url, value as field_value};
pub(super) use values::range;

/// The kind of object that carries annotations.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum On {
    /// A Service.
    Service,
    /// An Ingress.
    Ingress,
}

/// What the annotations of an object ask for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wishes {
    /// For the pools.
    pub pool: PoolWishes,
    /// `expose`: ports to listen on, and the Service's port each is for; `None` = its only one.
    pub expose: Vec<(u16, Option<String>)>,
    /// `listen`: the Service's ports, by name or number, that are listened to on another.
    pub listen: Vec<(String, u16)>,
    /// `address`: where to listen.
    pub address: Option<IpAddr>,
    /// `allow-source-ranges`.
    pub allow: Vec<IpNet>,
    /// `deny-source-ranges`.
    pub deny: Vec<IpNet>,
    /// `accept-proxy-protocol`: whose connections begin with a header.
    pub proxies: Vec<IpNet>,
    /// `rate-limit`: new connections and flows of one source; on an Ingress, its requests.
    pub rate: Option<Rate>,
    /// `redirect-https`.
    pub redirect_https: Option<bool>,
    /// `hsts`.
    pub hsts: Option<Hsts>,
    /// `request-headers`.
    pub request_headers: FieldEdits,
    /// `response-headers`.
    pub response_headers: FieldEdits,
    /// `rewrite-path`.
    pub rewrite_path: Option<PathEdit>,
    /// `auth-url`, `auth-signin`, `auth-response-headers`.
    pub auth: AuthWishes,
    /// `auth-basic`: the name of the Secret that says who may pass.
    pub users: Option<Arc<str>>,
    /// `auth-realm`.
    pub realm: Option<Arc<str>>,
    /// `canary` and its kin.
    pub canary: CanaryWishes,
    /// `compress`.
    pub compress: bool,
    /// `mirror`.
    pub mirror: Option<Named>,
    /// What is asked for otherwise than by annotations of ours, which win over it.
    pub base: Filters,
    /// `shared`: Ingresses of other namespaces may name the Service in annotations.
    pub shared: bool,
}

/// What annotations ask of a pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolWishes {
    /// `reach`.
    pub reach: Option<Reach>,
    /// `idle-timeout`: of connections, and of flows.
    pub idle: Option<Duration>,
    pub(super) balance: Option<Balance>,
    pub(super) speech: Option<Speech>,
    // The inner `None`: not, whatever the Service says.
    pub(super) sticky: Option<Option<Sticky>>,
    // The inner `None`: no probe at all.
    probe: Option<Option<ProbeKind>>,
    probe_interval: Option<Duration>,
    pub(super) connect: Option<Duration>,
    pub(super) response: Option<Duration>,
    pub(super) retries: Option<u8>,
    slow_start: Option<Duration>,
    max_connections: Option<u32>,
    queue_wait: Option<Duration>,
    // The inner `None`: no header, whatever the Service says.
    send_proxy: Option<Option<ProxyVersion>>,
    /// A Service of the same namespace whose backends stand in when there is no other.
    pub(super) fallback: Option<Arc<str>>,
    // Answers with these statuses are asked for once more.
    pub(super) retry_on: Option<Vec<u16>>,
}

impl Wishes {
    /// The annotation that only connections can honour, if there is one: a header goes before their first byte.
    pub fn asks_of_connections(&self) -> Option<&'static str> {
        if self.pool.send_proxy.flatten().is_some() {
            return Some("proxy-protocol");
        }
        (!self.proxies.is_empty()).then_some("accept-proxy-protocol")
    }

    /// What is asked of the requests and answers of an Ingress; `None`: nothing.
    pub fn filters(&self) -> Option<Arc<Filters>> {
        let mut filters = self.base.clone();
        let said = SourceRules { allow: self.allow.clone(), deny: self.deny.clone() };
        if said != SourceRules::default() {
            filters.sources = said;
        }
        if let Some(rate) = self.rate {
            filters.rate = Some(RequestRate { rate, burst: 0, key: RateKey::Source, except: Vec::new() });
        }
        filters.rewrite_path = self.rewrite_path.clone().or(filters.rewrite_path);
        for (own, all) in [
            (&self.request_headers, &mut filters.request_headers),
            (&self.response_headers, &mut filters.response_headers),
        ] {
            if !own.is_empty() {
                all.clone_from(own);
            }
        }
        filters.hsts = self.hsts.clone().or(filters.hsts);
        filters.compress = self.compress.then(crate::control::ask::compress);
        (!filters.is_empty()).then(|| Arc::new(filters))
    }
}

impl PoolWishes {
    /// The same, with nothing said of who keeps a backend.
    pub fn without_sticky(&self) -> Self {
        Self { sticky: None, ..self.clone() }
    }

    /// These wishes, and those of `base` where these say nothing.
    pub fn over(&self, base: &Self) -> Self {
        Self {
            reach: self.reach.or(base.reach),
            balance: self.balance.clone().or_else(|| base.balance.clone()),
            sticky: self.sticky.clone().or_else(|| base.sticky.clone()),
            speech: self.speech.clone().or_else(|| base.speech.clone()),
            probe: self.probe.clone().or_else(|| base.probe.clone()),
            probe_interval: self.probe_interval.or(base.probe_interval),
            connect: self.connect.or(base.connect),
            response: self.response.or(base.response),
            idle: self.idle.or(base.idle),
            retries: self.retries.or(base.retries),
            slow_start: self.slow_start.or(base.slow_start),
            max_connections: self.max_connections.or(base.max_connections),
            queue_wait: self.queue_wait.or(base.queue_wait),
            send_proxy: self.send_proxy.or(base.send_proxy),
            fallback: self.fallback.clone().or_else(|| base.fallback.clone()),
            retry_on: self.retry_on.clone().or_else(|| base.retry_on.clone()),
        }
    }

    /// Makes a pool as wished, where it is not as it should be already.
    pub fn apply(&self, pool: &mut Pool) {
        if let Some(speech) = &self.speech {
            pool.speech = speech.clone();
        }
        if let Some(balance) = &self.balance {
            pool.balance = balance.clone();
        }
        match (&self.sticky, &pool.sticky) {
            // The Service's own field says for how long.
            (Some(Some(Sticky::Source { .. })), Some(Sticky::Source { .. })) | (None, _) => {}
            (Some(sticky), _) => pool.sticky = sticky.clone(),
        }
        pool.retries = self.retries.unwrap_or(pool.retries);
        if let Some(statuses) = &self.retry_on {
            pool.retry_on.clone_from(statuses);
        }
        pool.slow_start = self.slow_start.unwrap_or(pool.slow_start);
        pool.max_connections = self.max_connections.unwrap_or(pool.max_connections);
        pool.queue.wait = self.queue_wait.unwrap_or(pool.queue.wait);
        pool.send_proxy = self.send_proxy.unwrap_or(pool.send_proxy);
        pool.timeouts.connect = self.connect.unwrap_or(pool.timeouts.connect);
        pool.timeouts.response = self.response.unwrap_or(pool.timeouts.response);
        pool.timeouts.idle = self.idle.unwrap_or(pool.timeouts.idle);
        match &self.probe {
            Some(None) => pool.probe = None,
            Some(Some(kind)) => pool.probe = Some(Probe { kind: kind.clone(), ..Probe::default() }),
            None => {}
        }
        if let (Some(every), Some(probe)) = (self.probe_interval, &mut pool.probe) {
            probe.every = every;
        }
    }
}

/// What is wrong with an annotation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Complaint {
    /// What is wrong and what would be right.
    pub reason: String,
    /// Whether the object must not be served for it.
    pub refuses: bool,
}

/// Where an annotation has a meaning in this version.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Served {
    Both,
    Services,
    Ingresses,
    NotYet,
}

/// All annotations there are: name, where it is served, whether it guards something, so that an object must not be
/// served without it.
const KNOWN: &[(&str, Served, bool)] = &[
    ("accept-proxy-protocol", Served::Services, true),
    ("address", Served::Both, true),
    ("allow-source-ranges", Served::Both, true),
    ("auth-basic", Served::Ingresses, true),
    ("auth-realm", Served::Ingresses, true),
    ("auth-response-headers", Served::Ingresses, true),
    ("auth-signin", Served::Ingresses, true),
    ("auth-url", Served::Ingresses, true),
    ("backend-protocol", Served::Both, true),
    ("balance", Served::Both, false),
    ("canary", Served::Ingresses, false),
    ("canary-by-cookie", Served::Ingresses, false),
    ("canary-by-header", Served::Ingresses, false),
    ("canary-by-header-value", Served::Ingresses, false),
    ("canary-weight", Served::Ingresses, false),
    ("compress", Served::Ingresses, false),
    ("connect-timeout", Served::Both, false),
    ("deny-source-ranges", Served::Both, true),
    ("expose", Served::Services, false),
    ("hsts", Served::Ingresses, true),
    ("idle-timeout", Served::Both, false),
    ("listen", Served::Services, false),
    ("max-connections", Served::Both, false),
    ("mirror", Served::Ingresses, false),
    ("probe", Served::Both, false),
    ("probe-interval", Served::Both, false),
    ("proxy-protocol", Served::Both, true),
    ("queue-wait", Served::Both, false),
    ("rate-limit", Served::Both, true),
    ("reach", Served::Both, false),
    ("redirect-https", Served::Ingresses, false),
    ("request-headers", Served::Ingresses, true),
    ("response-headers", Served::Ingresses, true),
    ("response-timeout", Served::Both, false),
    ("retries", Served::Both, false),
    ("rewrite-path", Served::Ingresses, true),
    ("shared", Served::Services, false),
    ("slow-start", Served::Both, false),
    ("sticky", Served::Both, false),
    ("weight", Served::NotYet, false),
];

/// Reads the annotations of an object that are ours.
#[cfg(test)]
pub fn read(on: On, meta: &Meta) -> (Wishes, Vec<Complaint>) {
    read_over(Wishes::default(), on, meta)
}

/// Reads the annotations that are ours of an object that has wishes already; they win over these.
pub fn read_over(wishes: Wishes, on: On, meta: &Meta) -> (Wishes, Vec<Complaint>) {
    let mut reader = Reader { wishes, complaints: Vec::new() };
    for (key, value) in &meta.annotations {
        if let Some(name) = key.strip_prefix(OURS) {
            reader.read(on, name, value.trim());
        }
    }
    reader.check_company();
    (reader.wishes, reader.complaints)
}

struct Reader {
    wishes: Wishes,
    complaints: Vec<Complaint>,
}

impl Reader {
    fn read(&mut self, on: On, name: &str, value: &str) {
        let Some((name, served, guards)) = KNOWN.iter().find(|(known, ..)| *known == name) else {
            return self.unknown(name);
        };
        let elsewhere = match (served, on) {
            (Served::Both, _) | (Served::Services, On::Service) | (Served::Ingresses, On::Ingress) => {
                let Err(right) = self.take(name, value) else { return };
                // Values of fields may be secrets; which line is wrong is in the remedy.
                let shown = match name {
                    &("request-headers" | "response-headers") => String::new(),
                    _ => format!("{value:?} "),
                };
                return self.complain(format!("annotation {OURS}{name}: {shown}is wrong; {right}"), true);
            }
            (Served::Services, On::Ingress) => "is served on Services only",
            (Served::Ingresses, On::Service) => "is served on Ingresses only",
            (Served::NotYet, _) => "is not served by this version",
        };
        self.complain(format!("annotation {OURS}{name} {elsewhere}; take it off"), *guards);
    }

    /// What means nothing without another annotation. Of a guard that stands half there nobody can say what was meant.
    fn check_company(&mut self) {
        let AuthWishes { url, sign_in, headers } = &self.wishes.auth;
        let is_half = url.is_none() && (sign_in.is_some() || !headers.is_empty());
        let is_bare = self.wishes.realm.is_some() && self.wishes.users.is_none();
        let CanaryWishes { to, permille, header, value, cookie } = &self.wishes.canary;
        let says = permille.is_some() || header.is_some() || cookie.is_some();
        let is_idle = to.is_some() && !says;
        let is_lost = (to.is_none() && says) || (value.is_some() && header.is_none());
        // A complaint about a wrong value is enough.
        if is_half && !self.complaints.iter().any(|complaint| complaint.refuses) {
            let right = "auth-url says who is asked; add it, or take off auth-signin and auth-response-headers";
            self.complain(format!("{OURS}{right}"), true);
        }
        if is_bare && !self.complaints.iter().any(|complaint| complaint.refuses) {
            let right = "auth-basic names the Secret that says who may pass; add it, or take off auth-realm";
            self.complain(format!("{OURS}{right}"), true);
        }
        if is_idle || is_lost {
            let right = "canary needs canary-weight, canary-by-header or canary-by-cookie, and these need it";
            self.complain(format!("annotation {OURS}{right}"), false);
        }
    }

    /// A name that nearly is one of those that guard is taken for it.
    fn unknown(&mut self, name: &str) {
        let near =
            KNOWN.iter().map(|known| (values::distance(known.0, name), known)).min_by_key(|(distance, _)| *distance);
        match near.filter(|(distance, _)| *distance <= 3) {
            Some((_, (known, _, guards))) => {
                self.complain(format!("annotation {OURS}{name} does not exist; {OURS}{known} does"), *guards);
            }
            None => {
                let all: Vec<&str> = KNOWN.iter().filter(|k| k.1 != Served::NotYet).map(|k| k.0).collect();
                self.complain(format!("annotation {OURS}{name} does not exist; there are {}", all.join(", ")), false);
            }
        }
    }

    fn complain(&mut self, mut reason: String, refuses: bool) {
        if refuses {
            reason.push_str(" (until then the object is not served)");
        }
        self.complaints.push(Complaint { reason, refuses });
    }

    /// Takes a value over; the error says what would be right.
    fn take(&mut self, name: &str, value: &str) -> Result<(), String> {
        let wishes = &mut self.wishes;
        match name {
            "accept-proxy-protocol" => wishes.proxies = values::ranges(value)?,
            "address" => wishes.address = Some(values::address(value)?),
            "allow-source-ranges" => wishes.allow = values::ranges(value)?,
            "auth-basic" => wishes.users = Some(ask::secret(value)?),
            "auth-realm" => wishes.realm = Some(crate::control::ask::realm(value)?),
            "auth-response-headers" => wishes.auth.headers = ask::names(value)?,
            "auth-signin" => wishes.auth.sign_in = Some(crate::control::ask::sign_in(value)?),
            "auth-url" => wishes.auth.url = Some(ask::url(value)?),
            "backend-protocol" => wishes.pool.speech = Some(values::speech(value)?),
            "balance" => wishes.pool.balance = Some(values::balance(value)?),
            "canary" => wishes.canary.to = Some(ask::named(value)?),
            "canary-by-cookie" => wishes.canary.cookie = Some(crate::control::ask::cookie(value)?),
            "canary-by-header" => wishes.canary.header = Some(ask::name_of(value)?),
            "canary-by-header-value" => wishes.canary.value = Some(ask::value(value)?),
            "canary-weight" => wishes.canary.permille = Some(ask::weight(value)?),
            "compress" => wishes.compress = values::one_of(value, &[("true", true), ("false", false)])?,
            "connect-timeout" => wishes.pool.connect = Some(values::duration(value, "10ms", "5m")?),
            "deny-source-ranges" => wishes.deny = values::ranges(value)?,
            "expose" => wishes.expose = values::expose(value)?,
            "hsts" => wishes.hsts = Some(hsts::parse(value)?),
            "idle-timeout" => wishes.pool.idle = Some(values::duration(value, "1s", "720h")?),
            "listen" => wishes.listen = values::listen(value)?,
            "max-connections" => wishes.pool.max_connections = Some(values::number(value, 0, 1_000_000)?),
            "mirror" => wishes.mirror = Some(ask::named(value)?),
            "probe" => wishes.pool.probe = Some(values::probe(value)?),
            "probe-interval" => wishes.pool.probe_interval = Some(values::duration(value, "100ms", "1h")?),
            "proxy-protocol" => {
                let known = [("v1", Some(ProxyVersion::V1)), ("v2", Some(ProxyVersion::V2)), ("none", None)];
                wishes.pool.send_proxy = Some(values::one_of(value, &known)?);
            }
            "queue-wait" => wishes.pool.queue_wait = Some(values::duration(value, "1ms", "1h")?),
            "rate-limit" => wishes.rate = Some(values::rate(value)?),
            "reach" => {
                let known = [("auto", Reach::Auto), ("nodeport", Reach::NodePort), ("pod", Reach::Pod)];
                wishes.pool.reach = Some(values::one_of(value, &known)?);
            }
            "redirect-https" => {
                wishes.redirect_https = Some(values::one_of(value, &[("true", true), ("false", false)])?)
            }
            "request-headers" => wishes.request_headers = edits::headers(value)?,
            "response-headers" => wishes.response_headers = edits::headers(value)?,
            "response-timeout" => wishes.pool.response = Some(values::duration(value, "10ms", "24h")?),
            "retries" => wishes.pool.retries = Some(values::number(value, 0, 10)?),
            "rewrite-path" => wishes.rewrite_path = Some(edits::path(value)?),
            "shared" => wishes.shared = values::one_of(value, &[("true", true), ("false", false)])?,
            "slow-start" => wishes.pool.slow_start = Some(values::duration(value, "0s", "1h")?),
            "sticky" => wishes.pool.sticky = Some(values::sticky(value)?),
            _ => return Err("it is known but not read".to_owned()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
