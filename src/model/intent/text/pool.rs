//! Pure. A pool as text: how it is balanced, checked and spared, and its backends.

use std::fmt;

use crate::model::intent::{
    Admin, Agent, Backend, Ejection, Failings, NamedBackend, Pool, Probe, ProbeKind, Queue, SameSite, Speech, Sticky,
    StickyCookie, Timeouts, WhenDown,
};

// Values are taken apart whole, without `..`: a field that is added cannot be forgotten here.

pub(super) fn write_pool(f: &mut fmt::Formatter<'_>, name: &str, pool: &Pool) -> fmt::Result {
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
