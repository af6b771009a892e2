//! Pure. Kubernetes objects as we read them: only the fields we use, each of them optional.
//!
//! The API grows enum values and fields as it pleases, and one object that our types refuse must not cost the whole
//! list it came in. So enums are plain text here, `null` is the default, and an object that still cannot be read is
//! kept as [`Seen`] with its name and the reason. Whether values make sense is for `translate` to say.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

pub mod endpoints;
pub mod ingress;
pub mod node;
pub mod opaque;
pub mod secret;
pub mod service;
pub mod users;

use endpoints::EndpointSlice;
use ingress::{Ingress, IngressClass};
use node::Node;
use opaque::OpaqueSecret;
use secret::TlsSecret;
use service::Service;
use users::UserSecret;

/// A kind of object we read.
pub trait Kind: Clone + DeserializeOwned + fmt::Debug + PartialEq + Send + Sync + Sized + 'static {
    /// Its name, as in manifests.
    const KIND: &'static str;
    /// What tells it from others of that name, of which other objects are read.
    const FEED: &'static str = Self::KIND;
    /// Its API group; empty for the core.
    const GROUP: &'static str;
    /// Its name in URLs and in roles.
    const PLURAL: &'static str;
    /// Whether its objects live in namespaces.
    const NAMESPACED: bool;
    /// Which of them we read.
    const FIELDS: Option<&'static str> = None;
    /// Whether its content must never be quoted in an error.
    const SECRET: bool = false;

    /// What every object has.
    fn meta(&self) -> &Meta;

    /// This kind's place among all kinds.
    fn object(seen: Seen<Self>) -> Object;

    /// What it is read from again as it is, keys and all. It never ends in a log: only what is kept for a cold start is
    /// written so.
    ///
    /// # Errors
    /// It has no JSON, which no kind here knows.
    fn kept(&self) -> serde_json::Result<serde_json::Value>;
}

/// Any object we read.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// A Service.
    Service(Seen<Service>),
    /// Some of a Service's endpoints.
    EndpointSlice(Seen<EndpointSlice>),
    /// A machine of the cluster.
    Node(Seen<Node>),
    /// HTTP hosts and paths.
    Ingress(Seen<Ingress>),
    /// Whose Ingresses are whose.
    IngressClass(Seen<IngressClass>),
    /// A certificate and its key.
    Secret(Seen<TlsSecret>),
    /// Names and passwords.
    Users(Seen<UserSecret>),
    /// What ingress-nginx keeps in Secrets of no type of their own.
    Opaque(Seen<OpaqueSecret>),
}

impl Object {
    /// Its kind, as feeds are called.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Service(_) => Service::KIND,
            Self::EndpointSlice(_) => EndpointSlice::KIND,
            Self::Node(_) => Node::KIND,
            Self::Ingress(_) => Ingress::KIND,
            Self::IngressClass(_) => IngressClass::KIND,
            Self::Secret(_) => TlsSecret::FEED,
            Self::Users(_) => UserSecret::FEED,
            Self::Opaque(_) => OpaqueSecret::FEED,
        }
    }

    /// Where it is found.
    pub fn name(&self) -> &ObjectName {
        match self {
            Self::Service(seen) => &seen.name,
            Self::EndpointSlice(seen) => &seen.name,
            Self::Node(seen) => &seen.name,
            Self::Ingress(seen) => &seen.name,
            Self::IngressClass(seen) => &seen.name,
            Self::Secret(seen) => &seen.name,
            Self::Users(seen) => &seen.name,
            Self::Opaque(seen) => &seen.name,
        }
    }
}

/// Where an object is found: namespace (empty for those that have none), then name.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectName {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name in it.
    pub name: Arc<str>,
}

impl ObjectName {
    /// A name from its two parts.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// An object as it arrived: read, or unreadable for a reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen<K> {
    /// Where it is found.
    pub name: ObjectName,
    /// The object, or what is wrong with it.
    pub object: Result<Arc<K>, Arc<str>>,
}

