//! Pure. An intent as text: what `sluice render` prints and golden tests compare. One thing a line, sorted, no secrets.

use std::fmt;

use super::tls::ClientAuth;
use super::{
    Action, Admin, Agent, Backend, Balance, Cert, CertName, ClientLimits, Ejection, Failings, HttpRules, Intent,
    Limits, Listener, ListenerKey, NamedBackend, Order, PathMatch, Pool, Probe, ProbeKind, Protocol, ProxyVersion,
    Queue, Rate, Route, SameSite, SourceRules, Speech, Staple, Sticky, StickyCookie, Timeouts, TlsRules, Transport,
    WhenDown,
};
use crate::model::path::PathRules;

// Values are taken apart whole, without `..`: a field that is added cannot be forgotten here.

impl fmt::Display for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listeners, pools, certs, orders } = self;
        listeners.iter().try_for_each(|(key, listener)| write_listener(f, *key, listener))?;
        pools.iter().try_for_each(|(name, pool)| write_pool(f, name.as_str(), pool))?;
        certs.iter().try_for_each(|(name, cert)| write_cert(f, name, cert))?;
        orders.values().try_for_each(|order| write_order(f, order))
    }
}

fn write_listener(f: &mut fmt::Formatter<'_>, key: ListenerKey, listener: &Listener) -> fmt::Result {
    let Listener {
        name,
        protocol,
        routes,
        certs,
        strict_sni,
        essential,
        http,
        proxies,
        sources,
        tls,
        limits,
        flow_idle,
        origin,
    } = listener;
    writeln!(f, "listener {name} {protocol} {key}  # {origin}")?;
    let SourceRules { allow, deny } = sources;
    for (word, ranges) in [("allow", allow), ("deny", deny), ("proxies", proxies)] {
        write_ranges(f, word, ranges)?;
    }
    write_http(f, http)?;
    write_limits(f, limits)?;
    if let Some(idle) = flow_idle {
        writeln!(f, "  flow_idle {idle:?}")?;
    }
    for cert in certs {
        writeln!(f, "  certificate {cert}")?;
    }
    if *strict_sni {
        writeln!(f, "  strict_sni")?;
    }
    write_tls(f, tls)?;
    if !essential {
        writeln!(f, "  not essential")?;
    }
    for Route { host, alpn, path, action, filters, origin } in routes {
        write!(f, "  {host} {path}")?;
        if !alpn.is_empty() {
            write!(f, " alpn {}", alpn.join(","))?;
        }
        writeln!(f, " -> {action}  # {origin}")?;
        if let Some(filters) = filters {
            writeln!(f, "    filters {}", serde_json::to_string(filters).map_err(|_| fmt::Error)?)?;
        }
    }
    Ok(())
}

/// What differs from the usual way.
fn write_tls(f: &mut fmt::Formatter<'_>, rules: &TlsRules) -> fmt::Result {
    let TlsRules { min_version, alpn, client_auth } = rules;
    let usual = TlsRules::default();
    if *min_version != usual.min_version {
        writeln!(f, "  tls min_version {}", min_version.label())?;
    }
    if *alpn != usual.alpn {
        writeln!(f, "  tls alpn {}", alpn.iter().map(|alpn| alpn.label()).collect::<Vec<_>>().join(","))?;
    }
    if let Some(ClientAuth { mode, roots, crls, tell }) = client_auth {
        write!(f, "  tls client_auth {} ca {} crl {}", mode.label(), roots.len(), crls.len())?;
        writeln!(f, " forward {}", tell.label())?;
    }
    Ok(())
}

fn write_ranges(f: &mut fmt::Formatter<'_>, word: &str, ranges: &[ipnet::IpNet]) -> fmt::Result {
    if ranges.is_empty() {
        return Ok(());
    }
    write!(f, "  {word}")?;
    ranges.iter().try_for_each(|range| write!(f, " {range}"))?;
    writeln!(f)
}

fn write_http(f: &mut fmt::Formatter<'_>, http: &HttpRules) -> fmt::Result {
    let HttpRules { paths, trusted_proxies } = http;
    if *paths != PathRules::default() {
        writeln!(f, "  paths {}", serde_json::to_string(paths).map_err(|_| fmt::Error)?)?;
    }
    write_ranges(f, "trusted_proxies", trusted_proxies)
}

