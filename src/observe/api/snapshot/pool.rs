//! A pool with its backends, on `/api/v1/snapshot`.

use std::net::SocketAddr;

use serde::Serialize;

use super::cookie::Cookie;
use crate::model::intent::{self, Agent, Ejection, ProbeKind, Queue, Sticky, Timeouts, WhenDown};
use crate::model::snapshot::PoolPlan;
use crate::observe::api::Asker;

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

// Values are taken apart whole, without `..`: a field that is added cannot be forgotten here.

impl<'s> Pool<'s> {
    pub(super) fn of(plan: &'s PoolPlan) -> Self {
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
