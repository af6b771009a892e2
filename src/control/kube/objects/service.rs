//! Pure. Services: what they listen on, and whose they are.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Kind, Meta, Object, Seen, nullable};
use crate::model::intent::Transport;

/// A Service.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Service {
    metadata: Meta,
    /// What it asks for.
    #[serde(deserialize_with = "nullable")]
    pub spec: ServiceSpec,
    /// What it shows.
    #[serde(deserialize_with = "nullable")]
    pub status: Status,
}

/// What a Service asks for.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceSpec {
    /// `ClusterIP`, `NodePort`, `LoadBalancer` or `ExternalName`; absent is `ClusterIP`.
    #[serde(rename = "type")]
    pub kind: Option<Box<str>>,
    /// Whose `LoadBalancer` it is.
    pub load_balancer_class: Option<Box<str>>,
    /// The address it would like.
    #[serde(rename = "loadBalancerIP")]
    pub load_balancer_ip: Option<Box<str>>,
    /// Which sources may connect.
    #[serde(deserialize_with = "nullable")]
    pub load_balancer_source_ranges: Vec<Box<str>>,
    /// `Local` = only pods on the node that was dialled.
    pub external_traffic_policy: Option<Box<str>>,
    /// Whether pods take traffic before they are ready.
    #[serde(deserialize_with = "nullable")]
    pub publish_not_ready_addresses: bool,
    /// `ClientIP` = a client stays with one pod.
    pub session_affinity: Option<Box<str>>,
    /// How long it does.
    #[serde(deserialize_with = "nullable")]
    pub session_affinity_config: AffinityConfig,
    /// Address families, the main one first.
    #[serde(deserialize_with = "nullable")]
    pub ip_families: Vec<Box<str>>,
    /// Its ports.
    #[serde(deserialize_with = "nullable")]
    pub ports: Vec<ServicePort>,
}

/// How a client stays with one pod.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct AffinityConfig {
    /// By its address.
    #[serde(rename = "clientIP", deserialize_with = "nullable")]
    pub client_ip: ClientIpConfig,
}

/// How a client stays with one pod by its address.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClientIpConfig {
    /// For how long, 1 to 86,400.
    pub timeout_seconds: Option<i64>,
}

/// A port of a Service.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServicePort {
    /// Its name; needed only where there are several.
    #[serde(deserialize_with = "nullable")]
    pub name: Box<str>,
    /// `TCP`, `UDP` or `SCTP`; absent is `TCP`.
    pub protocol: Option<Box<str>>,
    /// What is spoken on it.
    pub app_protocol: Option<Box<str>>,
    /// The port that is asked for.
    pub port: u16,
    /// The same on every node; 0 = none.
    #[serde(deserialize_with = "nullable")]
    pub node_port: u16,
}

impl ServicePort {
    /// `TCP` unless it says otherwise.
    pub fn protocol(&self) -> &str {
        self.protocol.as_deref().unwrap_or("TCP")
    }

    /// What it is carried by, if that is something that can be served.
    pub fn transport(&self) -> Option<Transport> {
        match self.protocol() {
            "TCP" => Some(Transport::Tcp),
            "UDP" => Some(Transport::Udp),
            _ => None,
        }
    }

    /// Its name, or its number where it has none.
    pub fn label(&self) -> String {
        if self.name.is_empty() { self.port.to_string() } else { self.name.to_string() }
    }
}

/// What a Service or an Ingress shows.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Status {
    /// Where it is reached.
    #[serde(deserialize_with = "nullable")]
    pub load_balancer: LoadBalancerStatus,
}

/// Where an object is reached from outside.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct LoadBalancerStatus {
    /// One entry an address.
    #[serde(deserialize_with = "nullable")]
    pub ingress: Vec<LoadBalancerPoint>,
}

/// One address of a load balancer.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LoadBalancerPoint {
    /// By number.
    pub ip: Option<Box<str>>,
    /// By name.
    pub hostname: Option<Box<str>>,
    /// `Proxy` = nodes must not shortcut to the pods.
    pub ip_mode: Option<Box<str>>,
}

impl Service {
    /// `ClusterIP` unless it says otherwise.
    pub fn kind(&self) -> &str {
        self.spec.kind.as_deref().unwrap_or("ClusterIP")
    }

    /// Its TCP port of this name or number.
    pub fn tcp_port(&self, label: &str) -> Option<&ServicePort> {
        let number = label.parse::<u16>().ok();
        let mut tcp = self.spec.ports.iter().filter(|port| port.protocol() == "TCP");
        // A name is never all digits, so the two readings cannot clash.
        tcp.find(|port| number.map_or(&*port.name == label, |number| port.port == number))
    }

    /// The TCP and UDP ports of this name, or of this number: a name is of one, a number may be of one each.
    pub fn ports_called<'s>(&'s self, label: &str) -> impl Iterator<Item = &'s ServicePort> + use<'s> {
        let (number, label) = (label.parse::<u16>().ok(), label.to_owned());
        let is_called = move |port: &&ServicePort| number.map_or(*port.name == *label, |number| port.port == number);
        self.spec.ports.iter().filter(|port| port.transport().is_some()).filter(is_called)
    }

    /// The addresses it shows now.
    pub fn shown_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.status.load_balancer.ingress.iter().filter_map(|point| point.ip.as_deref()?.parse().ok())
    }

    /// Its ports in words, for errors.
    pub fn ports_in_words(&self) -> String {
        let word = |port: &ServicePort| match port.protocol() {
            "TCP" => port.label(),
            other => format!("{}/{other}", port.label()),
        };
        let ports: Vec<String> = self.spec.ports.iter().map(word).collect();
        if ports.is_empty() { "no ports".to_owned() } else { ports.join(", ") }
    }
}

impl Kind for Service {
    const KIND: &'static str = "Service";
    const GROUP: &'static str = "";
    const PLURAL: &'static str = "services";
    const NAMESPACED: bool = true;

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn object(seen: Seen<Self>) -> Object {
        Object::Service(seen)
    }

    fn kept(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }
}
