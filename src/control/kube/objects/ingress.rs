//! Pure. Ingresses and their classes.

use serde::{Deserialize, Serialize};

use super::service::Status;
use super::{DEFAULT_CLASS, Kind, LEGACY_CLASS, Meta, Object, Seen, nullable};

/// HTTP hosts and paths, and where they lead.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Ingress {
    metadata: Meta,
    /// What it asks for.
    #[serde(deserialize_with = "nullable")]
    pub spec: IngressSpec,
    /// What it shows.
    #[serde(deserialize_with = "nullable")]
    pub status: Status,
}

/// What an Ingress asks for.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct IngressSpec {
    /// Whose it is.
    pub ingress_class_name: Option<Box<str>>,
    /// Where requests go that no rule matches.
    pub default_backend: Option<IngressBackend>,
    /// Which hosts have which certificate.
    #[serde(deserialize_with = "nullable")]
    pub tls: Vec<IngressTls>,
    /// The hosts and their paths.
    #[serde(deserialize_with = "nullable")]
    pub rules: Vec<IngressRule>,
}

/// Hosts that share a certificate.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct IngressTls {
    /// The hosts; none = all of the Ingress.
    #[serde(deserialize_with = "nullable")]
    pub hosts: Vec<Box<str>>,
    /// The Secret with the certificate, in the same namespace.
    #[serde(deserialize_with = "nullable")]
    pub secret_name: Box<str>,
}

/// The paths of one host.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct IngressRule {
    /// The host; empty = any.
    #[serde(deserialize_with = "nullable")]
    pub host: Box<str>,
    /// Its paths.
    #[serde(deserialize_with = "nullable")]
    pub http: IngressPaths,
}

/// The paths of one rule.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct IngressPaths {
    /// In the order written.
    #[serde(deserialize_with = "nullable")]
    pub paths: Vec<IngressPath>,
}

/// One path and where it leads.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct IngressPath {
    /// The path.
    #[serde(deserialize_with = "nullable")]
    pub path: Box<str>,
    /// `Exact`, `Prefix` or `ImplementationSpecific`.
    pub path_type: Option<Box<str>>,
    /// Where it leads.
    #[serde(deserialize_with = "nullable")]
    pub backend: IngressBackend,
}

/// Where requests go.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct IngressBackend {
    /// To a Service of the same namespace.
    pub service: Option<ServiceRef>,
    /// To something else.
    pub resource: Option<ResourceRef>,
}

/// A Service and its port.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct ServiceRef {
    /// The Service's name.
    #[serde(deserialize_with = "nullable")]
    pub name: Box<str>,
    /// Its port.
    #[serde(deserialize_with = "nullable")]
    pub port: PortRef,
}

/// A port by name or by number.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct PortRef {
    /// Its name; empty = by number.
    #[serde(deserialize_with = "nullable")]
    pub name: Box<str>,
    /// Its number.
    #[serde(deserialize_with = "nullable")]
    pub number: u16,
}

impl PortRef {
    /// The name, or the number as text.
    pub fn label(&self) -> String {
        if self.name.is_empty() { self.number.to_string() } else { self.name.to_string() }
    }
}

/// Something that is not a Service.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct ResourceRef {
    /// Its kind.
    #[serde(deserialize_with = "nullable")]
    pub kind: Box<str>,
    /// Its name.
    #[serde(deserialize_with = "nullable")]
    pub name: Box<str>,
}

impl Ingress {
    /// The class it names, by the field or the older annotation.
    pub fn class(&self) -> Option<&str> {
        self.spec.ingress_class_name.as_deref().or_else(|| self.metadata.annotation(LEGACY_CLASS))
    }
}

impl Kind for Ingress {
    const KIND: &'static str = "Ingress";
    const GROUP: &'static str = "networking.k8s.io";
    const PLURAL: &'static str = "ingresses";
    const NAMESPACED: bool = true;

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn object(seen: Seen<Self>) -> Object {
        Object::Ingress(seen)
    }

    fn kept(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }
}

/// Whose Ingresses are whose.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct IngressClass {
    metadata: Meta,
    #[serde(deserialize_with = "nullable")]
    spec: ClassSpec,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
struct ClassSpec {
    #[serde(deserialize_with = "nullable")]
    controller: Box<str>,
}

impl IngressClass {
    /// Who serves it.
    pub fn controller(&self) -> &str {
        &self.spec.controller
    }

    /// Whether Ingresses that name no class are of this one.
    pub fn is_default(&self) -> bool {
        self.metadata.annotation(DEFAULT_CLASS) == Some("true")
    }
}

impl Kind for IngressClass {
    const KIND: &'static str = "IngressClass";
    const GROUP: &'static str = "networking.k8s.io";
    const PLURAL: &'static str = "ingressclasses";
    const NAMESPACED: bool = false;

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn object(seen: Seen<Self>) -> Object {
        Object::IngressClass(seen)
    }

    fn kept(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }
}
