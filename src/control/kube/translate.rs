//! Pure. Objects to a fragment: whole, every time, the oldest object first.
//!
//! Theory: a round walks Services, then Ingresses, and writes a [`Draft`]: listeners and routes at once, pools by name
//! only. Pools are filled in last, when all who want one are known. Nothing here fails: what cannot be served becomes a
//! problem of the object that asked, and every other object is served as if that one were not there.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::intent::{Cert, CertName, Intent, Listener, ListenerKey, Pool, PoolName, Transport};
use crate::model::problem::{Cause, Origin, Problem};

use super::Translation;
use super::objects::service::{Service, ServicePort};
use super::objects::{Kind, ObjectName};
use super::spec::ClusterSpec;
use super::status::{Ledger, Showing};
use super::store::Store;

pub mod annotations;
mod beside;
mod certs;
mod class;
mod doors;
mod endpoints;
mod hosts;
mod ingress;
mod isolate;
pub mod nginx;
mod place;
mod pools;
mod reach;
mod service;

use annotations::{On, PoolWishes, Wishes};

/// What a round takes over from the one before, so that what is as it was need not be made again.
#[derive(Debug, Default)]
pub struct Memory {
    certs: certs::Parsed,
    ledger: Ledger,
    last: Intent,
}

/// What the objects of `store` ask for.
pub fn translate(store: &Store, spec: &ClusterSpec, memory: &mut Memory) -> Translation {
    let mut draft = Draft::new(store, spec);
    draft.tell_unreadable();
    place::reserve_doors(&mut draft);
    service::services(&mut draft);
    ingress::ingresses(&mut draft, &mut memory.certs);
    let pools = pools::pools(&mut draft);
    let mut problems = draft.problems;
    problems.sort();
    problems.dedup();
    let statuses = memory.ledger.settle(draft.shown, store);
    let listeners = draft.listeners.into_iter().map(|(key, listener)| (key, Arc::new(listener)));
    let certs = draft.certs.into_iter().map(|(name, cert)| (name, Arc::new(cert)));
    let mut fragment =
        Intent { listeners: listeners.collect(), pools, certs: certs.collect(), orders: BTreeMap::new() };
    keep(&mut fragment.listeners, &memory.last.listeners);
    keep(&mut fragment.pools, &memory.last.pools);
    keep(&mut fragment.certs, &memory.last.certs);
    memory.last = fragment.clone();
    Translation { fragment, problems, statuses }
}

/// What is as it was becomes the same thing: all later comparisons end at the pointer.
fn keep<K: Ord, V: PartialEq>(now: &mut BTreeMap<K, Arc<V>>, last: &BTreeMap<K, Arc<V>>) {
    for (key, value) in now {
        if let Some(same) = last.get(key).filter(|last| *last == value) {
            *value = same.clone();
        }
    }
}

/// A fragment being written.
struct Draft<'a> {
    spec: &'a ClusterSpec,
    store: &'a Store,
    listeners: BTreeMap<ListenerKey, Listener>,
    certs: BTreeMap<CertName, Cert>,
    wanted: BTreeMap<PoolName, Wanted<'a>>,
    // Pools of those who cannot be served: empty, so that their requests are answered with 503.
    refused: BTreeMap<PoolName, Arc<Pool>>,
    shown: Vec<Showing<'a>>,
    problems: Vec<Problem>,
    // By transport and port: who listens where.
    places: HashMap<(Transport, u16), Vec<(IpAddr, Origin)>>,
    // The names of pools that were asked for, by the port they are for.
    pool_names: HashMap<*const ServicePort, PoolName>,
    // What each Service's annotations ask for; `None` = it is refused for them.
    service_wishes: HashMap<&'a ObjectName, Option<Arc<Wishes>>>,
}

/// A pool that someone wants.
struct Wanted<'a> {
    name: &'a ObjectName,
    service: &'a Service,
    port: &'a ServicePort,
    wishes: PoolWishes,
    origin: Origin,
}

impl<'a> Draft<'a> {
    fn new(store: &'a Store, spec: &'a ClusterSpec) -> Self {
        Self {
            spec,
            store,
            listeners: BTreeMap::new(),
            certs: BTreeMap::new(),
            wanted: BTreeMap::new(),
            refused: BTreeMap::new(),
            shown: Vec::new(),
            problems: Vec::new(),
            places: HashMap::new(),
            pool_names: HashMap::new(),
            service_wishes: HashMap::new(),
        }
    }

