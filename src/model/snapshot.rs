//! How to serve what was asked: immutable, indexed, shared; and the one place where it is swapped.
//!
//! A swap stores one pointer. Whoever reads sees the old plan or the new one, never a mixture. Reads on data threads go
//! through a [`Reader`], which costs one relaxed load while nothing changed.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use tokio::sync::watch;

use super::balance::{Maglev, Schedule, token::Tokens};
use super::intent::{Action, Admin, Cert, CertName, Listener, ListenerKey, Pool, PoolName, Protocol};
use super::live::agent::Objection;
use super::live::{
    AcmeState, AgentState, BackendState, ListenerState, NodeState, PoolState, ProbeState, Ramp, ServeState, SlotState,
};
use super::map::Map;
use super::path::{self, NormalPath, PathFault};
use super::route::{NameTable, RouteTable, Target};
use super::source::{RangeSet, SourceTable};
use super::speech::SpeechPlan;
use super::tls::TlsPlan;

/// Everything the data plane reads.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Counts publications; 0 is the empty one from before the first.
    pub generation: u64,
    /// What to listen on.
    pub listeners: Map<ListenerKey, Arc<ListenerPlan>>,
    /// Where traffic goes.
    pub pools: Map<PoolName, Arc<PoolPlan>>,
    /// Certificates in use, for the pages.
    pub certs: Map<CertName, Arc<Cert>>,
    /// What certificate authorities are answered.
    pub acme: Arc<AcmeState>,
}

/// One thing to listen on, ready for use.
#[derive(Debug)]
pub struct ListenerPlan {
    /// The socket's identity.
    pub key: ListenerKey,
    /// What was asked.
    pub intent: Arc<Listener>,
    /// Finds the target of a request, or the one target of a `tcp` listener.
    pub routes: RouteTable,
    /// Finds the target of a `tls-passthrough` client.
    pub names: NameTable,
    /// Which sources may connect.
    pub sources: SourceTable,
    /// Sources whose connections begin with a PROXY protocol header; none: nobody's do.
    pub proxies: RangeSet,
    /// Proxies that are believed what they say of the client.
    pub trusted_proxies: RangeSet,
    /// Certificates, for `https`.
    pub tls: Option<TlsPlan>,
    /// Live counters.
    pub state: Arc<ListenerState>,
    /// Counts answers made for want of a route.
    pub unrouted: Arc<ServeState>,
    /// Whether all that was asked of it is served, so that the next compile may take it over as it is.
    pub(super) clean: bool,
}

/// One pool, ready for picks.
#[derive(Debug)]
pub struct PoolPlan {
    /// Its name.
    pub name: PoolName,
    /// What was asked.
    pub intent: Arc<Pool>,
    /// The backends, in the order given.
    pub backends: Box<[BackendPlan]>,
    /// In which order they take turns.
    pub schedule: Schedule,
    /// Which of them serves which clients, where the rule is a hash.
    pub table: Option<Maglev>,
    /// What names them in cookies, where clients keep their backend by one.
    pub tokens: Option<Tokens>,
    /// How backends are spoken to; `None`: in HTTP/1.1 in the clear.
    pub speech: Option<Arc<SpeechPlan>>,
    /// Live counters and the cursor.
    pub state: Arc<PoolState>,
}

/// One backend of a pool, with its handles into Live.
#[derive(Debug)]
pub struct BackendPlan {
    /// Where it is dialled.
    pub address: std::net::SocketAddr,
    /// Share of the traffic.
    pub weight: u16,
    /// What its owner wishes.
    pub admin: Admin,
    /// Used only when no other is available.
    pub backup: bool,
    /// Whether its pool takes what traffic found for evidence. Others that share the backend may.
    pub heeds_traffic: bool,
    /// Live counters.
    pub state: Arc<BackendState>,
    /// The machine it runs on.
    pub node: Arc<NodeState>,
    /// What it has taken of the pool's limit, if there is one.
    pub slots: Option<Arc<SlotState>>,
    /// The verdict of its checks, if it is checked.
    pub probe: Option<Arc<ProbeState>>,
    /// How warm it is, in a pool with slow start.
    pub ramp: Option<Arc<Ramp>>,
    /// Stands for its address and instance; see [`digest`](super::balance::digest).
    pub digest: u64,
    /// What its agent says, if it is asked.
    pub agent: Option<Arc<AgentState>>,
}

impl PoolPlan {
    /// Whether its backends are still on the machines that it takes them to be on.
    pub(super) fn is_in_place(&self) -> bool {
        self.backends.iter().all(|backend| backend.state.is_on(&backend.node))
    }
}

