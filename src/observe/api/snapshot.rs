//! `/api/v1/snapshot`: what is served, as it was asked. What of it could not be served is under `problems`.

use std::net::SocketAddr;

use serde::Serialize;

use self::client::ClientTimes;
use super::Asker;
use crate::model::intent::{
    self, Action, Agent, Cert, Ejection, HttpRules, Limits, PathMatch, ProbeKind, Queue, Rate, SourceRules, Sticky,
    Timeouts, WhenDown,
};
use crate::model::path::PathRules;
use crate::model::snapshot::{ListenerPlan, PoolPlan, Snapshot};
use cookie::Cookie;

mod cookie;

mod client;

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

/// One pool. Its backends' counters and standing are on the page `backends`.
#[derive(Debug, Serialize)]
pub struct Pool<'s> {
    /// Its name.
    pub name: &'s str,
    /// `round-robin`, `least-connections`, `random-two`, `hash source`, `hash uri`, `hash header NAME`,
    /// `hash cookie NAME` or `first`.
    pub balance: String,
    /// Seconds a source keeps its backend; null: it does not.
    pub sticky_seconds: Option<f64>,
    /// The cookie by which clients keep their backend; null: they do not.
    pub sticky_cookie: Option<Cookie<'s>>,
    /// Null when backends are not checked.
    pub probe: Option<Probe<'s>>,
    /// The port of the agent that backends are asked by; null: they are not asked.
    pub agent_port: Option<u16>,
    /// Seconds between two questions to the agent.
    pub agent_every_seconds: Option<f64>,
    /// Failures of real traffic in a row until a backend is left out; null: it never is.
    pub ejection_failures: Option<u32>,
    /// Seconds it is left out.
    pub ejection_seconds: Option<f64>,
    /// What is a failure: `connect`, `broken`, `timeout`, `5xx`.
    pub ejection_on: Option<Vec<&'static str>>,
    /// Seconds until a backend that came up takes its full share.
    pub slow_start_seconds: f64,
    /// Connections or requests one backend takes at once; 0: no limit.
    pub max_connections: u32,
    /// How many may wait for a backend below its limit.
    pub queue_length: u32,
    /// Seconds one may wait.
    pub queue_wait_seconds: f64,
    /// What is spoken to backends: `http`, `https`, `h2c` or `h2`.
    pub protocol: &'static str,
    /// How TLS is spoken to backends; null: it is not.
    pub tls: Option<BackendTls<'s>>,
    /// The PROXY protocol header sent to backends: `v1`, `v2` or null.
    pub send_proxy_protocol: Option<String>,
    /// Seconds to open a connection.
    pub connect_timeout_seconds: f64,
    /// Seconds from the end of a request's head to the head of its answer.
    pub response_timeout_seconds: f64,
    /// Seconds without a byte in either direction.
    pub idle_timeout_seconds: f64,
    /// The same once one side has ended.
    pub half_closed_timeout_seconds: f64,
    /// Seconds for which bytes may wait for a side that takes none.
    pub stall_timeout_seconds: f64,
    /// How often another backend is tried.
    pub retries: u8,
    /// How many of a hundred requests may be sent again that a backend may have seen; null: all.
    pub retry_budget_percent: Option<u8>,
    /// Statuses of answers that are asked for once more elsewhere, where that is safe.
    pub retry_on: &'s [u16],
    /// What is done when no backend is available: `try` or `refuse`.
    pub when_down: &'static str,
    /// In the order given.
    pub backends: Vec<Backend<'s>>,
    /// DNS names whose addresses are among the backends, as `host:port`.
    pub names: Vec<String>,
    /// Who asked.
    pub origin: Asker<'s>,
}

/// TLS to backends.
#[derive(Debug, Serialize)]
pub struct BackendTls<'s> {
    /// Whose word on certificates is taken: `none`, `system` or `ca`.
    pub verify: &'static str,
    /// The name asked for, where not the backend's address.
    pub name: Option<&'s str>,
    /// Whether a certificate of ours is shown.
    pub client_certificate: bool,
}

/// How backends are checked.
#[derive(Debug, Serialize)]
pub struct Probe<'s> {
    /// `tcp`, `http`, `https` or `grpc`.
    pub kind: &'static str,
    /// What is asked for: the path with `http`, the service with `grpc`.
    pub path: Option<&'s str>,
    /// The Host header, where not the backend's address.
    pub host: Option<&'s str>,
    /// The port, where not the backend's own.
    pub port: Option<u16>,
    /// Seconds between two checks.
    pub every_seconds: f64,
    /// Seconds one check may take.
    pub timeout_seconds: f64,
    /// Failures in a row until down.
    pub fall: u32,
    /// Successes in a row until up.
    pub rise: u32,
}