    fn origin<K: Kind>(&self, name: &ObjectName) -> Origin {
        self.origin_of(K::KIND, name)
    }

    fn origin_of(&self, kind: &str, name: &ObjectName) -> Origin {
        Origin::new(self.spec.name.clone(), format!("{}/{name}", kind.to_ascii_lowercase()))
    }

    fn problem(&mut self, origin: &Origin, reason: impl Into<String>) {
        self.problem_of(Cause::Invalid, origin, reason);
    }

    fn problem_of(&mut self, cause: Cause, origin: &Origin, reason: impl Into<String>) {
        self.problems.push(Problem::new(origin, reason).because(cause));
    }

    fn tell_unreadable(&mut self) {
        fn all<K: Kind>(draft: &mut Draft<'_>, table: &super::store::Table<K>) {
            for (name, reason) in table.unreadable() {
                let origin = draft.origin::<K>(name);
                draft.problem(&origin, format!("{reason}; it is left out"));
            }
        }
        let store = self.store;
        all(self, &store.services);
        all(self, &store.slices);
        all(self, &store.nodes);
        all(self, &store.ingresses);
        all(self, &store.classes);
        all(self, &store.secrets);
        all(self, &store.users);
        all(self, &store.opaque);
        for fault in &store.faults {
            let origin = Origin::new(self.spec.name.clone(), fault.place.as_str());
            self.problem(&origin, fault.reason.as_str());
        }
    }

    /// What a Service's annotations ask for; `None` when they refuse it. Tells its problems, once.
    fn wishes_of(&mut self, name: &'a ObjectName, service: &Service) -> Option<Arc<Wishes>> {
        if let Some(known) = self.service_wishes.get(name) {
            return known.clone();
        }
        let origin = self.origin::<Service>(name);
        let wishes = self.read_wishes(On::Service, service, &origin).map(Arc::new);
        self.service_wishes.insert(name, wishes.clone());
        wishes
    }

    fn read_wishes(&mut self, on: On, object: &impl Kind, origin: &Origin) -> Option<Wishes> {
        self.read_wishes_over(Wishes::default(), on, object, origin)
    }

    /// The same, for an object that has wishes already.
    fn read_wishes_over(&mut self, base: Wishes, on: On, object: &impl Kind, origin: &Origin) -> Option<Wishes> {
        let (wishes, complaints) = annotations::read_over(base, on, object.meta());
        let refused = complaints.iter().any(|complaint| complaint.refuses);
        for complaint in complaints {
            self.problem(origin, complaint.reason);
        }
        (!refused).then_some(wishes)
    }

    /// The name of the pool of a Service's port, which will be filled in. Who wishes for other things than the Service
    /// does (`extra`, of the object called `asker`) gets a pool of its own.
    fn want(
        &mut self,
        (name, service, port): (&'a ObjectName, &'a Service, &'a ServicePort),
        own: &PoolWishes,
        extra: Option<(&PoolWishes, &ObjectName, &Origin)>,
    ) -> PoolName {
        let extra = extra.filter(|(wishes, ..)| **wishes != PoolWishes::default());
        if extra.is_none()
            && let Some(known) = self.pool_names.get(&std::ptr::from_ref(port))
        {
            return known.clone();
        }
        let base = format!("{}/{name}:{}", self.spec.name, pool_label(service, port));
        let (pool, wishes, origin) = match extra {
            None => (PoolName::new(base), own.clone(), self.origin::<Service>(name)),
            Some((wishes, asker, origin)) => {
                (PoolName::new(format!("{base}@{}", asker.name)), wishes.over(own), origin.clone())
            }
        };
        if extra.is_none() {
            self.pool_names.insert(port, pool.clone());
        }
        self.wanted.entry(pool.clone()).or_insert(Wanted { name, service, port, wishes, origin });
        pool
    }

    /// Whether we listen on this very address ourselves.
    fn listens_on(&self, key: ListenerKey) -> bool {
        let at = self.places.get(&(key.transport, key.address.port()));
        at.is_some_and(|places| places.iter().any(|(ip, _)| *ip == key.address.ip()))
    }
}

/// What a port is called among the pools of its Service. Names are of one port each; numbers, and what a file of
/// manifests may say, need not be.
fn pool_label(service: &Service, port: &ServicePort) -> String {
    let is_alone = service.spec.ports.iter().filter(|other| other.name == port.name).count() == 1;
    match port.transport() {
        Some(Transport::Udp) if port.name.is_empty() || !is_alone => format!("{}/udp", port.label()),
        _ => port.label(),
    }
}
