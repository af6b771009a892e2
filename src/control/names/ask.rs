//! Asks for the addresses of a name as the system would: /etc/hosts first, then the servers of /etc/resolv.conf, with
//! its search list.
//!
//! Both files are looked at before each look-up, and read again when they changed: a router writes them anew when its
//! uplink comes up. Without servers, the one at 127.0.0.1 is asked, as the C library does (resolv.conf(5)). Nothing is
//! cached here: who asks keeps to the time to live.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::standing::{Answer, Family};

/// Look-ups under way at once; others wait for their turn.
const AT_ONCE: usize = 16;
/// How long one look-up may take in all.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one server has for one answer, at most.
const ANSWER: Duration = Duration::from_secs(2);
/// How long the second family has once the first was found: some home routers never answer for IPv6.
const GRACE: Duration = Duration::from_secs(1);
/// How long an entry of the hosts file is good for; looking at it again costs nothing.
const HOSTS: Duration = Duration::from_secs(10);
/// How long a literal address is good for.
const LITERAL: Duration = Duration::from_secs(300);

/// Looks names up. Clones share one.
#[derive(Clone)]
pub(super) struct Resolver(Arc<Shared>);

struct Shared {
    files: Files,
    current: Mutex<Option<Current>>,
    turns: Semaphore,
}

/// Where the configuration comes from.
enum Files {
    /// The system's own.
    System,
    /// None: these servers.
    #[cfg(test)]
    Given(Box<(ResolverConfig, ResolverOpts)>),
}

/// What was built from the files when they had these stamps.
#[derive(Clone)]
struct Current {
    stamps: [Stamp; 2],
    resolver: Result<TokioResolver, Arc<str>>,
    hosts: Arc<Hosts>,
}

/// When a file was changed, and how long it is; `None`: it is not there.
type Stamp = Option<(SystemTime, u64)>;

impl Resolver {
    /// Asks as the system is configured.
    pub(super) fn of_system() -> Self {
        Self::new(Files::System)
    }

    /// Asks these servers.
    #[cfg(test)]
    pub(super) fn given(config: ResolverConfig, options: ResolverOpts) -> Self {
        Self::new(Files::Given(Box::new((config, options))))
    }

    fn new(files: Files) -> Self {
        Self(Arc::new(Shared { files, current: Mutex::new(None), turns: Semaphore::new(AT_ONCE) }))
    }

    /// Looks up both families of addresses of a name. Takes ten seconds at most, once it is its turn.
    pub(super) async fn look_up(&self, host: &str) -> Answer {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return literal(ip);
        }
        let Ok(name) = Name::from_utf8(host) else { return failed("is no name that DNS could know") };
        // The semaphore is never closed.
        let _turn = self.0.turns.acquire().await;
        let current = self.current();
        if let Some(answer) = of_hosts(&current.hosts, &name) {
            return answer;
        }
        match &current.resolver {
            Err(reason) => failed(reason),
            Ok(resolver) => match timeout(PATIENCE, ask(resolver, &name)).await {
                Ok(answer) => answer,
                Err(_) => failed(UNANSWERED),
            },
        }
    }

    /// The resolver for the files as they are now. Reads them when they changed: small, local, and rarely.
    fn current(&self) -> Current {
        let stamps = match self.0.files {
            Files::System => ["/etc/resolv.conf", "/etc/hosts"].map(stamp),
            #[cfg(test)]
            Files::Given(_) => [None, None],
        };
        let mut current = self.0.current.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some(same) if same.stamps == stamps => same.clone(),
            _ => current.insert(self.0.files.read(stamps)).clone(),
        }
    }
}

impl Files {
    fn read(&self, stamps: [Stamp; 2]) -> Current {
        let (config, mut options, hosts) = match self {
            Self::System => {
                let (config, options) = system_conf::read_system_conf().unwrap_or_else(|error| {
                    tracing::warn!(%error, "cannot use /etc/resolv.conf; the DNS server at 127.0.0.1 is asked instead");
                    let local = NameServerConfig::udp_and_tcp(IpAddr::V4(Ipv4Addr::LOCALHOST));
                    (ResolverConfig::from_parts(None, Vec::new(), vec![local]), ResolverOpts::default())
                });
                (config, options, Hosts::from_system().unwrap_or_default())
            }
            #[cfg(test)]
            Self::Given(given) => (given.0.clone(), given.1.clone(), Hosts::default()),
        };
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        options.timeout = options.timeout.min(ANSWER);
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        *builder.options_mut() = options;
        let resolver = builder.build().map_err(|error| format!("cannot be looked up: {error}").into());
        Current { stamps, resolver, hosts: Arc::new(hosts) }
    }
}

