//! `/api/v1/snapshot`: what is served, as it was asked. What of it could not be served is under `problems`.

use std::net::SocketAddr;

use serde::Serialize;

use self::client::ClientTimes;
use self::pool::Pool;
use super::Asker;
use crate::model::intent::{self, Action, Cert, HttpRules, Limits, PathMatch, Rate, SourceRules};
use crate::model::path::PathRules;
use crate::model::snapshot::{ListenerPlan, Snapshot};

mod client;
mod cookie;
mod pool;

/// The page.
#[derive(Debug, Serialize)]
pub struct Plan<'s> {
    /// Counts publications since the start.
    pub generation: u64,
    /// By name, then address.
    pub listeners: Vec<Listener<'s>>,
    /// By name.
    pub pools: Vec<Pool<'s>>,
    /// By name; never a key.
    pub certificates: Vec<Certificate<'s>>,
}

/// One thing that is listened on.
#[derive(Debug, Serialize)]
pub struct Listener<'s> {
    /// The name on metrics and in logs.
    pub name: &'s str,
    /// The address as asked.
    pub address: SocketAddr,
    /// `tcp`, `udp`, `tls-passthrough`, `http` or `https`.
    pub protocol: String,
    /// Names of certificates, the default one first.
    pub certificates: Vec<&'s str>,
    /// Handshakes whose SNI no certificate names are refused.
    pub strict_sni: bool,
    /// The oldest version of TLS that is spoken with clients: `1.2`, `1.3`, or null where TLS does not end.
    pub tls_min_version: Option<&'static str>,
    /// Application protocols that are offered in TLS, best first.
    pub tls_alpn: Vec<&'static str>,
    /// Whether clients must show a certificate: `required`, `optional` or null.
    pub tls_client_auth: Option<&'static str>,
    /// Readiness waits until its socket is open.
    pub essential: bool,
    /// Client ranges that may connect; empty allows all.
    pub allow: Vec<String>,
    /// Client ranges that may not.
    pub deny: Vec<String>,
    /// Ranges whose connections begin with a PROXY protocol header.
    pub accept_proxy_protocol: Vec<String>,
    /// How paths are brought into their normal form.
    pub paths: PathRules,
    /// Proxies that are believed what they say of the client.
    pub trusted_proxies: Vec<String>,
    /// Connections or flows open at once; 0: no limit.
    pub max_connections: u32,
    /// Those of one source open at once; 0: no limit.
    pub per_source_connections: u32,
    /// New ones of one source; null: no limit.
    pub per_source_rate: Option<PerTime>,
    /// Bytes per second and direction of one connection; null: no limit.
    pub connection_bandwidth: Option<u64>,
    /// Bytes per second and direction of all; null: no limit.
    pub bandwidth: Option<u64>,
    /// How long a client may take.
    pub timeouts: ClientTimes,
    /// After how many requests a connection is asked to end; 0: never.
    pub requests_per_connection: u32,
    /// Seconds a flow lives without a datagram; null: as usual for its port.
    pub flow_idle_seconds: Option<f64>,
    /// In the order given.
    pub routes: Vec<Route<'s>>,
    /// Who asked first.
    pub origin: Asker<'s>,
}

/// So many in a time.
#[derive(Debug, Serialize)]
pub struct PerTime {
    /// How many.
    pub count: u32,
    /// In this many seconds.
    pub per_seconds: f64,
}

/// Which requests go where.
#[derive(Debug, Serialize)]
pub struct Route<'s> {
    /// A name, `*.name`, or `*` for any.
    pub host: String,
    /// For clients that offer one of these application protocols; empty: for all.
    pub alpn: Vec<&'s str>,
    /// How `path` is compared: `exact`, `prefix` or `regex`.
    #[serde(rename = "match")]
    pub kind: &'static str,
    /// The path, prefix or expression.
    pub path: &'s str,
    /// What is done.
    pub target: Target<'s>,
    /// What is done to its requests and answers on their way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filters: Option<&'s intent::Filters>,
    /// Who asked.
    pub origin: Asker<'s>,
}

/// What a route does: `{"pool": "site"}`, `{"redirect_https": 443}` or `{"answer": 404}`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target<'s> {
    /// Forwards to a pool of this name.
    Pool(&'s str),
    /// Redirects there.
    Redirect(&'s intent::Redirect),
    /// Redirects to https on this port.
    RedirectHttps(u16),
    /// Answers with this status.
    Answer(u16),
}

/// One certificate, without its key.
#[derive(Debug, Serialize)]
pub struct Certificate<'s> {
    /// Its name.
    pub name: &'s str,
    /// The hosts it answers for.
    pub hosts: Vec<String>,
    /// When it ends, in seconds since 1970.
    pub not_after: i64,
    /// Whether an OCSP response is sent along.
    pub ocsp: bool,
    /// Who gave it.
    pub origin: Asker<'s>,
}