impl BackendPlan {
    /// Whether it may take something new: its owner wishes it, it has a weight, and nothing speaks against it: neither
    /// its checks, nor its agent, nor what traffic found of it and its node.
    pub fn is_available(&self) -> bool {
        self.is_ready() && self.is_up() && !self.is_ejected()
    }

    /// Whether those who were its clients may come again: it may finish with them what it takes nobody new for.
    pub fn is_home(&self) -> bool {
        let is_closed = |agent: &AgentState| agent.objection() == Some(Objection::Maintain);
        let is_there = self.admin != Admin::Maintain && !self.agent.as_deref().is_some_and(is_closed);
        is_there && self.is_up() && !self.is_ejected()
    }

    /// Whether it is left out for what traffic found of it.
    pub fn is_ejected(&self) -> bool {
        self.heeds_traffic && self.state.ejection().is_ejected()
    }

    /// Whether its owner wishes it to take something new, whatever its health: of what is not, nothing is tried.
    pub fn is_ready(&self) -> bool {
        self.admin == Admin::Ready && self.wish() > 0
    }

    /// What its checks, its agent and its node say; a backend that nobody looks at is up.
    pub fn is_up(&self) -> bool {
        self.probe.as_ref().is_none_or(|p| p.is_up())
            && !self.node.is_down()
            && self.agent.as_ref().is_none_or(|agent| agent.objection() != Some(Objection::Down))
    }

    /// Whether its node may be down, so that another is the better choice.
    pub fn is_suspect(&self) -> bool {
        self.node.is_suspected()
    }

    /// How much of its weight it wishes to take now, as far as it has a word in that: 0 (nothing) to [`Self::WHOLE`].
    pub fn wish(&self) -> u32 {
        let Some(agent) = &self.agent else { return if self.weight > 0 { Self::WHOLE } else { 0 } };
        match agent.objection() {
            Some(Objection::Drain | Objection::Maintain) => 0,
            _ if self.weight == 0 => 0,
            // Not rounded down to nothing: only who asks for 0 % gets it.
            _ => (Self::WHOLE * agent.percent()).div_ceil(100),
        }
    }

    /// The wish of a backend that takes all of its weight.
    pub const WHOLE: u32 = 256;

    /// How much of its weight it takes now, of 256: what it wishes, of that what it is warm enough for, and never
    /// nothing.
    pub(super) fn part(&self) -> u64 {
        if self.ramp.is_none() && self.agent.is_none() {
            return 256;
        }
        let warmth = self.ramp.as_ref().map_or(256, |ramp| ramp.warmth());
        let percent = self.agent.as_ref().map_or(100, |agent| u64::from(agent.percent()));
        (warmth * percent).div_ceil(100).max(1)
    }

    /// What part of the traffic it is due now, to be compared with that of others; at least 1.
    pub(super) fn share(&self) -> u64 {
        u64::from(self.weight.max(1)) * self.part()
    }
}

/// What a request or a connection is to do: small, owned, and all of it from one snapshot.
#[derive(Debug)]
pub enum Decision {
    /// Send it to a backend of this pool.
    Forward {
        /// Where it goes.
        pool: Arc<PoolPlan>,
        /// The route it went by.
        target: Arc<Target>,
    },
    /// Answer with a redirect to https.
    RedirectHttps {
        /// The port for the location.
        port: u16,
        /// The route it went by.
        target: Arc<Target>,
    },
    /// Answer with the redirect that is in the route's filters.
    Redirect {
        /// The route it went by.
        target: Arc<Target>,
    },
    /// The route leads to a pool that is not there, or its filters cannot be had: 503.
    NoPool {
        /// The route it went by.
        target: Arc<Target>,
    },
    /// A certificate authority asks for a proof: 200 with this text.
    Challenge {
        /// The key authorization (RFC 8555 §8.1).
        text: Arc<str>,
        /// Counts the answer.
        unrouted: Arc<ServeState>,
    },
    /// No route matches, or one that says so: 404.
    NoRoute {
        /// Counts the answer.
        unrouted: Arc<ServeState>,
    },
    /// The listener itself is gone from the configuration: its last requests get 503.
    NoListener,
}

impl Snapshot {
    /// Decides for a request. `host` is lower-case and without port, `path` is in its normal form.
    pub fn decide(&self, key: &ListenerKey, host: Option<&str>, path: &str) -> Decision {
        let Some(listener) = self.listeners.get(key) else { return Decision::NoListener };
        // Before routes, which may redirect. Authorities ask in the clear.
        if let Some(text) = self.acme.text(path).filter(|_| listener.intent.protocol == Protocol::Http) {
            return Decision::Challenge { text, unrouted: listener.unrouted.clone() };
        }
        match listener.routes.find(host, path) {
            None => Decision::NoRoute { unrouted: listener.unrouted.clone() },
            Some(target) => self.follow(target),
        }
    }