fn write_limits(f: &mut fmt::Formatter<'_>, limits: &Limits) -> fmt::Result {
    let Limits { connections, per_source, rate, connection_bandwidth, bandwidth, client } = limits;
    if *limits == Limits::default() {
        return Ok(());
    }
    write!(f, "  limits")?;
    for (word, most) in [("connections", connections), ("per_source", per_source)] {
        if *most > 0 {
            write!(f, " {word} {most}")?;
        }
    }
    if let Some(Rate { count, per }) = rate {
        write!(f, " rate {count} in {per:?}")?;
    }
    for (word, bytes) in [("connection_bandwidth", connection_bandwidth), ("bandwidth", bandwidth)] {
        if let Some(bytes) = bytes {
            write!(f, " {word} {bytes}")?;
        }
    }
    write_client(f, client)?;
    writeln!(f)
}

/// What each client may do, where it is not the usual.
fn write_client(f: &mut fmt::Formatter<'_>, client: &ClientLimits) -> fmt::Result {
    let ClientLimits { handshake, head, body, stall, keep_alive, requests } = client;
    let usual = ClientLimits::default();
    for (word, time, usual) in [
        ("handshake", handshake, usual.handshake),
        ("head", head, usual.head),
        ("body", body, usual.body),
        ("stall", stall, usual.stall),
        ("keep_alive", keep_alive, usual.keep_alive),
    ] {
        if *time != usual {
            write!(f, " {word} {time:?}")?;
        }
    }
    if *requests != usual.requests {
        write!(f, " requests {requests}")?;
    }
    Ok(())
}

