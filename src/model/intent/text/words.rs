//! Pure. The words for what a listener, a route or a pool may choose among.

use std::fmt;

use crate::model::intent::{
    Action, Admin, Balance, ListenerKey, PathMatch, Protocol, ProxyVersion, SameSite, Transport,
};

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
            Self::RedirectHttps { port, pool } => {
                write!(f, "redirect https:{port}")?;
                pool.iter().try_for_each(|pool| write!(f, " or pool {pool}"))
            }
            Self::NotFound => f.write_str("404"),
        }
    }
}
