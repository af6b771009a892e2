//! Pure. EndpointSlices: where a Service's pods are and how they are. The most numerous of all objects, so the smallest.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Kind, Meta, Object, Seen, nullable};

/// Some of a Service's endpoints.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointSlice {
    metadata: Meta,
    /// `IPv4`, `IPv6` or `FQDN`.
    #[serde(deserialize_with = "nullable")]
    pub address_type: Box<str>,
    /// The endpoints.
    #[serde(deserialize_with = "nullable")]
    pub endpoints: Vec<Endpoint>,
    /// The ports that each of them has.
    #[serde(deserialize_with = "nullable")]
    pub ports: Vec<EndpointPort>,
}

/// A port of every endpoint of a slice.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct EndpointPort {
    /// The name of the Service's port.
    #[serde(deserialize_with = "nullable")]
    pub name: Box<str>,
    /// `TCP`, `UDP` or `SCTP`; absent is `TCP`.
    pub protocol: Option<Box<str>>,
    /// The port to dial; 0 = none was named.
    #[serde(deserialize_with = "nullable")]
    pub port: u16,
}

/// One endpoint.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(from = "Wire", into = "Wire")]
pub struct Endpoint {
    /// Where it is.
    pub address: EndpointAddress,
    /// Whether it should take traffic.
    pub ready: bool,
    /// Whether it answers, be it about to end or not.
    pub serving: bool,
    /// Whether it is about to end.
    pub terminating: bool,
    /// The node it runs on, if that is known.
    pub node: Option<Arc<str>>,
    /// Who it is: its pod's UID, else its node, else nothing.
    pub instance: Arc<str>,
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq)]
pub enum EndpointAddress {
    /// By number.
    Ip(IpAddr),
    /// Something that is not a number.
    Other(Box<str>),
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    #[serde(deserialize_with = "nullable")]
    addresses: Vec<Box<str>>,
    #[serde(deserialize_with = "nullable")]
    conditions: Conditions,
    node_name: Option<Box<str>>,
    target_ref: Option<TargetRef>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct TargetRef {
    uid: Option<Box<str>>,
}

impl From<Wire> for Endpoint {
    fn from(wire: Wire) -> Self {
        // Further addresses of one endpoint are the same pod again; only the first is for consumers.
        let first = wire.addresses.into_iter().next().unwrap_or_default();
        let address = first.parse().map_or(EndpointAddress::Other(first), EndpointAddress::Ip);
        let ready = wire.conditions.ready.unwrap_or(true);
        let node: Option<Arc<str>> = wire.node_name.map(Into::into);
        let uid = wire.target_ref.and_then(|target| target.uid).map(Arc::from);
        Self {
            address,
            ready,
            serving: wire.conditions.serving.unwrap_or(ready),
            terminating: wire.conditions.terminating.unwrap_or(false),
            instance: uid.or_else(|| node.clone()).unwrap_or_default(),
            node,
        }
    }
}

impl From<Endpoint> for Wire {
    /// What [`Endpoint`] is read from again as it is.
    fn from(endpoint: Endpoint) -> Self {
        let address = match endpoint.address {
            EndpointAddress::Ip(ip) => ip.to_string().into(),
            EndpointAddress::Other(text) => text,
        };
        Self {
            addresses: vec![address],
            conditions: Conditions {
                ready: Some(endpoint.ready),
                serving: Some(endpoint.serving),
                terminating: Some(endpoint.terminating),
            },
            node_name: endpoint.node.as_deref().map(Into::into),
            target_ref: Some(TargetRef { uid: Some((&*endpoint.instance).into()) }),
        }
    }
}

impl Kind for EndpointSlice {
    const KIND: &'static str = "EndpointSlice";
    const GROUP: &'static str = "discovery.k8s.io";
    const PLURAL: &'static str = "endpointslices";
    const NAMESPACED: bool = true;

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn object(seen: Seen<Self>) -> Object {
        Object::EndpointSlice(seen)
    }

    fn kept(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }
}