// Values are taken apart whole, without `..`: a field that is added cannot be forgotten here.

impl<'s> Plan<'s> {
    /// The page of this snapshot.
    pub fn of(snapshot: &'s Snapshot) -> Self {
        let mut listeners: Vec<_> = snapshot.listeners.values().map(|plan| Listener::of(plan)).collect();
        listeners.sort_unstable_by_key(|l| (l.name, l.address));
        let mut pools: Vec<_> = snapshot.pools.values().map(|plan| Pool::of(plan)).collect();
        pools.sort_unstable_by_key(|pool| pool.name);
        let certificates = snapshot.certs.iter().map(|(name, cert)| {
            let Cert { names, chain: _, key: _, not_before: _, not_after, must_staple: _, staple, origin } = &**cert;
            let hosts = names.iter().map(ToString::to_string).collect();
            let ocsp = staple.as_ref().is_some_and(|staple| staple.response().is_some());
            Certificate { name: name.as_str(), hosts, not_after: *not_after, ocsp, origin: origin.into() }
        });
        let mut certificates: Vec<_> = certificates.collect();
        certificates.sort_unstable_by_key(|cert| cert.name);
        Self { generation: snapshot.generation, listeners, pools, certificates }
    }
}

impl<'s> Listener<'s> {
    fn of(plan: &'s ListenerPlan) -> Self {
        let intent::Listener {
            name,
            protocol,
            routes,
            certs,
            strict_sni,
            tls,
            essential,
            sources,
            proxies,
            http: HttpRules { paths, trusted_proxies },
            limits,
            flow_idle,
            origin,
        } = &*plan.intent;
        let intent::TlsRules { min_version, alpn, client_auth } = tls;
        let SourceRules { allow, deny } = sources;
        let Limits { connections, per_source, rate, connection_bandwidth, bandwidth, client } = limits;
        let ranges = |ranges: &[ipnet::IpNet]| ranges.iter().map(ToString::to_string).collect();
        Self {
            name,
            address: plan.key.address,
            protocol: protocol.to_string(),
            certificates: certs.iter().map(|name| name.as_str()).collect(),
            strict_sni: *strict_sni,
            tls_min_version: plan.tls.is_some().then(|| min_version.label()),
            tls_alpn: alpn.iter().filter(|_| plan.tls.is_some()).map(|alpn| alpn.label()).collect(),
            tls_client_auth: client_auth.as_ref().map(|auth| auth.mode.label()),
            essential: *essential,
            allow: ranges(allow),
            deny: ranges(deny),
            accept_proxy_protocol: ranges(proxies),
            paths: *paths,
            trusted_proxies: ranges(trusted_proxies),
            max_connections: *connections,
            per_source_connections: *per_source,
            per_source_rate: rate.map(|Rate { count, per }| PerTime { count, per_seconds: per.as_secs_f64() }),
            connection_bandwidth: connection_bandwidth.map(Into::into),
            bandwidth: bandwidth.map(Into::into),
            timeouts: ClientTimes::of(client),
            requests_per_connection: client.requests,
            flow_idle_seconds: flow_idle.map(|idle| idle.as_secs_f64()),
            routes: routes.iter().map(Route::of).collect(),
            origin: origin.into(),
        }
    }
}

impl<'s> Route<'s> {
    fn of(route: &'s intent::Route) -> Self {
        let intent::Route { host, alpn, path, action, filters, origin } = route;
        let alpn = alpn.iter().map(|protocol| &**protocol).collect();
        let (kind, path) = match path {
            PathMatch::Exact(path) => ("exact", path),
            PathMatch::Prefix(path) => ("prefix", path),
            PathMatch::Regex(expression) => ("regex", expression),
        };
        let target = match action {
            Action::Forward(pool) => Target::Pool(pool.as_str()),
            Action::Redirect(redirect) => Target::Redirect(redirect),
            Action::RedirectHttps { port, pool: _ } => Target::RedirectHttps(*port),
            Action::NotFound => Target::Answer(404),
        };
        let filters = filters.as_deref();
        Self { host: host.to_string(), alpn, kind, path, target, filters, origin: origin.into() }
    }
}
