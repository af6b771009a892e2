//! Pure. How a pod is dialled from outside the cluster: by its own address, or by a port on the nodes.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::control::kube::objects::node::Node;
use crate::control::kube::objects::{Kind, ObjectName};
use crate::control::kube::spec::Reach;
use crate::model::intent::{Admin, Backend};

use super::endpoints::{Found, Slices, may_dial, of_port};
use super::{Draft, Wanted};

/// Most weight a backend may have.
const MOST: u16 = 256;

/// A node that may be dialled.
pub(super) struct Machine {
    name: Arc<str>,
    address: IpAddr,
    weight: u16,
}

/// All nodes that may be dialled, by name; and the weights of all.
pub(super) struct Machines {
    all: Vec<Machine>,
    weights: HashMap<Arc<str>, u16>,
}

/// Reads the nodes.
pub(super) fn machines(draft: &mut Draft<'_>) -> Machines {
    let mut machines = Machines { all: Vec::new(), weights: HashMap::new() };
    for (name, node) in draft.store.nodes.iter() {
        let weight = weight(draft, name, node);
        if weight != 1 {
            machines.weights.insert(name.name.clone(), weight);
        }
        if node.is_excluded() {
            continue;
        }
        match node.address() {
            Some(address) => machines.all.push(Machine { name: name.name.clone(), address, weight }),
            None => {
                let origin = draft.origin::<Node>(name);
                draft.problem(&origin, "has no InternalIP and no ExternalIP, so its ports cannot be dialled");
            }
        }
    }
    machines
}

fn weight(draft: &mut Draft<'_>, name: &ObjectName, node: &Node) -> u16 {
    const KEY: &str = "sluice.dev/weight";
    let meta = node.meta();
    let Some(text) = meta.annotation(KEY).or_else(|| meta.label(KEY)) else { return 1 };
    match text.trim().parse().ok().filter(|weight| *weight <= MOST) {
        Some(weight) => weight,
        None => {
            let origin = draft.origin::<Node>(name);
            draft.problem(&origin, format!("{KEY}: {text:?} is wrong; it is a number from 0 to {MOST}; 1 is taken"));
            1
        }
    }
}

/// The backends of a pool.
///
/// # Errors
/// They cannot be reached in the way that is asked for.
pub(super) fn backends(
    draft: &mut Draft<'_>,
    machines: &Machines,
    slices: &Slices<'_>,
    wanted: &Wanted<'_>,
) -> Result<Vec<Backend>, String> {
    match wanted.wishes.reach.unwrap_or(draft.spec.reach) {
        Reach::Pod => Ok(pods(draft, machines, slices, wanted)),
        Reach::NodePort | Reach::Auto => nodes(draft, machines, slices, wanted),
    }
}

fn pods(draft: &mut Draft<'_>, machines: &Machines, slices: &Slices<'_>, wanted: &Wanted<'_>) -> Vec<Backend> {
    let found = of_port(draft, slices, wanted.name, wanted.service, wanted.port);
    let backend = |(address, found): (SocketAddr, Found)| Backend {
        instance: found.instance,
        weight: found.node.as_ref().and_then(|node| machines.weights.get(node).copied()).unwrap_or(1),
        node: found.node.unwrap_or_else(|| "".into()),
        admin: found.admin,
        ..Backend::new(address)
    };
    found.into_iter().map(backend).collect()
}

fn nodes(
    draft: &mut Draft<'_>,
    machines: &Machines,
    slices: &Slices<'_>,
    wanted: &Wanted<'_>,
) -> Result<Vec<Backend>, String> {
    let port = wanted.port.node_port;
    if port == 0 {
        return Err(format!(
            "port {} of service/{} has no node port to dial; make it type: NodePort, or reach its pods directly \
             (reach: pod in the file or as annotation sluice.dev/reach)",
            wanted.port.label(),
            wanted.name,
        ));
    }
    // A node without a pod of its own drops the traffic under this policy.
    let local = (wanted.service.spec.external_traffic_policy.as_deref() == Some("Local")).then(|| {
        let mut pods: HashMap<Arc<str>, u16> = HashMap::new();
        for (_, found) in of_port(draft, slices, wanted.name, wanted.service, wanted.port) {
            if let Some(node) = found.node.filter(|_| found.admin == Admin::Ready) {
                let count = pods.entry(node).or_default();
                *count = count.saturating_add(1);
            }
        }
        pods
    });
    let mut backends = Vec::new();
    for machine in &machines.all {
        let share = local.as_ref().map_or(1, |pods| pods.get(&machine.name).copied().unwrap_or(0));
        let address = SocketAddr::new(machine.address, port);
        if share == 0 {
            continue;
        }
        if let Err(reason) = may_dial(draft, wanted.port, address) {
            let origin = draft.origin_of(Node::KIND, &ObjectName::new("", machine.name.clone()));
            draft.problem(&origin, format!("its address {address} {reason}; the node is left out"));
            continue;
        }
        let weight = share.saturating_mul(machine.weight).min(MOST);
        let (instance, node) = (machine.name.clone(), machine.name.clone());
        backends.push(Backend { instance, node, weight, ..Backend::new(address) });
    }
    Ok(backends)
}
