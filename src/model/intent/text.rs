//! Pure. An intent as text: what `sluice render` prints and golden tests compare. One thing a line, sorted, no secrets.

use std::fmt;

use super::{Action, Admin, Backend, Balance, Cert, CertName, Intent, Listener, ListenerKey, PathMatch, Pool, Probe};
use super::{ProbeKind, Protocol, Route, SourceRules, Timeouts, Transport, WhenDown};

// Values are taken apart whole, without `..`: a field that is added cannot be forgotten here.

impl fmt::Display for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listeners, pools, certs } = self;
        listeners.iter().try_for_each(|(key, listener)| write_listener(f, *key, listener))?;
        pools.iter().try_for_each(|(name, pool)| write_pool(f, name.as_str(), pool))?;
        certs.iter().try_for_each(|(name, cert)| write_cert(f, name, cert))
    }
}

fn write_listener(f: &mut fmt::Formatter<'_>, key: ListenerKey, listener: &Listener) -> fmt::Result {
    let Listener { name, protocol, routes, certs, strict_sni, essential, sources, origin } = listener;
    writeln!(f, "listener {name} {protocol} {key}  # {origin}")?;
    write_sources(f, sources)?;
    for cert in certs {
        writeln!(f, "  certificate {cert}")?;
    }
    if *strict_sni {
        writeln!(f, "  strict_sni")?;
    }
    if !essential {
        writeln!(f, "  not essential")?;
    }
    for Route { host, path, action, origin } in routes {
        writeln!(f, "  {host} {path} -> {action}  # {origin}")?;
    }
    Ok(())
}

fn write_sources(f: &mut fmt::Formatter<'_>, sources: &SourceRules) -> fmt::Result {
    let SourceRules { allow, deny } = sources;
    for (word, ranges) in [("allow", allow), ("deny", deny)] {
        if !ranges.is_empty() {
            write!(f, "  {word}")?;
            for range in ranges {
                write!(f, " {range}")?;
            }
            writeln!(f)?;
        }
    }
    Ok(())
}

fn write_pool(f: &mut fmt::Formatter<'_>, name: &str, pool: &Pool) -> fmt::Result {
    let Pool { balance, probe, timeouts, retries, when_down, backends, is_refused: _, origin } = pool;
    write!(f, "pool {name} {balance}")?;
    match probe {
        None => write!(f, " probe none")?,
        Some(probe) => write_probe(f, probe)?,
    }
    if *when_down == WhenDown::Refuse {
        write!(f, " when_down refuse")?;
    }
    writeln!(f, "  # {origin}")?;
    let Timeouts { connect, response, idle } = timeouts;
    writeln!(f, "  connect {connect:?} response {response:?} idle {idle:?} retries {retries}")?;
    backends.iter().try_for_each(|backend| write_backend(f, backend))
}

fn write_probe(f: &mut fmt::Formatter<'_>, probe: &Probe) -> fmt::Result {
    let Probe { kind, every, timeout, fall, rise } = probe;
    match kind {
        ProbeKind::Tcp => write!(f, " probe tcp")?,
        ProbeKind::Http { path, host, port } => {
            write!(f, " probe http {path}")?;
            if let Some(host) = host {
                write!(f, " host {host}")?;
            }
            if let Some(port) = port {
                write!(f, " port {port}")?;
            }
        }
    }
    write!(f, " every {every:?} timeout {timeout:?} fall {fall} rise {rise}")
}

fn write_backend(f: &mut fmt::Formatter<'_>, backend: &Backend) -> fmt::Result {
    let Backend { address, instance, weight, admin, backup } = backend;
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
    writeln!(f)
}

fn write_cert(f: &mut fmt::Formatter<'_>, name: &CertName, cert: &Cert) -> fmt::Result {
    // The chain and the key are never shown; when it ends is no part of what was asked.
    let Cert { names, chain: _, key: _, not_after: _, origin } = cert;
    write!(f, "certificate {name}  # {origin}\n  names")?;
    for host in names {
        write!(f, " {host}")?;
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
            Self::RedirectHttps { port } => write!(f, "redirect https:{port}"),
            Self::NotFound => f.write_str("404"),
        }
    }
}
