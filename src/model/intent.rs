//! Pure. What was asked: listeners, routes, pools and backends as plain values.
//!
//! Two intents that ask the same compare equal, so that an edit that changes nothing publishes nothing. Names are
//! those of the field, never of Kubernetes. Every source makes one of these (its *fragment*); `control::merge` folds
//! them into one. `Display` is the text that `sluice render` prints and that golden tests compare.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::host::HostPattern;
use super::problem::Origin;
use super::secret::Secret;

mod client;
pub mod filter;
pub mod http;
pub mod order;
pub mod pool;
pub mod speech;
pub mod sticky;
mod text;
pub mod tls;

pub use client::ClientLimits;
pub use filter::{Filters, Redirect};
pub use http::HttpRules;
pub use order::{Challenge, Order};
pub use pool::{
    Admin, Agent, Backend, Balance, Ejection, Failings, NamedBackend, Pool, Probe, ProbeKind, ProxyVersion, Queue,
    Timeouts, WhenDown,
};
pub use speech::Speech;
pub use sticky::{SameSite, Sticky, StickyCookie};
pub use tls::{Staple, TlsRules};

/// Everything that was asked, by one source or by all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Intent {
    /// What to listen on.
    pub listeners: BTreeMap<ListenerKey, Arc<Listener>>,
    /// Where traffic can go.
    pub pools: BTreeMap<PoolName, Arc<Pool>>,
    /// Certificates that listeners name.
    pub certs: BTreeMap<CertName, Arc<Cert>>,
    /// Certificates that listeners name and that are to be ordered. Those that were issued stand among the others.
    pub orders: BTreeMap<CertName, Arc<Order>>,
}

/// The transport of a listening socket.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Transport {
    /// A stream.
    Tcp,
    /// Datagrams.
    Udp,
}

/// A listening socket's identity: live counters and the socket itself are kept under it across swaps.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ListenerKey {
    /// Stream or datagrams.
    pub transport: Transport,
    /// The address as asked; port 0 lets the kernel choose, and the choice is in `ListenerState`.
    pub address: SocketAddr,
}

impl ListenerKey {
    /// The key of a TCP listener.
    pub fn tcp(address: SocketAddr) -> Self {
        Self { transport: Transport::Tcp, address }
    }

    /// The key of a UDP listener.
    pub fn udp(address: SocketAddr) -> Self {
        Self { transport: Transport::Udp, address }
    }

    /// The key of a listener that speaks `protocol`.
    pub fn of(protocol: Protocol, address: SocketAddr) -> Self {
        Self { transport: protocol.transport(), address }
    }

    /// Whether two different sockets cannot both have what they ask for: a specific address takes its part of an
    /// unspecified one's traffic away, or cannot be opened beside it. Port 0 is another one each time.
    pub fn overlaps(self, other: Self) -> bool {
        let (a, b) = (self.address, other.address);
        self != other
            && self.transport == other.transport
            && a.port() == b.port()
            && a.port() != 0
            // IPv6 sockets take IPv6 alone.
            && a.is_ipv4() == b.is_ipv4()
            && (a.ip().is_unspecified() || b.ip().is_unspecified())
    }

    /// Whether what is dialled at `address` comes in here, as far as it can be told by looking: a socket on all
    /// addresses has those of loopback, and others that only its host knows.
    pub fn is_at(self, address: SocketAddr) -> bool {
        let (own, ip) = (self.address.ip(), address.ip().to_canonical());
        self.address.port() == address.port()
            && (own == ip || (own.is_unspecified() && own.is_ipv4() == ip.is_ipv4() && ip.is_loopback()))
    }
}

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Protocol {
    /// Bytes, relayed as they are.
    Tcp,
    /// Datagrams, relayed as they are; those of one client address belong together (a *flow*).
    Udp,
    /// TLS that is not ended here: routed by the server name in the clear part of its first message.
    TlsPassthrough,
    /// HTTP/1.1 in the clear.
    Http,
    /// TLS ended here, then HTTP/2 or HTTP/1.1 as ALPN says.
    Https,
}

impl Protocol {
    /// What it is carried by.
    pub fn transport(self) -> Transport {
        match self {
            Self::Udp => Transport::Udp,
            Self::Tcp | Self::TlsPassthrough | Self::Http | Self::Https => Transport::Tcp,
        }
    }
}

/// One thing to listen on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listener {
    /// The name on metrics and in logs. Several addresses may share it.
    pub name: Arc<str>,
    /// What is spoken.
    pub protocol: Protocol,
    /// Where what arrives goes. `tcp` and `udp` use the first route that has a pool and look at nothing else of it;
    /// `tls-passthrough` looks at the host (the server name) and the ALPN.
    pub routes: Vec<Route>,
    /// Certificates to choose from by SNI (`https` only). The first is used when no name matches if `strict_sni` is
    /// false.
    pub certs: Vec<CertName>,
    /// Refuse handshakes whose SNI no certificate names, rather than answering with the first certificate. Listeners
    /// that are united on one address are strict when either is.
    pub strict_sni: bool,
    /// How TLS is spoken (`https` only).
    pub tls: TlsRules,
    /// Which sources may connect.
    pub sources: SourceRules,
    /// Sources whose connections begin with a PROXY protocol header, which names the client. Connections of others are
    /// closed unread. Empty: no header is expected of anyone.
    pub proxies: Vec<IpNet>,
    /// How requests are taken (`http` and `https` only).
    pub http: HttpRules,
    /// How much may come in.
    pub limits: Limits,
    /// How long a flow lives without a datagram in either direction (`udp` only). `None`: 60 s, and 10 s on port 53.
    pub flow_idle: Option<Duration>,
    /// Readiness waits until its socket is open. Never for what anyone in a cluster may ask for.
    pub essential: bool,
    /// Who asked first.
    pub origin: Origin,
}

