//! Pure. An intent as text: what `sluice render` prints and golden tests compare. One thing a line, sorted, no secrets.

use std::fmt;

use super::{Action, Admin, Backend, Balance, Intent, Listener, ListenerKey, PathMatch, Pool, ProbeKind, Protocol};
use super::{SourceRules, Transport, WhenDown};

impl fmt::Display for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, listener) in &self.listeners {
            write_listener(f, *key, listener)?;
        }
        for (name, pool) in &self.pools {
            write_pool(f, name.as_str(), pool)?;
        }
        for (name, cert) in &self.certs {
            write!(f, "certificate {name}  # {}\n  names", cert.origin)?;
            for host in &cert.names {
                write!(f, " {host}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn write_listener(f: &mut fmt::Formatter<'_>, key: ListenerKey, listener: &Listener) -> fmt::Result {
    writeln!(f, "listener {} {} {key}  # {}", listener.name, listener.protocol, listener.origin)?;
    write_sources(f, &listener.sources)?;
    for cert in &listener.certs {
        writeln!(f, "  certificate {cert}")?;
    }
    for route in &listener.routes {
        writeln!(f, "  {} {} -> {}  # {}", route.host, route.path, route.action, route.origin)?;
    }
    Ok(())
}

fn write_sources(f: &mut fmt::Formatter<'_>, sources: &SourceRules) -> fmt::Result {
    for (word, ranges) in [("allow", &sources.allow), ("deny", &sources.deny)] {
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
    write!(f, "pool {name} {}", pool.balance)?;
    match &pool.probe {
        None => write!(f, " probe none")?,
        Some(probe) => {
            match &probe.kind {
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
            write!(f, " every {:?} timeout {:?} fall {} rise {}", probe.every, probe.timeout, probe.fall, probe.rise)?;
        }
    }
    if pool.when_down == WhenDown::Refuse {
        write!(f, " when_down refuse")?;
    }
    writeln!(f, "  # {}", pool.origin)?;
    let t = pool.timeouts;
    writeln!(f, "  connect {:?} response {:?} idle {:?} retries {}", t.connect, t.response, t.idle, pool.retries)?;
    pool.backends.iter().try_for_each(|b| write_backend(f, b))
}

fn write_backend(f: &mut fmt::Formatter<'_>, backend: &Backend) -> fmt::Result {
    write!(f, "  backend {} weight {}", backend.address, backend.weight)?;
    if backend.admin != Admin::Ready {
        write!(f, " {}", backend.admin)?;
    }
    if backend.backup {
        write!(f, " backup")?;
    }
    if !backend.instance.is_empty() {
        write!(f, " instance {}", backend.instance)?;
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