const UNANSWERED: &str = "was not answered in time";

fn stamp(path: impl AsRef<Path>) -> Stamp {
    let found = fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}

fn literal(ip: IpAddr) -> Answer {
    let (found, none) = (Family::Found(vec![ip], LITERAL), Family::Nothing("is an address"));
    if ip.is_ipv4() { Answer { v4: found, v6: none } } else { Answer { v4: none, v6: found } }
}

fn failed(reason: &str) -> Answer {
    Answer { v4: Family::Failed(reason.to_owned()), v6: Family::Failed(reason.to_owned()) }
}

/// A name that the hosts file knows is asked of nobody else, whichever family it has there.
fn of_hosts(hosts: &Hosts, name: &Name) -> Option<Answer> {
    let family = |kind| {
        let found = hosts.lookup_static_host(&Query::query(name.clone(), kind))?;
        let addresses: Vec<_> = found.answers().iter().filter_map(|record| record.data.ip_addr()).collect();
        (!addresses.is_empty()).then_some(Family::Found(addresses, HOSTS))
    };
    let (v4, v6) = (family(RecordType::A), family(RecordType::AAAA));
    let none = || Family::Nothing("is not in the hosts file");
    (v4.is_some() || v6.is_some()).then(|| Answer { v4: v4.unwrap_or_else(none), v6: v6.unwrap_or_else(none) })
}

/// Asks for both families at once.
async fn ask(resolver: &TokioResolver, name: &Name) -> Answer {
    let mut v4 = pin!(ask_family(resolver, name, RecordType::A));
    let mut v6 = pin!(ask_family(resolver, name, RecordType::AAAA));
    let (v4, v6) = tokio::select! {
        one = &mut v4 => {
            let grace = grace(&one);
            (one, timeout(grace, v6).await.unwrap_or_else(late))
        }
        other = &mut v6 => {
            let grace = grace(&other);
            (timeout(grace, v4).await.unwrap_or_else(late), other)
        }
    };
    match (v4, v6) {
        // The search list led to two names, which may be two machines: the one of IPv4 is taken.
        ((v4 @ Family::Found(..), Some(at)), (Family::Found(..), Some(other))) if at != other => {
            Answer { v4, v6: Family::Nothing("has no IPv6 address") }
        }
        ((v4, _), (v6, _)) => Answer { v4, v6 },
    }
}

fn grace(first: &(Family, Option<Name>)) -> Duration {
    if matches!(first.0, Family::Found(..)) { GRACE } else { PATIENCE }
}

fn late(_: tokio::time::error::Elapsed) -> (Family, Option<Name>) {
    (Family::Failed(UNANSWERED.to_owned()), None)
}

/// One family, and the full name that had it.
async fn ask_family(resolver: &TokioResolver, name: &Name, kind: RecordType) -> (Family, Option<Name>) {
    match resolver.lookup(name.clone(), kind).await {
        Ok(lookup) => {
            let records = lookup.answers();
            let addresses: Vec<_> = records.iter().filter_map(|record| record.data.ip_addr()).collect();
            if addresses.is_empty() {
                return (Family::Nothing("has no address"), None);
            }
            // The shortest on the way, aliases too.
            let ttl = records.iter().map(|record| record.ttl).min().unwrap_or_default();
            (Family::Found(addresses, Duration::from_secs(ttl.into())), Some(lookup.query().name().clone()))
        }
        Err(error) => (why_not(&error), None),
    }
}

/// In words that stay the same while the trouble does.
fn why_not(error: &NetError) -> Family {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => Family::Nothing("does not exist (NXDOMAIN)"),
            ResponseCode::NoError => Family::Nothing("has no address"),
            code => Family::Failed(format!("was answered {code}")),
        },
        NetError::Dns(DnsError::ResponseCode(code)) => Family::Failed(format!("was answered {code}")),
        NetError::Timeout => Family::Failed(UNANSWERED.to_owned()),
        other => Family::Failed(format!("cannot be looked up: {other}")),
    }
}