impl<K: Kind> Seen<K> {
    /// Reads an object from JSON; also gives its resource version, empty if it has none. Never fails: what cannot be
    /// read keeps its name and the reason.
    pub fn read(value: &serde_json::Value) -> (Self, String) {
        let text = |key: &str| value.pointer(key).and_then(serde_json::Value::as_str).unwrap_or_default();
        let namespace = if K::NAMESPACED { text("/metadata/namespace") } else { "" };
        let name = ObjectName::new(namespace, text("/metadata/name"));
        let object = K::deserialize(value).map(Arc::new).map_err(|error| match K::SECRET {
            true => "does not have the form of its kind; each value under data is base64 text".into(),
            false => format!("does not have the form of its kind: {error}").into(),
        });
        (Self { name, object }, text("/metadata/resourceVersion").to_owned())
    }
}

/// What every object has, as far as we use it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Meta {
    /// When it was made, in RFC 3339 and UTC: such texts sort by time. The younger asks later.
    #[serde(deserialize_with = "nullable")]
    pub creation_timestamp: Option<Box<str>>,
    /// What tells it from another one of the same name.
    #[serde(deserialize_with = "nullable")]
    pub uid: Option<Box<str>>,
    /// Its labels, of those we read.
    #[serde(deserialize_with = "kept")]
    pub labels: BTreeMap<Box<str>, Box<str>>,
    /// Its annotations, of those we read.
    #[serde(deserialize_with = "kept")]
    pub annotations: BTreeMap<Box<str>, Box<str>>,
}

impl Meta {
    /// Orders by age; an object without a time is the youngest.
    pub fn age(&self) -> (bool, Option<&str>) {
        (self.creation_timestamp.is_none(), self.creation_timestamp.as_deref())
    }

    /// An annotation's value.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(|value| &**value)
    }

    /// A label's value.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(|value| &**value)
    }
}

/// The prefix of every annotation and label that is ours.
pub const OURS: &str = "sluice.dev/";

/// The prefix of the annotations of ingress-nginx.
pub const NGINX: &str = "nginx.ingress.kubernetes.io/";

/// The annotation that named an Ingress' class before there was a field for it.
pub const LEGACY_CLASS: &str = "kubernetes.io/ingress.class";

/// The annotation that makes an IngressClass the default one.
pub const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";

/// The label that says whose endpoints a slice holds.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The label that keeps a node out of load balancing.
pub const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Keeps the labels and annotations we read and lets the rest go: `last-applied-configuration` alone doubles an object.
fn kept<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<Box<str>, Box<str>>, D::Error> {
    let mut all: BTreeMap<Box<str>, Box<str>> = nullable(deserializer)?;
    all.retain(|key, _| {
        key.starts_with(OURS)
            || key.starts_with(NGINX)
            || [LEGACY_CLASS, DEFAULT_CLASS, SERVICE_NAME, EXCLUDED].contains(&&**key)
    });
    Ok(all)
}

/// `null` is the default: Go writes empty lists and maps so.
pub(super) fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_cannot_be_read_keeps_its_name_and_the_reason() {
        let (seen, version) = Seen::<Service>::read(&json!({
            "metadata": {"namespace": "a", "name": "web", "resourceVersion": "7"},
            "spec": {"ports": [{"port": "eighty"}]},
        }));
        assert_eq!((seen.name.to_string().as_str(), version.as_str()), ("a/web", "7"));
        let reason = seen.object.unwrap_err();
        assert!(reason.contains("eighty"), "{reason}");
    }

    #[test]
    fn an_unreadable_secret_is_not_quoted() {
        let (seen, _) = Seen::<TlsSecret>::read(&json!({"metadata": {"name": "s"}, "data": {"tls.key": "hush!"}}));
        let reason = seen.object.unwrap_err();
        assert!(!reason.contains("hush"), "{reason}");
    }

    #[test]
    fn null_is_nothing_and_foreign_annotations_are_let_go() {
        let (seen, _) = Seen::<EndpointSlice>::read(&json!({
            "metadata": {"name": "s", "labels": {"app": "x", "kubernetes.io/service-name": "web"}, "annotations": null},
            "endpoints": null, "ports": null, "addressType": "Tomorrow",
        }));
        let slice = seen.object.unwrap();
        assert_eq!(slice.meta().labels.len(), 1);
        assert!(slice.endpoints.is_empty());
    }

    #[test]
    fn the_younger_and_the_undated_come_later() {
        let at = |time: Option<&str>| Meta { creation_timestamp: time.map(Into::into), ..Meta::default() };
        let (old, young) = (at(Some("2024-01-01T00:00:00Z")), at(Some("2025-01-01T00:00:00Z")));
        assert!(old.age() < young.age() && young.age() < at(None).age());
    }
}
