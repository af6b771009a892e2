//! Pure. Nodes: where node ports are dialled.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{EXCLUDED, Kind, Meta, Object, Seen, nullable};

/// A machine of the cluster.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Node {
    metadata: Meta,
    #[serde(deserialize_with = "nullable")]
    status: NodeStatus,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
struct NodeStatus {
    #[serde(deserialize_with = "nullable")]
    addresses: Vec<NodeAddress>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
struct NodeAddress {
    #[serde(rename = "type", deserialize_with = "nullable")]
    kind: Box<str>,
    #[serde(deserialize_with = "nullable")]
    address: Box<str>,
}

impl Node {
    /// Where it is dialled: its first internal address, else its first external one.
    pub fn address(&self) -> Option<IpAddr> {
        let first = |kind: &str| {
            let of_kind = self.status.addresses.iter().filter(|address| &*address.kind == kind);
            of_kind.filter_map(|address| address.address.parse().ok()).next()
        };
        first("InternalIP").or_else(|| first("ExternalIP"))
    }

    /// Whether it wants no traffic from load balancers.
    pub fn is_excluded(&self) -> bool {
        // The label counts by being there; only an explicit "false" is taken at its word.
        self.metadata.label(EXCLUDED).is_some_and(|value| value != "false")
    }
}

impl Kind for Node {
    const KIND: &'static str = "Node";
    const GROUP: &'static str = "";
    const PLURAL: &'static str = "nodes";
    const NAMESPACED: bool = false;

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn object(seen: Seen<Self>) -> Object {
        Object::Node(seen)
    }

    fn kept(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }
}
