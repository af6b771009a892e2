//! Pure. The objects as last seen: apply, delete, replace all.
//!
//! A list of changes is all it takes; where they come from is not known here. An object that arrives again unchanged
//! keeps its `Arc`, so that what was worked out from it can be kept by identity.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::last_good::Kept;
use super::objects::endpoints::EndpointSlice;
use super::objects::ingress::{Ingress, IngressClass};
use super::objects::node::Node;
use super::objects::opaque::OpaqueSecret;
use super::objects::secret::TlsSecret;
use super::objects::service::Service;
use super::objects::users::UserSecret;
use super::objects::{Kind, Object, ObjectName, Seen};

/// One stream of changes: all objects of a kind, or those of one namespace.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Feed {
    /// What of: [`Kind::FEED`].
    pub kind: &'static str,
    /// The namespace; `None` = the whole cluster.
    pub namespace: Option<Arc<str>>,
}

/// Something that happened to the objects of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// This is all that a feed has now.
    Replace {
        /// Whose objects these are.
        feed: Feed,
        /// All of them.
        objects: Vec<Object>,
    },
    /// An object is new or differs.
    Apply(Object),
    /// An object is gone.
    Delete {
        /// What of: [`Kind::FEED`].
        kind: &'static str,
        /// Where it was.
        name: ObjectName,
    },
    /// What of a folder of manifests cannot be read now. Replaces what was said before.
    Faults(Vec<Fault>),
    /// Why the objects cannot be followed now; `None` = they are. Replaces what was said before.
    Trouble(Option<Arc<str>>),
    /// Of which cluster all that follows is: what tells it from any other one.
    Identity(Arc<str>),
    /// What was kept of the cluster on disk, to be served until it is heard; or why that cannot be used.
    Kept(Result<Box<Kept>, Arc<str>>),
}

/// A text that cannot be read.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct Fault {
    /// File and line.
    pub place: String,
    /// What is wrong.
    pub reason: String,
}

/// The objects of one cluster, as last seen. Clones share the objects.
#[derive(Clone, Debug)]
pub struct Store {
    // Empty = all.
    namespaces: Vec<Arc<str>>,
    /// Services.
    pub services: Table<Service>,
    /// EndpointSlices.
    pub slices: Table<EndpointSlice>,
    /// Nodes.
    pub nodes: Table<Node>,
    /// Ingresses.
    pub ingresses: Table<Ingress>,
    /// IngressClasses.
    pub classes: Table<IngressClass>,
    /// Certificates.
    pub secrets: Table<TlsSecret>,
    /// Names and passwords.
    pub users: Table<UserSecret>,
    /// Secrets without a type of their own; heard of only where ingress-nginx is stood in for.
    pub opaque: Table<OpaqueSecret>,
    wants_opaque: bool,
    /// What could not be read at all.
    pub faults: Vec<Fault>,
    /// Whether certificates, keys and passwords are not here, be they in the cluster or not.
    pub without_keys: bool,
}

impl Store {
    /// An empty store for objects of these namespaces; none = of all.
    pub fn new(namespaces: &[String]) -> Self {
        Self {
            namespaces: namespaces.iter().map(|name| name.as_str().into()).collect(),
            services: Table::default(),
            slices: Table::default(),
            nodes: Table::default(),
            ingresses: Table::default(),
            classes: Table::default(),
            secrets: Table::default(),
            users: Table::default(),
            opaque: Table::default(),
            wants_opaque: false,
            faults: Vec::new(),
            without_keys: false,
        }
    }

    /// The same, which is whole only when Secrets without a type were heard as well.
    pub fn with_opaque(self) -> Self {
        Self { wants_opaque: true, ..self }
    }

    /// Takes a change in. True when anything is different now.
    pub fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Replace { feed, objects } => {
                let mut lists = Lists::default();
                objects.into_iter().filter(|object| self.wants(object)).for_each(|object| lists.add(object));
                self.replace(&feed, lists)
            }
            Change::Apply(object) if !self.wants(&object) => false,
            Change::Apply(Object::Service(seen)) => self.services.apply(seen),
            Change::Apply(Object::EndpointSlice(seen)) => self.slices.apply(seen),
            Change::Apply(Object::Node(seen)) => self.nodes.apply(seen),
            Change::Apply(Object::Ingress(seen)) => self.ingresses.apply(seen),
            Change::Apply(Object::IngressClass(seen)) => self.classes.apply(seen),
            Change::Apply(Object::Secret(seen)) => self.secrets.apply(seen),
            Change::Apply(Object::Users(seen)) => self.users.apply(seen),
            Change::Apply(Object::Opaque(seen)) => self.opaque.apply(seen),
            Change::Delete { kind, name } => match kind {
                Service::KIND => self.services.delete(&name),
                EndpointSlice::KIND => self.slices.delete(&name),
                Node::KIND => self.nodes.delete(&name),
                Ingress::KIND => self.ingresses.delete(&name),
                IngressClass::KIND => self.classes.delete(&name),
                TlsSecret::FEED => self.secrets.delete(&name),
                UserSecret::FEED => self.users.delete(&name),
                OpaqueSecret::FEED => self.opaque.delete(&name),
                _ => false,
            },
            Change::Faults(faults) => {
                let differs = self.faults != faults;
                self.faults = faults;
                differs
            }
            // Is not of the objects.
            Change::Trouble(_) | Change::Identity(_) | Change::Kept(_) => false,
        }
    }

    /// Whether every kind was heard whole, in every namespace asked for.
    pub fn heard_all(&self) -> bool {
        self.services.heard(&self.namespaces)
            && self.slices.heard(&self.namespaces)
            && self.nodes.heard(&self.namespaces)
            && self.ingresses.heard(&self.namespaces)
            && self.classes.heard(&self.namespaces)
            && self.secrets.heard(&self.namespaces)
            && self.users.heard(&self.namespaces)
            && (!self.wants_opaque || self.opaque.heard(&self.namespaces))
    }

    fn replace(&mut self, feed: &Feed, lists: Lists) -> bool {
        let namespace = &feed.namespace;
        match feed.kind {
            Service::KIND => self.services.replace(namespace, lists.services),
            EndpointSlice::KIND => self.slices.replace(namespace, lists.slices),
            Node::KIND => self.nodes.replace(namespace, lists.nodes),
            Ingress::KIND => self.ingresses.replace(namespace, lists.ingresses),
            IngressClass::KIND => self.classes.replace(namespace, lists.classes),
            TlsSecret::FEED => self.secrets.replace(namespace, lists.secrets),
            UserSecret::FEED => self.users.replace(namespace, lists.users),
            OpaqueSecret::FEED => self.opaque.replace(namespace, lists.opaque),
            _ => false,
        }
    }

    fn wants(&self, object: &Object) -> bool {
        let namespace = &object.name().namespace;
        namespace.is_empty() || self.namespaces.is_empty() || self.namespaces.contains(namespace)
    }
}

