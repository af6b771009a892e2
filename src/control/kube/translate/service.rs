//! Pure. Services that are listened to by themselves: `type: LoadBalancer` of our class, and those with `expose`.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::control::kube::objects::service::{Service, ServicePort};
use crate::control::kube::objects::{Kind, ObjectName};
use crate::control::kube::status::{Showing, Shown, Target};
use crate::model::host::HostPattern;
use crate::model::intent::{Action, Limits, Listener, ListenerKey, PathMatch, PoolName, Protocol, Route, SourceRules};
use crate::model::problem::Origin;

use super::annotations::{Wishes, range};
use super::{Draft, place};

/// Writes the listeners of all Services.
pub(super) fn services(draft: &mut Draft<'_>) {
    for (name, service) in draft.store.services.by_age() {
        let is_balanced = is_ours(draft, service);
        if is_balanced || service.meta().annotation("sluice.dev/expose").is_some() {
            let origin = draft.origin::<Service>(name);
            if let Err(reason) = one(draft, name, service, is_balanced, &origin) {
                draft.problem(&origin, format!("{reason} (until then the object is not served)"));
            }
        }
    }
}

fn is_ours(draft: &Draft<'_>, service: &Service) -> bool {
    let spec = &draft.spec.services;
    service.kind() == "LoadBalancer"
        && service.spec.load_balancer_class.as_deref().map_or(spec.take_unclassed, |class| class == spec.class)
}

/// The error refuses the whole Service.
fn one<'a>(
    draft: &mut Draft<'a>,
    name: &'a ObjectName,
    service: &'a Arc<Service>,
    is_balanced: bool,
    origin: &Origin,
) -> Result<(), String> {
    let Some(wishes) = draft.wishes_of(name, service) else { return Ok(()) };
    let sources = sources(service, &wishes)?;
    let ports = ports(draft, service, &wishes, is_balanced, origin)?;
    let numbers: Vec<u16> = ports.iter().map(|(listen, _)| *listen).collect();
    let address = place::address(draft, service, &wishes, &numbers)?;
    tell_unserved(draft, service, address, origin);
    let mut is_placed = false;
    for (listen, port) in ports {
        let socket = SocketAddr::new(address, listen);
        if let Some(holder) = place::holder(draft, socket) {
            let holder = &holder.object;
            let reason = format!(
                "port {listen} on {address} is taken by {holder}; move it with sluice.dev/listen: \"{}=PORT\", or give \
                 the cluster another address under services.addresses",
                port.label(),
            );
            draft.problem(origin, reason);
            continue;
        }
        place::take(draft, socket, origin);
        let pool = draft.want((name, service, port), &wishes.pool, None);
        let listener_name = format!("{}/{name}:{listen}", draft.spec.name);
        draft.listeners.insert(ListenerKey::tcp(socket), listener(listener_name, pool, &sources, origin));
        is_placed = true;
    }
    if is_placed
        && is_balanced
        && let Some(shown) = Shown::published(&draft.spec.services.publish, address)
    {
        let now = &service.status.load_balancer.ingress;
        draft.shown.push(Showing { target: Target::Service(name.clone()), shown: [shown].into(), now });
    }
    Ok(())
}

fn listener(name: String, pool: PoolName, sources: &SourceRules, origin: &Origin) -> Listener {
    let route = Route {
        host: HostPattern::Any,
        alpn: Vec::new(),
        path: PathMatch::any(),
        action: Action::Forward(pool),
        origin: origin.clone(),
    };
    Listener {
        name: name.into(),
        protocol: Protocol::Tcp,
        routes: vec![route],
        certs: Vec::new(),
        strict_sni: false,
        sources: sources.clone(),
        // Else a Service on a port that something else has would take the whole edge out of its rotation.
        essential: false,
        proxies: Vec::new(),
        limits: Limits::default(),
        flow_idle: None,
        origin: origin.clone(),
    }
}

/// The ports to listen on, each with the Service's port it is for.
fn ports<'s>(
    draft: &mut Draft<'_>,
    service: &'s Service,
    wishes: &Wishes,
    is_balanced: bool,
    origin: &Origin,
) -> Result<Vec<(u16, &'s ServicePort)>, String> {
    let unknown = |what: &str, label: &str| {
        let have = service.ports_in_words();
        format!("annotation sluice.dev/{what}: {label:?} is none of the Service's TCP ports; it has {have}")
    };
    let mut moved = Vec::new();
    for (label, listen) in &wishes.listen {
        moved.push((service.tcp_port(label).ok_or_else(|| unknown("listen", label))?, *listen));
    }
    let listen_on = |port: &'s ServicePort, usual: u16| {
        let moved = moved.iter().find(|(of, _)| std::ptr::eq(*of, port));
        (moved.map_or(usual, |(_, listen)| *listen), port)
    };
    let mut ports = Vec::new();
    for port in service.spec.ports.iter().filter(|_| is_balanced) {
        match port.protocol() {
            "TCP" if port.port != 0 => ports.push(listen_on(port, port.port)),
            "TCP" => draft.problem(origin, "has a port 0, which cannot be listened to; give it another"),
            other => draft.problem(origin, format!("{other} is not served by this version: port {}", port.label())),
        }
    }
    for (listen, label) in &wishes.expose {
        let port = match (label, &service.spec.ports[..]) {
            (Some(label), _) => service.tcp_port(label).ok_or_else(|| unknown("expose", label))?,
            (None, [only]) if only.protocol() == "TCP" => only,
            (None, _) => {
                let have = service.ports_in_words();
                return Err(format!(
                    "annotation sluice.dev/expose must name a TCP port, as in {listen}:NAME; it has {have}"
                ));
            }
        };
        ports.push(listen_on(port, *listen));
    }
    Ok(ports)
}

fn sources(service: &Service, wishes: &Wishes) -> Result<SourceRules, String> {
    let mut allow = Vec::new();
    for text in &service.spec.load_balancer_source_ranges {
        allow.push(
            range(text.trim()).map_err(|right| format!("spec.loadBalancerSourceRanges: {text:?} is wrong; {right}"))?,
        );
    }
    if !allow.is_empty() && !wishes.allow.is_empty() {
        return Err("has both spec.loadBalancerSourceRanges and sluice.dev/allow-source-ranges; keep one".to_owned());
    }
    allow.extend(&wishes.allow);
    Ok(SourceRules { allow, deny: wishes.deny.clone() })
}

fn tell_unserved(draft: &mut Draft<'_>, service: &Service, address: std::net::IpAddr, origin: &Origin) {
    if let Some(asked) = service.spec.load_balancer_ip.as_deref()
        && asked.parse() != Ok(address)
    {
        let all = place::on_offer(&draft.spec.services.addresses);
        draft.problem(origin, format!("spec.loadBalancerIP: {asked} could not be had, so it got {address}; {all}"));
    }
    if service.spec.session_affinity.as_deref() == Some("ClientIP") {
        draft.problem(origin, "sessionAffinity: ClientIP is not served by this version; its clients are spread");
    }
}
