//! Pure. What was asked: listeners, routes, pools and backends as plain values.
//!
//! Two intents that ask the same compare equal, so that an edit that changes nothing publishes nothing. Names are
//! those of the field, never of Kubernetes. Every source makes one of these (its *fragment*); `control::merge` folds
//! them into one. `Display` is the text that `sluice render` prints and that golden tests compare.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::host::HostPattern;
use super::problem::Origin;
use super::secret::Secret;

mod text;

/// Everything that was asked, by one source or by all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Intent {
    /// What to listen on.
    pub listeners: BTreeMap<ListenerKey, Arc<Listener>>,
    /// Where traffic can go.
    pub pools: BTreeMap<PoolName, Arc<Pool>>,
    /// Certificates that listeners name.
    pub certs: BTreeMap<CertName, Arc<Cert>>,
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
}

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Protocol {
    /// Bytes, relayed as they are.
    Tcp,
    /// HTTP/1.1 in the clear.
    Http,
    /// TLS ended here, then HTTP/2 or HTTP/1.1 as ALPN says.
    Https,
}

/// One thing to listen on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listener {
    /// The name on metrics and in logs. Several addresses may share it.
    pub name: Arc<str>,
    /// What is spoken.
    pub protocol: Protocol,
    /// Where what arrives goes. `tcp` uses the first route that has a pool and looks at nothing else of it.
    pub routes: Vec<Route>,
    /// Certificates to choose from by SNI (`https` only). The first is used when no name matches if `strict_sni` is
    /// false.
    pub certs: Vec<CertName>,
    /// Refuse handshakes whose SNI no certificate names, rather than answering with the first certificate. Listeners
    /// that are united on one address are strict when either is.
    pub strict_sni: bool,
    /// Which sources may connect.
    pub sources: SourceRules,
    /// Readiness waits until its socket is open. Never for what anyone in a cluster may ask for.
    pub essential: bool,
    /// Who asked first.
    pub origin: Origin,
}

/// Which client addresses may use a listener. `deny` wins; an empty `allow` allows all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SourceRules {
    /// Only these, if any are given.
    pub allow: Vec<IpNet>,
    /// Never these.
    pub deny: Vec<IpNet>,
}

/// Which requests go where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// For which hosts.
    pub host: HostPattern,
    /// For which paths.
    pub path: PathMatch,
    /// What is done.
    pub action: Action,
    /// Who asked.
    pub origin: Origin,
}

/// What is done with a request that a route matches.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// It goes to a backend of this pool.
    Forward(PoolName),
    /// It is answered with 308 to the same host and path over https, on this port.
    RedirectHttps {
        /// The port to name in the location; 443 is left out of it.
        port: u16,
    },
    /// It is answered with 404, as if there were no route: broader ones must not have it.
    NotFound,
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

/// Backends that serve the same thing, and how to choose among them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pool {
    /// How a backend is picked.
    pub balance: Balance,
    /// How backends are checked; `None` takes each as up.
    pub probe: Option<Probe>,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// How often another backend is tried after a failure, 0 to 10.
    pub retries: u8,
    /// What to do when no backend is available.
    pub when_down: WhenDown,
    /// The backends, in the order given.
    pub backends: Vec<Backend>,
    /// Its source cannot fill it and has told why, so that nobody tells once more that it has no backend.
    pub is_refused: bool,
    /// Who asked.
    pub origin: Origin,
}

impl Pool {
    /// A pool with every default and no backend.
    pub fn new(origin: Origin) -> Self {
        Self {
            balance: Balance::default(),
            probe: Some(Probe::default()),
            timeouts: Timeouts::default(),
            retries: 2,
            when_down: WhenDown::default(),
            backends: Vec::new(),
            is_refused: false,
            origin,
        }
    }
}

/// How a backend is picked.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Balance {
    /// Each in turn, as often as its weight says.
    #[default]
    RoundRobin,
    /// The less busy of two drawn by weight.
    LeastConnections,
}

/// What to do when no backend of a pool is available.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum WhenDown {
    /// Try them all the same: a wrong probe must not take a site down (fail open).
    #[default]
    Try,
    /// Refuse at once.
    Refuse,
}

/// How backends of a pool are checked.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Probe {
    /// What is tried.
    pub kind: ProbeKind,
    /// Time between two checks, at least 100 ms.
    pub every: Duration,
    /// How long one check may take.
    pub timeout: Duration,
    /// Failures in a row until a backend is down, at least 1.
    pub fall: u32,
    /// Successes in a row until a backend is up again, at least 1.
    pub rise: u32,
}

impl Default for Probe {
    fn default() -> Self {
        Self { kind: ProbeKind::Tcp, every: Duration::from_secs(1), timeout: Duration::from_secs(1), fall: 2, rise: 1 }
    }
}

/// What a check tries.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum ProbeKind {
    /// A connection can be opened.
    Tcp,
    /// `GET` of the path answers with a status from 200 to 399.
    Http {
        /// The request target, beginning with `/`.
        path: Arc<str>,
        /// The Host header; the backend's address when not given.
        host: Option<Arc<str>>,
        /// Another port than the backend's own.
        port: Option<u16>,
    },
}

/// How long each step towards a backend may take.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Timeouts {
    /// To open a connection.
    pub connect: Duration,
    /// From the end of the request's head to the head of the answer.
    pub response: Duration,
    /// Without a byte in either direction, for `tcp` and for upgraded connections.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(1), response: Duration::from_secs(60), idle: Duration::from_secs(3600) }
    }
}

/// One place traffic can go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Backend {
    /// Where it is dialled.
    pub address: SocketAddr,
    /// Who lives there: a pod's UID or a node's name; empty from the file. A re-used address with another instance
    /// starts with clean counters and a clean verdict.
    pub instance: Arc<str>,
    /// Share of the traffic, 0 to 256; 0 takes none.
    pub weight: u16,
    /// What its owner wishes.
    pub admin: Admin,
    /// Used only when no other backend is available.
    pub backup: bool,
}

impl Backend {
    /// A ready backend of weight 1.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, instance: "".into(), weight: 1, admin: Admin::Ready, backup: false }
    }
}

/// What the owner of a backend wishes, as opposed to what probes find.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Admin {
    /// Takes traffic.
    #[default]
    Ready,
    /// Finishes what it has, takes nothing new.
    Drain,
    /// Takes nothing.
    Maintain,
}

/// A certificate chain and its key, parsed from PEM at the door of its source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cert {
    /// The names it answers for.
    pub names: Vec<HostPattern>,
    /// The chain in DER, the leaf first.
    pub chain: Vec<Arc<[u8]>>,
    /// The private key in DER.
    pub key: Secret,
    /// When the leaf ends, in seconds since 1970.
    pub not_after: i64,
    /// Who gave it.
    pub origin: Origin,
}
