//! Pure. What the file says about one cluster, defaults filled in.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use super::objects::ObjectName;

/// One cluster to serve.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClusterSpec {
    /// Its name in the file: the source's name on metrics and problems.
    pub name: Arc<str>,
    /// Where its objects are read.
    pub access: Access,
    /// Only these namespaces; empty = all.
    pub namespaces: Vec<String>,
    /// How backends are dialled.
    pub reach: Reach,
    /// Which Services are served.
    pub services: ServiceSpec,
    /// How Ingresses are served.
    pub ingress: IngressSpec,
    /// Ingresses of ingress-nginx are served too, by its annotations.
    pub ingress_nginx: bool,
    /// By which Lease one of several sluices is the writer of statuses and Events.
    pub lease: LeaseSpec,
    /// What is kept on disk for a start without the API server; `None` = nothing.
    pub last_good: Option<LastGood>,
}

/// What is kept of a cluster on disk. Needs a state folder; without one nothing is kept.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LastGood {
    /// Also certificates with their keys, and passwords.
    pub keys: bool,
}

/// Where the Lease is by which one of several sluices writes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum LeaseSpec {
    /// In our own namespace in the cluster, in `kube-system` from outside; one name for all that write the same objects.
    #[default]
    Usual,
    /// Here.
    Named(ObjectName),
    /// There is none: this one writes, whoever else does.
    None,
}

impl ClusterSpec {
    /// Whether there is anything to write to: manifests show no status and hear no Events.
    pub fn has_writer(&self) -> bool {
        matches!(self.access, Access::Kubeconfig(_) | Access::InCluster)
    }
}

/// Where a cluster's objects are read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Access {
    /// An API server, by this kubeconfig and its current context.
    Kubeconfig(PathBuf),
    /// The API server of the cluster sluice runs in.
    InCluster,
    /// A folder of manifests, as kubectl writes them.
    Manifests(PathBuf),
    /// Manifests given as text: what `demo` embeds and `render -` reads from standard input. (name, text)
    Inline(Vec<(String, String)>),
}

/// How backends are dialled.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Reach {
    /// What works; for now the same as [`Reach::NodePort`].
    #[default]
    Auto,
    /// Pods by their own addresses.
    Pod,
    /// Nodes by the Service's node port.
    NodePort,
}

/// Which Services are served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServiceSpec {
    /// `spec.loadBalancerClass` that is ours.
    pub class: String,
    /// Also `LoadBalancer` Services that name no class.
    pub take_unclassed: bool,
    /// Addresses to hand out and bind, in order. Empty: every address of this host is bound and status is not set.
    pub addresses: Vec<IpAddr>,
    /// What status shows.
    pub publish: Publish,
}

/// How Ingresses are served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IngressSpec {
    /// The Ingress class that is ours.
    pub class: String,
    /// Where hosts are served in the clear.
    pub http: Vec<SocketAddr>,
    /// Where hosts with a certificate are served.
    pub https: Vec<SocketAddr>,
    /// What status shows.
    pub publish: Publish,
}

/// What an object's status shows as its address.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Publish {
    /// The address that is bound; nothing when that is unspecified (`0.0.0.0`).
    #[default]
    Same,
    /// This address, as behind a port forward.
    Address(IpAddr),
    /// This name.
    Name(String),
}
