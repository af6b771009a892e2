//! Pure. What was asked of a pool: its backends, how one is picked, how they are checked and spared.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Sticky;
use super::speech::Speech;
use crate::model::problem::Origin;

/// Backends that serve the same thing, and how to choose among them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pool {
    /// How a backend is picked.
    pub balance: Balance,
    /// Clients go to the backend that they went to last.
    pub sticky: Option<Sticky>,
    /// How backends are checked; `None` takes each as up.
    pub probe: Option<Probe>,
    /// Backends are asked for their own opinion too.
    pub agent: Option<Agent>,
    /// Backends that fail real traffic are left out for a while; `None`: traffic is no evidence.
    pub ejection: Option<Ejection>,
    /// A backend that came up takes its full share only after this time; 0: at once.
    pub slow_start: Duration,
    /// Connections or requests that one backend takes at once; what exceeds it waits in the queue. 0: no limit.
    pub max_connections: u32,
    /// Where connections wait that no backend takes for its limit.
    pub queue: Queue,
    /// What is spoken to backends by listeners that speak HTTP.
    pub speech: Speech,
    /// Which PROXY protocol header tells backends who the client is.
    pub send_proxy: Option<ProxyVersion>,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// How often another backend is tried after a failure, 0 to 10.
    pub retries: u8,
    /// How many of a hundred requests may be sent again to a backend although another may have seen them; `None`: as
    /// many as `retries` allows.
    pub retry_budget: Option<u8>,
    /// Answers with these statuses are asked for once more elsewhere, where that is safe; sorted.
    pub retry_on: Vec<u16>,
    /// What to do when no backend is available.
    pub when_down: WhenDown,
    /// The backends, in the order given; those behind `names` come last.
    pub backends: Vec<Backend>,
    /// Backends by DNS name. Control keeps looking them up, puts what it finds among `backends` and tells what ails
    /// them; nobody else dials these.
    pub names: Vec<NamedBackend>,
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
            sticky: None,
            probe: Some(Probe::default()),
            agent: None,
            ejection: Some(Ejection::default()),
            slow_start: Duration::ZERO,
            max_connections: 0,
            queue: Queue::default(),
            speech: Speech::PLAIN,
            send_proxy: None,
            timeouts: Timeouts::default(),
            retries: 2,
            retry_budget: Some(20),
            retry_on: Vec::new(),
            when_down: WhenDown::default(),
            backends: Vec::new(),
            names: Vec::new(),
            is_refused: false,
            origin,
        }
    }
}

/// How a backend is picked.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub enum Balance {
    /// Each in turn, as often as its weight says.
    #[default]
    RoundRobin,
    /// The least busy for its weight: of all in a small pool, of two drawn by weight in a large one.
    LeastConnections,
    /// The less busy of two drawn by weight.
    RandomTwo,
    /// Always the same for the same source, as long as it is available; few sources move when backends come and go
    /// (Maglev, with bounded load).
    HashSource,
    /// The same by the path of the request, without its query. This and the next two are by source where there is no
    /// request, or nothing in it to go by.
    HashUri,
    /// The same by this field of the request (lower-case name).
    HashHeader(Arc<str>),
    /// The same by this cookie.
    HashCookie(Arc<str>),
    /// The first in the order given that is available and below its limit.
    First,
}

impl Balance {
    /// Whether it gives the same backend to the same key, whatever the key is.
    pub fn is_hash(&self) -> bool {
        matches!(self, Self::HashSource | Self::HashUri | Self::HashHeader(_) | Self::HashCookie(_))
    }

    /// Whether it goes by what only a request has.
    pub fn asks_of_requests(&self) -> bool {
        self.is_hash() && *self != Self::HashSource
    }
}

/// Where connections wait for a backend below its limit.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Queue {
    /// How many may wait, in all of the pool; more are refused at once.
    pub length: u32,
    /// How long one may wait.
    pub wait: Duration,
}

impl Default for Queue {
    fn default() -> Self {
        Self { length: 1024, wait: Duration::from_secs(5) }
    }
}

/// A version of the PROXY protocol (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary, with what is known of the connection beside its addresses.
    V2,
}

/// Asks backends for their own opinion: a TCP port that says words like `up`, `drain` or `75%` and a newline
/// (HAProxy's agent-check).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Agent {
    /// The port of the agent, on each backend's address.
    pub port: u16,
    /// Time between two questions.
    pub every: Duration,
}

/// When a backend that fails real traffic is left out, and for how long.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Ejection {
    /// Failures in a row, at least 1.
    pub failures: u32,
    /// How long it is left out; longer each time it comes back to fail, up to ten times this.
    pub time: Duration,
    /// What is a failure.
    pub on: Failings,
}

impl Default for Ejection {
    fn default() -> Self {
        Self { failures: 3, time: Duration::from_secs(10), on: Failings::default() }
    }
}

/// What counts as a failure of a backend in real traffic.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Failings {
    /// It did not take a connection.
    pub connect: bool,
    /// It broke a connection off before a byte came.
    pub broken: bool,
    /// The head of its answer to a request without a body did not come in time.
    pub timeout: bool,
    /// Its answer has a status from 500 on, but for 501 and 505, which say that the request is not for it.
    pub server_error: bool,
}

impl Default for Failings {
    fn default() -> Self {
        // An answer is an answer: that one request makes a backend fail is often the request's doing.
        Self { connect: true, broken: true, timeout: true, server_error: false }
    }
}

impl Failings {
    /// Each with its word, in the order they are written.
    pub fn words(&self) -> [(&'static str, bool); 4] {
        let Self { connect, broken, timeout, server_error } = *self;
        [("connect", connect), ("broken", broken), ("timeout", timeout), ("5xx", server_error)]
    }

    /// The words of those that count.
    pub fn counted(&self) -> Vec<&'static str> {
        self.words().into_iter().filter(|(_, counts)| *counts).map(|(word, _)| word).collect()
    }
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
        /// Over TLS; the certificate is not checked, as there is no name to check it against.
        tls: bool,
    },
    /// `grpc.health.v1.Health/Check` answers SERVING.
    Grpc {
        /// The service asked for; empty: the server as a whole.
        service: Arc<str>,
        /// Another port than the backend's own.
        port: Option<u16>,
    },
}

/// How long each step towards a backend may take.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Timeouts {
    /// To open a connection.
    pub connect: Duration,
    /// From the end of the request to the head of the answer; begins anew while a body is still on its way.
    pub response: Duration,
    /// Without a byte in either direction. This and the next two are of relayed and upgraded connections.
    pub idle: Duration,
    /// The same once one side has ended and the other may still send.
    pub half_closed: Duration,
    /// While bytes wait for a side that takes none.
    pub stall: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            response: Duration::from_secs(60),
            idle: Duration::from_secs(3600),
            half_closed: Duration::from_secs(300),
            stall: Duration::from_secs(300),
        }
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
    /// The machine it runs on, whose backends fail together when it loses power; empty: the IP address stands for it.
    pub node: Arc<str>,
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
        Self { address, instance: "".into(), node: "".into(), weight: 1, admin: Admin::Ready, backup: false }
    }
}

/// Backends behind a DNS name: every address it has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamedBackend {
    /// The name, without a dot at its end.
    pub host: Arc<str>,
    /// The port on each address.
    pub port: u16,
    /// Share of the traffic of each address, 0 to 256.
    pub weight: u16,
    /// What their owner wishes.
    pub admin: Admin,
    /// Used only when no other backend is available.
    pub backup: bool,
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