/// One backend as asked.
#[derive(Debug, Serialize)]
pub struct Backend<'s> {
    /// Where it is dialled.
    pub address: SocketAddr,
    /// Who lives there.
    pub instance: &'s str,
    /// The machine it runs on, where that is known.
    pub node: &'s str,
    /// Share of the traffic.
    pub weight: u16,
    /// `ready`, `drain` or `maintain`.
    pub admin: String,
    /// Used only when no other is available.
    pub backup: bool,
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
            Action::RedirectHttps { port } => Target::RedirectHttps(*port),
            Action::NotFound => Target::Answer(404),
        };
        let filters = filters.as_deref();
        Self { host: host.to_string(), alpn, kind, path, target, filters, origin: origin.into() }
    }
}

impl<'s> Pool<'s> {
    fn of(plan: &'s PoolPlan) -> Self {
        let intent::Pool {
            balance,
            sticky,
            probe,
            agent,
            ejection,
            slow_start,
            max_connections,
            queue: Queue { length, wait },
            speech,
            send_proxy,
            timeouts,
            retries,
            retry_budget,
            retry_on,
            when_down,
            backends,
            names,
            is_refused: _,
            origin,
        } = &*plan.intent;
        let Timeouts { connect, response, idle, half_closed, stall } = timeouts;
        Self {
            name: plan.name.as_str(),
            balance: balance.to_string(),
            sticky_seconds: match sticky {
                Some(Sticky::Source { timeout }) => Some(timeout.as_secs_f64()),
                None | Some(Sticky::Cookie(_)) => None,
            },
            sticky_cookie: match sticky {
                Some(Sticky::Cookie(cookie)) => Some(Cookie::of(cookie)),
                None | Some(Sticky::Source { .. }) => None,
            },
            probe: probe.as_ref().map(Probe::of),
            agent_port: agent.as_ref().map(|Agent { port, every: _ }| *port),
            agent_every_seconds: agent.as_ref().map(|Agent { port: _, every }| every.as_secs_f64()),
            ejection_failures: ejection.map(|Ejection { failures, time: _, on: _ }| failures),
            ejection_seconds: ejection.map(|Ejection { failures: _, time, on: _ }| time.as_secs_f64()),
            ejection_on: ejection.map(|Ejection { failures: _, time: _, on }| on.counted()),
            slow_start_seconds: slow_start.as_secs_f64(),
            max_connections: *max_connections,
            queue_length: *length,
            queue_wait_seconds: wait.as_secs_f64(),
            protocol: speech.name(),
            tls: speech.tls.as_deref().map(BackendTls::of),
            send_proxy_protocol: send_proxy.map(|version| version.to_string()),
            connect_timeout_seconds: connect.as_secs_f64(),
            response_timeout_seconds: response.as_secs_f64(),
            idle_timeout_seconds: idle.as_secs_f64(),
            half_closed_timeout_seconds: half_closed.as_secs_f64(),
            stall_timeout_seconds: stall.as_secs_f64(),
            retries: *retries,
            retry_budget_percent: *retry_budget,
            retry_on,
            when_down: match when_down {
                WhenDown::Try => "try",
                WhenDown::Refuse => "refuse",
            },
            backends: backends.iter().map(Backend::of).collect(),
            names: names.iter().map(|name| format!("{}:{}", name.host, name.port)).collect(),
            origin: origin.into(),
        }
    }
}

impl<'s> Backend<'s> {
    fn of(backend: &'s intent::Backend) -> Self {
        let intent::Backend { address, instance, node, weight, admin, backup } = backend;
        Self { address: *address, instance, node, weight: *weight, admin: admin.to_string(), backup: *backup }
    }
}

impl<'s> BackendTls<'s> {
    fn of(tls: &'s intent::speech::BackendTls) -> Self {
        let intent::speech::BackendTls { verify, name, identity } = tls;
        Self { verify: verify.name(), name: name.as_deref(), client_certificate: identity.is_some() }
    }
}

impl<'s> Probe<'s> {
    fn of(probe: &'s intent::Probe) -> Self {
        let intent::Probe { kind, every, timeout, fall, rise } = probe;
        let (kind, path, host, port) = match kind {
            ProbeKind::Tcp => ("tcp", None, None, None),
            ProbeKind::Http { path, host, port, tls } => {
                (if *tls { "https" } else { "http" }, Some(&**path), host.as_deref(), *port)
            }
            ProbeKind::Grpc { service, port } => ("grpc", Some(&**service), None, *port),
        };
        Self {
            kind,
            path,
            host,
            port,
            every_seconds: every.as_secs_f64(),
            timeout_seconds: timeout.as_secs_f64(),
            fall: *fall,
            rise: *rise,
        }
    }
}
