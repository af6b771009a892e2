//! Pure. The endpoints of a Service's port, from all slices of the Service, and what each may take.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use crate::control::kube::objects::endpoints::{EndpointAddress, EndpointSlice};
use crate::control::kube::objects::service::{Service, ServicePort};
use crate::control::kube::objects::{Kind, ObjectName, SERVICE_NAME};
use crate::control::kube::spec::Access;
use crate::model::intent::{Admin, ListenerKey, Transport};

use super::Draft;

/// Slices by the namespace and name of their Service.
pub(super) type Slices<'a> = HashMap<(&'a str, &'a str), Vec<(&'a ObjectName, &'a EndpointSlice)>>;

/// Finds whose each slice is.
pub(super) fn slices<'a>(draft: &Draft<'a>) -> Slices<'a> {
    let mut slices = Slices::new();
    for (name, slice) in draft.store.slices.iter() {
        if let Some(service) = slice.meta().label(SERVICE_NAME) {
            slices.entry((&name.namespace, service)).or_default().push((name, slice));
        }
    }
    slices
}

/// One endpoint of a Service's port.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) instance: Arc<str>,
    pub(super) node: Option<Arc<str>>,
    pub(super) admin: Admin,
    standing: Standing,
}

/// Better ones first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Standing {
    Ready,
    Ending,
    NotReady,
}

/// The endpoints of a port by address and instance, so that slices may come in any order and share endpoints for a
/// moment, as they do while they are rewritten.
pub(super) fn of_port(
    draft: &mut Draft<'_>,
    slices: &Slices<'_>,
    name: &ObjectName,
    service: &Service,
    port: &ServicePort,
) -> Vec<(SocketAddr, Found)> {
    let mut found: BTreeMap<(SocketAddr, Arc<str>), Found> = BTreeMap::new();
    let none = Vec::new();
    for (slice_name, slice) in slices.get(&(&*name.namespace, &*name.name)).unwrap_or(&none) {
        if !is_wanted(service, slice) {
            continue;
        }
        let mut refused = Vec::new();
        let is_ours = |p: &&_| port_matches(p, port);
        for number in slice.ports.iter().filter(is_ours).map(|p| p.port) {
            for endpoint in &slice.endpoints {
                let address = match &endpoint.address {
                    EndpointAddress::Ip(ip) => SocketAddr::new(*ip, number),
                    EndpointAddress::Other(text) => {
                        refused.push(format!("endpoint {text:?} is not an IP address, which it must be"));
                        continue;
                    }
                };
                if let Err(reason) = may_dial(draft, port, address) {
                    refused.push(format!("endpoint {address} {reason}; it is left out"));
                    continue;
                }
                let standing = match () {
                    () if endpoint.ready || service.spec.publish_not_ready_addresses => Standing::Ready,
                    () if endpoint.serving && endpoint.terminating => Standing::Ending,
                    () => Standing::NotReady,
                };
                let one = Found {
                    instance: endpoint.instance.clone(),
                    node: endpoint.node.clone(),
                    admin: Admin::Ready,
                    standing,
                };
                let known = found.entry((address, endpoint.instance.clone()));
                known.and_modify(|known| known.standing = known.standing.min(standing)).or_insert(one);
            }
        }
        let origin = draft.origin::<EndpointSlice>(slice_name);
        refused.into_iter().for_each(|reason| draft.problem(&origin, reason));
    }
    let best = found.values().map(|one| one.standing).min();
    let judged = found.into_iter().map(|((address, _), mut one)| {
        one.admin = match one.standing {
            Standing::Ready => Admin::Ready,
            // While none is ready, those that still answer are better than nothing.
            Standing::Ending if best == Some(Standing::Ending) => Admin::Ready,
            Standing::Ending => Admin::Drain,
            Standing::NotReady => Admin::Maintain,
        };
        (address, one)
    });
    judged.collect()
}

/// Only the Service's main family: the other holds the same pods again.
fn is_wanted(service: &Service, slice: &EndpointSlice) -> bool {
    service
        .spec
        .ip_families
        .first()
        .is_none_or(|family| *family == slice.address_type || &*slice.address_type == "FQDN")
}

fn port_matches(of_slice: &crate::control::kube::objects::endpoints::EndpointPort, port: &ServicePort) -> bool {
    of_slice.name == port.name && of_slice.protocol.as_deref().unwrap_or("TCP") == port.protocol() && of_slice.port != 0
}

/// Whether an address may be dialled on an object's word. The API server refuses most of these as endpoints, but not
/// all in all versions; what lies behind them here is not the cluster's.
pub(super) fn may_dial(draft: &Draft<'_>, port: &ServicePort, address: SocketAddr) -> Result<(), &'static str> {
    // Who writes manifest files may as well write our own file.
    let is_local = matches!(draft.spec.access, Access::Manifests(_) | Access::Inline(_));
    let ip = address.ip().to_canonical();
    let transport = port.transport().unwrap_or(Transport::Tcp);
    match ip {
        _ if ip.is_unspecified() => Err("is the unspecified address"),
        _ if ip.is_multicast() => Err("is a multicast address"),
        _ if ip.is_loopback() && !is_local => Err("is a loopback address"),
        _ if is_link_local(ip) => Err("is a link-local address"),
        _ if draft.listens_on(ListenerKey { transport, address }) => Err("is where sluice itself listens"),
        _ => Ok(()),
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => Ipv6Addr::is_unicast_link_local(&ip),
    }
}