fn write_pool(f: &mut fmt::Formatter<'_>, name: &str, pool: &Pool) -> fmt::Result {
    let Pool {
        balance,
        sticky,
        probe,
        agent,
        ejection,
        slow_start,
        max_connections,
        queue,
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
    write!(f, "pool {name} {balance}")?;
    match sticky {
        None => {}
        Some(Sticky::Source { timeout }) => write!(f, " sticky {timeout:?}")?,
        Some(Sticky::Cookie(cookie)) => write_cookie(f, cookie)?,
    }
    match probe {
        None => write!(f, " probe none")?,
        Some(probe) => write_probe(f, probe)?,
    }
    if let Some(Agent { port, every }) = agent {
        write!(f, " agent port {port} every {every:?}")?;
    }
    if *when_down == WhenDown::Refuse {
        write!(f, " when_down refuse")?;
    }
    if *speech != Speech::PLAIN {
        write!(f, " speaks {speech}")?;
    }
    if let Some(version) = send_proxy {
        write!(f, " send_proxy {version}")?;
    }
    writeln!(f, "  # {origin}")?;
    let Timeouts { connect, response, idle, half_closed, stall } = timeouts;
    write!(f, "  connect {connect:?} response {response:?} idle {idle:?}")?;
    let usual = Timeouts::default();
    for (word, time, usual) in [("half_closed", half_closed, usual.half_closed), ("stall", stall, usual.stall)] {
        if *time != usual {
            write!(f, " {word} {time:?}")?;
        }
    }
    write!(f, " retries {retries}")?;
    match retry_budget {
        None => write!(f, " budget none")?,
        Some(20) => {}
        Some(percent) => write!(f, " budget {percent}%")?,
    }
    if !retry_on.is_empty() {
        write!(f, " on")?;
        retry_on.iter().try_for_each(|status| write!(f, " {status}"))?;
    }
    writeln!(f)?;
    write_care(f, ejection.as_ref(), *slow_start)?;
    if *max_connections > 0 {
        let Queue { length, wait } = queue;
        writeln!(f, "  max_connections {max_connections} queue {length} wait {wait:?}")?;
    }
    backends.iter().try_for_each(|backend| write_backend(f, backend))?;
    names.iter().try_for_each(|name| write_name(f, name))
}

fn write_cookie(f: &mut fmt::Formatter<'_>, cookie: &StickyCookie) -> fmt::Result {
    let StickyCookie { name, ttl, secure, same_site, key } = cookie;
    write!(f, " sticky cookie {name}")?;
    if let Some(ttl) = ttl {
        write!(f, " ttl {ttl:?}")?;
    }
    if let Some(secure) = secure {
        write!(f, " secure {secure}")?;
    }
    if *same_site != SameSite::default() {
        write!(f, " same_site {same_site}")?;
    }
    if key.is_some() {
        write!(f, " key hidden")?;
    }
    Ok(())
}

/// How backends are spared, where it is not the usual way.
fn write_care(f: &mut fmt::Formatter<'_>, ejection: Option<&Ejection>, slow_start: std::time::Duration) -> fmt::Result {
    match ejection {
        None => writeln!(f, "  ejection none")?,
        Some(ejection) if *ejection == Ejection::default() => {}
        Some(Ejection { failures, time, on }) => {
            write!(f, "  ejection failures {failures} time {time:?}")?;
            if *on != Failings::default() {
                write!(f, " on {}", on.counted().join(","))?;
            }
            writeln!(f)?;
        }
    }
    if !slow_start.is_zero() {
        writeln!(f, "  slow_start {slow_start:?}")?;
    }
    Ok(())
}

fn write_probe(f: &mut fmt::Formatter<'_>, probe: &Probe) -> fmt::Result {
    let Probe { kind, every, timeout, fall, rise } = probe;
    match kind {
        ProbeKind::Tcp => write!(f, " probe tcp")?,
        ProbeKind::Http { path, host, port, tls } => {
            write!(f, " probe http{} {path}", if *tls { "s" } else { "" })?;
            if let Some(host) = host {
                write!(f, " host {host}")?;
            }
            if let Some(port) = port {
                write!(f, " port {port}")?;
            }
        }
        ProbeKind::Grpc { service, port } => {
            write!(f, " probe grpc {service:?}")?;
            if let Some(port) = port {
                write!(f, " port {port}")?;
            }
        }
    }
    write!(f, " every {every:?} timeout {timeout:?} fall {fall} rise {rise}")
}

fn write_backend(f: &mut fmt::Formatter<'_>, backend: &Backend) -> fmt::Result {
    let Backend { address, instance, node, weight, admin, backup } = backend;
    write!(f, "  backend {address} weight {weight}")?;
    if *admin != Admin::Ready {
        write!(f, " {admin}")?;
    }
    if *backup {
        write!(f, " backup")?;
    }
    if !instance.is_empty() {
        write!(f, " instance {instance}")?;
    }
    if !node.is_empty() && node != instance {
        write!(f, " node {node}")?;
    }
    writeln!(f)
}

fn write_name(f: &mut fmt::Formatter<'_>, name: &NamedBackend) -> fmt::Result {
    let NamedBackend { host, port, weight, admin, backup } = name;
    write!(f, "  name {host}:{port} weight {weight}")?;
    if *admin != Admin::Ready {
        write!(f, " {admin}")?;
    }
    if *backup {
        write!(f, " backup")?;
    }
    writeln!(f)
}

fn write_cert(f: &mut fmt::Formatter<'_>, name: &CertName, cert: &Cert) -> fmt::Result {
    // The chain and the key are never shown; when it ends is no part of what was asked.
    let Cert { names, chain: _, key: _, not_before: _, not_after: _, must_staple: _, staple, origin } = cert;
    write!(f, "certificate {name}  # {origin}\n  names")?;
    for host in names {
        write!(f, " {host}")?;
    }
    writeln!(f)?;
    match staple {
        None => Ok(()),
        Some(Staple::Good { .. }) => writeln!(f, "  ocsp"),
        Some(Staple::Unusable(_)) => writeln!(f, "  ocsp unusable"),
    }
}

fn write_order(f: &mut fmt::Formatter<'_>, order: &Order) -> fmt::Result {
    let Order { hosts: _, directory, email, roots, challenge, origin } = order;
    write!(f, "order {}  # {origin}\n  from {directory}", order.name())?;
    if let Some(email) = email {
        write!(f, " email {email}")?;
    }
    if !roots.is_empty() {
        write!(f, " roots {}", roots.len())?;
    }
    if let Some(challenge) = challenge {
        write!(f, " challenge {challenge}")?;
    }
    writeln!(f)
}

impl fmt::Display for ListenerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        write!(f, "{transport}://{}", self.address)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::TlsPassthrough => "tls-passthrough",
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RoundRobin => "round-robin",
            Self::LeastConnections => "least-connections",
            Self::RandomTwo => "random-two",
            Self::HashSource => "hash source",
            Self::HashUri => "hash uri",
            Self::HashHeader(name) => return write!(f, "hash header {name}"),
            Self::HashCookie(name) => return write!(f, "hash cookie {name}"),
            Self::First => "first",
        })
    }
}

impl fmt::Display for SameSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lax => "lax",
            Self::Strict => "strict",
            Self::None => "none",
        })
    }
}

impl fmt::Display for ProxyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        })
    }
}

impl fmt::Display for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maintain => "maintain",
        })
    }
}

impl fmt::Display for PathMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => write!(f, "= {path}"),
            Self::Prefix(path) => write!(f, "{path}"),
            Self::Regex(expression) => write!(f, "~ {expression}"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward(pool) => write!(f, "pool {pool}"),
            Self::Redirect(redirect) => write!(f, "{redirect}"),
            Self::RedirectHttps { port } => write!(f, "redirect https:{port}"),
            Self::NotFound => f.write_str("404"),
        }
    }
}
