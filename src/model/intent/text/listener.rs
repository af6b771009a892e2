//! Pure. A listener as text: who may connect, what one client may take, and its routes.

use std::fmt;

use crate::model::intent::tls::ClientAuth;
use crate::model::intent::{
    ClientLimits, HttpRules, Limits, Listener, ListenerKey, Rate, Route, SourceRules, TlsRules,
};
use crate::model::path::PathRules;

// Values are taken apart whole, without `..`: a field that is added cannot be forgotten here.

pub(super) fn write_listener(f: &mut fmt::Formatter<'_>, key: ListenerKey, listener: &Listener) -> fmt::Result {
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
