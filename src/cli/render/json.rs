//! Pure. An intent as JSON. Keys are part of the interface: they may be added to, never renamed. No secrets.

use serde_json::{Value, json};

use crate::model::intent::speech::BackendTls;
use crate::model::intent::tls::ClientAuth;
use crate::model::intent::{
    Action, Agent, Backend, Cert, CertName, ClientLimits, Ejection, HttpRules, Intent, Limits, Listener, ListenerKey,
    NamedBackend, Order, PathMatch, Pool, PoolName, Probe, ProbeKind, Queue, Rate, Route, SourceRules, Sticky,
    StickyCookie, Timeouts, TlsRules, WhenDown,
};
use crate::model::problem::{Origin, Problem};

// Values are taken apart whole, without `..`: a field that is added cannot be forgotten here.

/// Everything that is asked, and what of it cannot be served. Times are in seconds, `not_after` in seconds since 1970.
pub(super) fn of(intent: &Intent, problems: &[Problem]) -> Value {
    let Intent { listeners, pools, certs, orders } = intent;
    json!({
        "listeners": listeners.iter().map(|(key, listener)| listener_of(key, listener)).collect::<Vec<_>>(),
        "pools": pools.iter().map(|(name, pool)| pool_of(name, pool)).collect::<Vec<_>>(),
        "certificates": certs.iter().map(|(name, cert)| cert_of(name, cert)).collect::<Vec<_>>(),
        "orders": orders.values().map(|order| order_of(order)).collect::<Vec<_>>(),
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
    let Listener {
        name,
        protocol,
        routes,
        certs,
        strict_sni,
        tls,
        essential,
        sources: SourceRules { allow, deny },
        proxies,
        http: HttpRules { paths, trusted_proxies },
        limits,
        flow_idle,
        origin,
    } = listener;
    let Limits { connections, per_source, rate, connection_bandwidth, bandwidth, client } = limits;
    let ClientLimits { handshake, head, body, stall, keep_alive, requests } = client;
    let ranges = |ranges: &[ipnet::IpNet]| ranges.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "name": &**name,
        "address": key.address.to_string(),
        "protocol": protocol.to_string(),
        "allow": ranges(allow),
        "deny": ranges(deny),
        "accept_proxy_protocol": ranges(proxies),
        "paths": paths,
        "trusted_proxies": ranges(trusted_proxies),
        "max_connections": connections,
        "per_source": {
            "connections": per_source,
            "rate": rate.map(|Rate { count, per }| json!({ "count": count, "per": per.as_secs_f64() })),
        },
        "bandwidth": { "connection": connection_bandwidth, "total": bandwidth },
        "timeouts": {
            "handshake": handshake.as_secs_f64(),
            "head": head.as_secs_f64(),
            "body": body.as_secs_f64(),
            "stall": stall.as_secs_f64(),
            "keep_alive": keep_alive.as_secs_f64(),
        },
        "requests_per_connection": requests,
        "flow_idle": flow_idle.map(|idle| idle.as_secs_f64()),
        "certificates": certs.iter().map(CertName::as_str).collect::<Vec<_>>(),
        "strict_sni": strict_sni,
        "tls": tls_of(tls),
        "essential": essential,
        "routes": routes.iter().map(route_of).collect::<Vec<_>>(),
        "origin": origin_of(origin),
    })
}

fn tls_of(rules: &TlsRules) -> Value {
    let TlsRules { min_version, alpn, client_auth } = rules;
    json!({
        "min_version": min_version.label(),
        "alpn": alpn.iter().map(|alpn| alpn.label()).collect::<Vec<_>>(),
        "client_auth": client_auth.as_ref().map(|ClientAuth { mode, roots, crls, tell }| json!({
            "mode": mode.label(),
            "authorities": roots.len(),
            "crls": crls.len(),
            "forward": tell.label(),
        })),
    })
}

fn route_of(route: &Route) -> Value {
    let Route { host, alpn, path, action, filters, origin } = route;
    let path = match path {
        PathMatch::Exact(path) => json!({ "exact": &**path }),
        PathMatch::Prefix(path) => json!({ "prefix": &**path }),
        PathMatch::Regex(expression) => json!({ "regex": &**expression }),
    };
    let action = match action {
        Action::Forward(pool) => json!({ "pool": pool.as_str() }),
        Action::Redirect(redirect) => json!({ "redirect": &**redirect }),
        Action::RedirectHttps { port, pool } => {
            json!({ "redirect_https_port": port, "pool": pool.as_ref().map(PoolName::as_str) })
        }
        Action::NotFound => json!({ "answer": 404 }),
    };
    let alpn: Vec<&str> = alpn.iter().map(|protocol| &**protocol).collect();
    json!({
        "host": host.to_string(),
        "alpn": alpn,
        "path": path,
        "action": action,
        "filters": filters,
        "origin": origin_of(origin),
    })
}