    /// What becomes of a decision for a client that came over https already, as a trusted proxy says: it is not sent to
    /// where it is. `host` as in [`Self::decide`].
    pub fn arrived(&self, decision: Decision, host: Option<&str>) -> Decision {
        let target = match &decision {
            Decision::RedirectHttps { target, .. } => target,
            Decision::Redirect { target } => match &target.action {
                Action::Redirect(redirect) if redirect.is_met(host) => target,
                _ => return decision,
            },
            _ => return decision,
        };
        match &target.beyond {
            Some(beyond) => self.follow(beyond),
            None => Decision::NoRoute { unrouted: target.serve.clone() },
        }
    }

    /// The normal form of a path on a listener, and whether both its readings belong to routes that do the same.
    ///
    /// # Errors
    /// What the listener's rules refuse.
    pub fn normal<'p>(
        &self,
        key: &ListenerKey,
        host: Option<&str>,
        path: &'p str,
    ) -> Result<(Cow<'p, str>, bool), PathFault> {
        let listener = self.listeners.get(key);
        let rules = listener.map(|plan| plan.intent.http.paths).unwrap_or_default();
        let NormalPath { path, boldest } = path::normal(path, &rules)?;
        let agrees = match (listener, &boldest) {
            (Some(plan), Some(other)) => plan.routes.agrees(host, &path, other),
            _ => true,
        };
        Ok((path, agrees))
    }

    /// Decides for a connection on a listener that routes by nothing.
    pub fn decide_connection(&self, key: &ListenerKey) -> Decision {
        let Some(listener) = self.listeners.get(key) else { return Decision::NoListener };
        match listener.routes.only() {
            None => Decision::NoRoute { unrouted: listener.unrouted.clone() },
            Some(target) => self.follow(target),
        }
    }

    /// Decides for a TLS client that is passed through. `name` is its lower-case server name; `offers` says whether it
    /// offers an application protocol.
    pub fn decide_tls(&self, key: &ListenerKey, name: Option<&str>, offers: impl Fn(&str) -> bool) -> Decision {
        let Some(listener) = self.listeners.get(key) else { return Decision::NoListener };
        match listener.names.find(name, offers) {
            None => Decision::NoRoute { unrouted: listener.unrouted.clone() },
            Some(target) => self.follow(target),
        }
    }

    fn follow(&self, target: &Arc<Target>) -> Decision {
        let target = target.clone();
        match &target.action {
            _ if target.is_broken => Decision::NoPool { target },
            Action::Redirect(_) => Decision::Redirect { target },
            Action::RedirectHttps { port, pool: _ } => Decision::RedirectHttps { port: *port, target },
            // Its answers are counted with the other unrouted ones: both are of the listener and of no pool.
            Action::NotFound => Decision::NoRoute { unrouted: target.serve.clone() },
            Action::Forward(name) => match self.pools.get(name) {
                Some(pool) => Decision::Forward { pool: pool.clone(), target },
                None => Decision::NoPool { target },
            },
        }
    }
}

/// The current snapshot.
#[derive(Debug)]
pub struct Snapshots {
    current: Arc<ArcSwap<Snapshot>>,
    generation: watch::Sender<u64>,
}

impl Default for Snapshots {
    fn default() -> Self {
        Self { current: Arc::new(ArcSwap::default()), generation: watch::Sender::new(0) }
    }
}

impl Snapshots {
    /// Makes `next` the one that is read from now on, then wakes who waits in [`Self::changed`]. Control alone does.
    pub fn publish(&self, next: Snapshot) {
        let generation = next.generation;
        self.current.store(Arc::new(next));
        self.generation.send_replace(generation);
    }

    /// The snapshot of now, to hold for a while: for control, health and the scrape.
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Wakes at each publication.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// A reader for one data thread.
    pub fn reader(&self) -> Reader {
        Reader { cache: RefCell::new(Cache::new(self.current.clone())) }
    }
}

/// A data thread's view of the current snapshot.
///
/// It keeps the last snapshot it read; its thread calls [`Reader::refresh`] when woken by a publication, so that an
/// idle thread does not keep an old one alive.
#[derive(Debug)]
pub struct Reader {
    cache: RefCell<Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>>,
}

impl Reader {
    /// Reads. Takes a plain closure on purpose: a closure cannot hold the snapshot across an `.await`.
    ///
    /// # Panics
    /// When called again from inside the closure.
    pub fn read<R>(&self, f: impl FnOnce(&Snapshot) -> R) -> R {
        f(self.cache.borrow_mut().load())
    }

    /// Lets go of an outdated snapshot.
    pub fn refresh(&self) {
        self.read(|_| ());
    }
}