/// Which client addresses may use a listener. `deny` wins; an empty `allow` allows all.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct SourceRules {
    /// Only these, if any are given.
    pub allow: Vec<IpNet>,
    /// Never these.
    pub deny: Vec<IpNet>,
}

/// How much may come in by one address of a listener. A *source* is an IPv4 address, or the /64 of an IPv6 address.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Limits {
    /// Connections open at once; for `udp`, flows remembered at once, of which the longest unused one gives way. 0: no
    /// limit of its own for connections, 65,536 for flows.
    pub connections: u32,
    /// Connections (or flows) of one source open at once; 0: no limit.
    pub per_source: u32,
    /// New connections (or flows) of one source in a time.
    pub rate: Option<Rate>,
    /// Bytes per second in each direction, of one connection.
    pub connection_bandwidth: Option<NonZeroU64>,
    /// Bytes per second in each direction, of all connections together.
    pub bandwidth: Option<NonZeroU64>,
    /// What each connection may do (`http` and `https` only).
    pub client: ClientLimits,
}

/// So many in a time; a burst of that many is let through at once.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Rate {
    /// How many, at least 1.
    pub count: u32,
    /// In this time: a second, a minute or an hour.
    pub per: Duration,
}

/// Which requests go where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// For which hosts; for `tls-passthrough`, for which server names.
    pub host: HostPattern,
    /// For clients that offer one of these application protocols (`tls-passthrough` only); empty: for all.
    pub alpn: Vec<Arc<str>>,
    /// For which paths.
    pub path: PathMatch,
    /// What is done.
    pub action: Action,
    /// What is done to its requests and answers on their way (`http` and `https` only); `None`: nothing.
    pub filters: Option<Arc<Filters>>,
    /// Who asked.
    pub origin: Origin,
}

impl Route {
    /// All pools that its requests may go to, and those that are asked about them.
    pub fn pools(&self) -> impl Iterator<Item = &PoolName> {
        self.action
            .pool()
            .into_iter()
            .chain(self.filters.iter().flat_map(|filters| filters.pools().map(|(_, pool)| pool)))
    }
}

/// What is done with a request that a route matches.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// It goes to a backend of this pool.
    Forward(PoolName),
    /// It is answered with 308 to the same host and path over https, on this port. The route's filters are for what goes
    /// to the pool; of all others they are asked where they come again.
    RedirectHttps {
        /// The port to name in the location; 443 is left out of it.
        port: u16,
        /// Where those go who came over https already, as a trusted proxy says.
        pool: Option<PoolName>,
    },
    /// It is answered with a redirect.
    Redirect(Arc<Redirect>),
    /// It is answered with 404, as if there were no route: broader ones must not have it.
    NotFound,
}

impl Action {
    /// The pool that requests may go to.
    pub fn pool(&self) -> Option<&PoolName> {
        match self {
            Self::Forward(pool) => Some(pool),
            Self::Redirect(_) | Self::RedirectHttps { .. } | Self::NotFound => self.beyond(),
        }
    }

    /// Of a redirect to https: the pool of those who are there already.
    pub fn beyond(&self) -> Option<&PoolName> {
        match self {
            Self::RedirectHttps { port: _, pool } => pool.as_ref(),
            Self::Redirect(redirect) => redirect.pool.as_ref(),
            Self::Forward(_) | Self::NotFound => None,
        }
    }
}

/// Which paths a route is for. Compared with the path of the request's normal form, byte by byte, case counts.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum PathMatch {
    /// This path alone.
    Exact(Arc<str>),
    /// This path and everything below it, by element: `/foo` matches `/foo`, `/foo/`, `/foo/bar`, never `/foobar`.
    Prefix(Arc<str>),
    /// Paths in which this expression is found; anchor it with `^`. Linear in time whatever the input.
    Regex(Arc<str>),
}

impl PathMatch {
    /// Every path.
    pub fn any() -> Self {
        Self::Prefix("/".into())
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name from any text.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// The name of a pool, unique over all sources: `site` from the file, `home/default/web:http` from a cluster.
    PoolName
);
name_type!(
    /// The name of a certificate, unique over all sources.
    CertName
);

/// A certificate chain and its key, parsed from PEM at the door of its source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cert {
    /// The names it answers for.
    pub names: Vec<HostPattern>,
    /// The chain in DER, the leaf first.
    pub chain: Vec<Arc<[u8]>>,
    /// The private key in DER.
    pub key: Secret,
    /// Since when the leaf is valid, in seconds since 1970.
    pub not_before: i64,
    /// When the leaf ends, in seconds since 1970.
    pub not_after: i64,
    /// The leaf asks that its authority's answer be sent along (RFC 7633).
    pub must_staple: bool,
    /// That answer, where one was given.
    pub staple: Option<Staple>,
    /// Who gave it.
    pub origin: Origin,
}
