//! Pure. An intent as JSON. Keys are part of the interface: they may be added to, never renamed. No secrets.

use serde_json::{Value, json};

use crate::model::intent::{
    Action, Backend, Cert, CertName, Intent, Listener, ListenerKey, PathMatch, Pool, PoolName, Probe, ProbeKind, Route,
    WhenDown,
};
use crate::model::problem::{Origin, Problem};

/// Everything that is asked, and what of it cannot be served. Times are in seconds, `not_after` in seconds since 1970.
pub(super) fn of(intent: &Intent, problems: &[Problem]) -> Value {
    json!({
        "listeners": intent.listeners.iter().map(|(key, listener)| listener_of(key, listener)).collect::<Vec<_>>(),
        "pools": intent.pools.iter().map(|(name, pool)| pool_of(name, pool)).collect::<Vec<_>>(),
        "certificates": intent.certs.iter().map(|(name, cert)| cert_of(name, cert)).collect::<Vec<_>>(),
        "problems": problems.iter().map(problem_of).collect::<Vec<_>>(),
    })
}

fn origin_of(origin: &Origin) -> Value {
    json!({ "source": &*origin.source, "object": &*origin.object })
}

fn problem_of(problem: &Problem) -> Value {
    json!({ "origin": origin_of(&problem.origin), "reason": problem.reason })
}

fn listener_of(key: &ListenerKey, listener: &Listener) -> Value {
    let ranges = |ranges: &[ipnet::IpNet]| ranges.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "name": &*listener.name,
        "address": key.address.to_string(),
        "protocol": listener.protocol.to_string(),
        "allow": ranges(&listener.sources.allow),
        "deny": ranges(&listener.sources.deny),
        "certificates": listener.certs.iter().map(CertName::as_str).collect::<Vec<_>>(),
        "strict_sni": listener.strict_sni,
        "routes": listener.routes.iter().map(route_of).collect::<Vec<_>>(),
        "origin": origin_of(&listener.origin),
    })
}

fn route_of(route: &Route) -> Value {
    let path = match &route.path {
        PathMatch::Exact(path) => json!({ "exact": &**path }),
        PathMatch::Prefix(path) => json!({ "prefix": &**path }),
        PathMatch::Regex(expression) => json!({ "regex": &**expression }),
    };
    let action = match &route.action {
        Action::Forward(pool) => json!({ "pool": pool.as_str() }),
        Action::RedirectHttps { port } => json!({ "redirect_https_port": port }),
        Action::NotFound => json!({ "answer": 404 }),
    };
    json!({ "host": route.host.to_string(), "path": path, "action": action, "origin": origin_of(&route.origin) })
}

fn pool_of(name: &PoolName, pool: &Pool) -> Value {
    json!({
        "name": name.as_str(),
        "balance": pool.balance.to_string(),
        "probe": pool.probe.as_ref().map(probe_of),
        "timeouts": {
            "connect": pool.timeouts.connect.as_secs_f64(),
            "response": pool.timeouts.response.as_secs_f64(),
            "idle": pool.timeouts.idle.as_secs_f64(),
        },
        "retries": pool.retries,
        "when_down": match pool.when_down { WhenDown::Try => "try", WhenDown::Refuse => "refuse" },
        "backends": pool.backends.iter().map(backend_of).collect::<Vec<_>>(),
        "origin": origin_of(&pool.origin),
    })
}

fn probe_of(probe: &Probe) -> Value {
    let kind = match &probe.kind {
        ProbeKind::Tcp => json!("tcp"),
        ProbeKind::Http { path, host, port } => {
            json!({ "http": { "path": &**path, "host": host.as_deref(), "port": port } })
        }
    };
    json!({
        "kind": kind,
        "every": probe.every.as_secs_f64(),
        "timeout": probe.timeout.as_secs_f64(),
        "fall": probe.fall,
        "rise": probe.rise,
    })
}

fn backend_of(backend: &Backend) -> Value {
    json!({
        "address": backend.address.to_string(),
        "instance": &*backend.instance,
        "weight": backend.weight,
        "state": backend.admin.to_string(),
        "backup": backend.backup,
    })
}

fn cert_of(name: &CertName, cert: &Cert) -> Value {
    json!({
        "name": name.as_str(),
        "names": cert.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "not_after": cert.not_after,
        "origin": origin_of(&cert.origin),
    })
}