fn pool_of(name: &PoolName, pool: &Pool) -> Value {
    let Pool {
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
    } = pool;
    let Timeouts { connect, response, idle, half_closed, stall } = timeouts;
    json!({
        "name": name.as_str(),
        "balance": balance.to_string(),
        "sticky": sticky.as_ref().map(sticky_of),
        "probe": probe.as_ref().map(probe_of),
        "agent": agent.as_ref().map(|Agent { port, every }| json!({ "port": port, "every": every.as_secs_f64() })),
        "ejection": ejection.map(|Ejection { failures, time, on }| {
            json!({ "failures": failures, "time": time.as_secs_f64(), "on": on.counted() })
        }),
        "slow_start": slow_start.as_secs_f64(),
        "max_connections": max_connections,
        "queue": { "length": length, "wait": wait.as_secs_f64() },
        "protocol": speech.name(),
        "tls": speech.tls.as_deref().map(backend_tls_of),
        "send_proxy_protocol": send_proxy.map(|version| version.to_string()),
        "timeouts": {
            "connect": connect.as_secs_f64(),
            "response": response.as_secs_f64(),
            "idle": idle.as_secs_f64(),
            "half_closed": half_closed.as_secs_f64(),
            "stall": stall.as_secs_f64(),
        },
        "retries": retries,
        "retry_budget": retry_budget,
        "retry_on": retry_on,
        "when_down": match when_down { WhenDown::Try => "try", WhenDown::Refuse => "refuse" },
        "backends": backends.iter().map(backend_of).collect::<Vec<_>>(),
        "names": names.iter().map(name_of).collect::<Vec<_>>(),
        "origin": origin_of(origin),
    })
}

fn sticky_of(sticky: &Sticky) -> Value {
    match sticky {
        Sticky::Source { timeout } => json!({ "by": "source", "timeout": timeout.as_secs_f64() }),
        Sticky::Cookie(StickyCookie { name, ttl, secure, same_site, key }) => json!({
            "by": "cookie",
            "name": &**name,
            "ttl": ttl.map(|ttl| ttl.as_secs_f64()),
            "secure": secure,
            "same_site": same_site.to_string(),
            "has_key": key.is_some(),
        }),
    }
}

fn backend_tls_of(tls: &BackendTls) -> Value {
    let BackendTls { verify, name, identity } = tls;
    json!({ "verify": verify.name(), "name": name.as_deref(), "client_certificate": identity.is_some() })
}

fn probe_of(probe: &Probe) -> Value {
    let Probe { kind, every, timeout, fall, rise } = probe;
    let kind = match kind {
        ProbeKind::Tcp => json!("tcp"),
        ProbeKind::Http { path, host, port, tls } => {
            json!({ "http": { "path": &**path, "host": host.as_deref(), "port": port, "tls": tls } })
        }
        ProbeKind::Grpc { service, port } => json!({ "grpc": { "service": &**service, "port": port } }),
    };
    json!({
        "kind": kind,
        "every": every.as_secs_f64(),
        "timeout": timeout.as_secs_f64(),
        "fall": fall,
        "rise": rise,
    })
}

fn backend_of(backend: &Backend) -> Value {
    let Backend { address, instance, node, weight, admin, backup } = backend;
    json!({
        "address": address.to_string(),
        "instance": &**instance,
        "node": &**node,
        "weight": weight,
        "state": admin.to_string(),
        "backup": backup,
    })
}

fn name_of(name: &NamedBackend) -> Value {
    let NamedBackend { host, port, weight, admin, backup } = name;
    json!({
        "host": &**host,
        "port": port,
        "weight": weight,
        "state": admin.to_string(),
        "backup": backup,
    })
}

fn cert_of(name: &CertName, cert: &Cert) -> Value {
    let Cert { names, chain: _, key: _, not_before: _, not_after, must_staple, staple, origin } = cert;
    json!({
        "name": name.as_str(),
        "names": names.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "not_after": not_after,
        "must_staple": must_staple,
        "ocsp": staple.as_ref().is_some_and(|staple| staple.response().is_some()),
        "origin": origin_of(origin),
    })
}

fn order_of(order: &Order) -> Value {
    let Order { hosts, directory, email, roots, challenge, origin } = order;
    json!({
        "name": order.name().as_str(),
        "hosts": hosts.iter().map(|host| host.as_str()).collect::<Vec<_>>(),
        "directory": &**directory,
        "email": email.as_deref(),
        "roots": roots.len(),
        "challenge": challenge.map(|challenge| challenge.to_string()),
        "origin": origin_of(origin),
    })
}