#[derive(Default)]
struct Lists {
    services: Vec<Seen<Service>>,
    slices: Vec<Seen<EndpointSlice>>,
    nodes: Vec<Seen<Node>>,
    ingresses: Vec<Seen<Ingress>>,
    classes: Vec<Seen<IngressClass>>,
    secrets: Vec<Seen<TlsSecret>>,
    users: Vec<Seen<UserSecret>>,
    opaque: Vec<Seen<OpaqueSecret>>,
}

impl Lists {
    fn add(&mut self, object: Object) {
        match object {
            Object::Service(seen) => self.services.push(seen),
            Object::EndpointSlice(seen) => self.slices.push(seen),
            Object::Node(seen) => self.nodes.push(seen),
            Object::Ingress(seen) => self.ingresses.push(seen),
            Object::IngressClass(seen) => self.classes.push(seen),
            Object::Secret(seen) => self.secrets.push(seen),
            Object::Users(seen) => self.users.push(seen),
            Object::Opaque(seen) => self.opaque.push(seen),
        }
    }
}

/// The objects of one kind.
#[derive(Clone, Debug)]
pub struct Table<K> {
    objects: BTreeMap<ObjectName, Result<Arc<K>, Arc<str>>>,
    // Namespaces that were heard whole; `None` = all at once.
    heard: BTreeSet<Option<Arc<str>>>,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), heard: BTreeSet::new() }
    }
}

impl<K: Kind> Table<K> {
    /// The object of this name, if it is there and can be read.
    pub fn find(&self, name: &ObjectName) -> Option<&Arc<K>> {
        self.objects.get(name)?.as_ref().ok()
    }

    /// As [`Table::find`], with the name as the table keeps it.
    pub fn entry(&self, name: &ObjectName) -> Option<(&ObjectName, &Arc<K>)> {
        let (name, object) = self.objects.get_key_value(name)?;
        Some((name, object.as_ref().ok()?))
    }

    /// The objects that can be read, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectName, &Arc<K>)> {
        self.objects.iter().filter_map(|(name, object)| Some((name, object.as_ref().ok()?)))
    }

    /// The objects that can be read, the oldest first, then by name: who comes first is served first.
    pub fn by_age(&self) -> Vec<(&ObjectName, &Arc<K>)> {
        let mut objects: Vec<_> = self.iter().collect();
        // Stable, and `iter` goes by name.
        objects.sort_by(|(_, a), (_, b)| a.meta().age().cmp(&b.meta().age()));
        objects
    }

    /// The objects that cannot be read, and why.
    pub fn unreadable(&self) -> impl Iterator<Item = (&ObjectName, &Arc<str>)> {
        self.objects.iter().filter_map(|(name, object)| Some((name, object.as_ref().err()?)))
    }

    fn apply(&mut self, seen: Seen<K>) -> bool {
        if self.objects.get(&seen.name) == Some(&seen.object) {
            return false;
        }
        self.objects.insert(seen.name, seen.object);
        true
    }

    fn delete(&mut self, name: &ObjectName) -> bool {
        self.objects.remove(name).is_some()
    }

    fn replace(&mut self, namespace: &Option<Arc<str>>, list: Vec<Seen<K>>) -> bool {
        let news: BTreeSet<ObjectName> = list.iter().map(|seen| seen.name.clone()).collect();
        let before = self.objects.len();
        self.objects.retain(|name, _| {
            news.contains(name) || namespace.as_ref().is_some_and(|namespace| name.namespace != *namespace)
        });
        let mut differs = self.objects.len() != before;
        for seen in list {
            differs |= self.apply(seen);
        }
        // The first word counts as a change even when it is "nothing".
        self.heard.insert(namespace.clone()) || differs
    }

    fn heard(&self, namespaces: &[Arc<str>]) -> bool {
        let each = || namespaces.iter().all(|name| self.heard.contains(&Some(name.clone())));
        self.heard.contains(&None) || (K::NAMESPACED && !namespaces.is_empty() && each())
    }
}

#[cfg(test)]
mod tests;
