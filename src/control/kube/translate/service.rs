//! Pure. Services that are listened to by themselves: `type: LoadBalancer` of our class, and those with `expose`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::control::kube::objects::service::{Service, ServicePort};
use crate::control::kube::objects::{Kind, ObjectName};
use crate::control::kube::status::{Showing, Shown, Target};
use crate::model::host::HostPattern;
use crate::model::intent::{
    Action, Limits, Listener, ListenerKey, PathMatch, PoolName, Protocol, Route, SourceRules, Transport,
};
use crate::model::problem::{Cause, Origin};

use super::annotations::{Wishes, range};
use super::{Draft, place};

/// Writes the listeners of all Services, and what those of our class show.
pub(super) fn services(draft: &mut Draft<'_>) {
    let publish = &draft.spec.services.publish;
    let ours: Vec<_> = draft.spec.services.addresses.iter().filter_map(|ip| Shown::published(publish, *ip)).collect();
    for (name, service) in draft.store.services.by_age() {
        let is_balanced = is_ours(draft, service);
        if !is_balanced && service.meta().annotation("sluice.dev/expose").is_none() {
            continue;
        }
        let origin = draft.origin::<Service>(name);
        let placed = one(draft, name, service, is_balanced, &origin).unwrap_or_else(|reason| {
            draft.problem(&origin, format!("{reason} (until then the object is not served)"));
            None
        });
        let shown = placed.and_then(|address| Shown::published(publish, address));
        // Where no address is ours to hand out, what others wrote is left alone.
        if is_balanced && (shown.is_some() || !ours.is_empty()) {
            let (shown, ours) = (shown.into_iter().collect(), ours.clone());
            let (target, now) = (Target::Service(name.clone()), &*service.status.load_balancer.ingress);
            draft.shown.push(Showing { target, shown, ours, now, uid: service.meta().uid.as_deref() });
        }
    }
}

fn is_ours(draft: &Draft<'_>, service: &Service) -> bool {
    let spec = &draft.spec.services;
    service.kind() == "LoadBalancer"
        && service.spec.load_balancer_class.as_deref().map_or(spec.take_unclassed, |class| class == spec.class)
}

/// A port of a Service, and where it is listened to.
struct Place<'s> {
    listen: u16,
    transport: Transport,
    port: &'s ServicePort,
}

/// Gives the address it is served at, if it is; the error refuses the whole Service.
fn one<'a>(
    draft: &mut Draft<'a>,
    name: &'a ObjectName,
    service: &'a Arc<Service>,
    is_balanced: bool,
    origin: &Origin,
) -> Result<Option<IpAddr>, String> {
    let Some(wishes) = draft.wishes_of(name, service) else { return Ok(None) };
    let sources = sources(service, &wishes)?;
    let ports = ports(draft, service, &wishes, is_balanced, origin)?;
    let sockets: Vec<_> = ports.iter().map(|place| (place.transport, place.listen)).collect();
    let address = place::address(draft, service, &wishes, &sockets)?;
    tell_unserved(draft, service, address, origin);
    let mut is_placed = false;
    for Place { listen, transport, port } in ports {
        let key = ListenerKey { transport, address: SocketAddr::new(address, listen) };
        // What metrics and people call it; TCP goes without saying.
        let called = match transport {
            Transport::Tcp => listen.to_string(),
            Transport::Udp => format!("{listen}/udp"),
        };
        if let Some(holder) = place::holder(draft, key) {
            let holder = &holder.object;
            let other = match holder.starts_with(place::DOOR) {
                // It may have every address there is.
                true => "name under ingress in the file the addresses that are for Ingresses, this one not among them",
                false => "give the cluster another address under services.addresses",
            };
            let reason = format!(
                "port {called} on {address} is taken by {holder}; move it with sluice.dev/listen: \"{}=PORT\", or {other}",
                port.label(),
            );
            draft.problem_of(Cause::AddressTaken, origin, reason);
            continue;
        }
        place::take(draft, key, origin);
        let pool = draft.want((name, service, port), &wishes.pool, None);
        let listener_name = format!("{}/{name}:{called}", draft.spec.name);
        draft.listeners.insert(key, listener(listener_name, transport, pool, &wishes, &sources, origin));
        is_placed = true;
    }
    Ok(is_placed.then_some(address))
}

fn listener(
    name: String,
    transport: Transport,
    pool: PoolName,
    wishes: &Wishes,
    sources: &SourceRules,
    origin: &Origin,
) -> Listener {
    let (protocol, flow_idle) = match transport {
        Transport::Tcp => (Protocol::Tcp, None),
        Transport::Udp => (Protocol::Udp, wishes.pool.idle),
    };
    let route = Route {
        host: HostPattern::Any,
        alpn: Vec::new(),
        path: PathMatch::any(),
        action: Action::Forward(pool),
        filters: None,
        origin: origin.clone(),
    };
    Listener {
        name: name.into(),
        protocol,
        routes: vec![route],
        certs: Vec::new(),
        strict_sni: false,
        tls: Default::default(),
        sources: sources.clone(),
        // Else a Service on a port that something else has would take the whole edge out of its rotation.
        essential: false,
        proxies: wishes.proxies.clone(),
        http: Default::default(),
        limits: Limits { rate: wishes.rate, ..Limits::default() },
        flow_idle,
        origin: origin.clone(),
    }
}

/// The ports to listen on.
fn ports<'s>(
    draft: &mut Draft<'_>,
    service: &'s Service,
    wishes: &Wishes,
    is_balanced: bool,
    origin: &Origin,
) -> Result<Vec<Place<'s>>, String> {
    let called = |what: &str, label: &str| -> Result<Vec<&'s ServicePort>, String> {
        let ports: Vec<_> = service.ports_called(label).collect();
        if ports.is_empty() {
            let have = service.ports_in_words();
            let wrong = format!("{label:?} is none of the Service's TCP and UDP ports; it has {have}");
            return Err(format!("annotation sluice.dev/{what}: {wrong}"));
        }
        Ok(ports)
    };
    let mut moved = Vec::new();
    for (label, listen) in &wishes.listen {
        moved.extend(called("listen", label)?.into_iter().map(|port| (port, *listen)));
    }
    let mut places = Vec::new();
    let mut place = |draft: &mut Draft<'_>, port: &'s ServicePort, usual: u16| {
        let Some(transport) = port.transport() else {
            let reason = format!("{} is not served; port {} is left out", port.protocol(), port.label());
            return draft.problem_of(Cause::Unsupported, origin, reason);
        };
        if let Some(guard) = wishes.asks_of_connections().filter(|_| transport == Transport::Udp) {
            let label = port.label();
            let reason = format!(
                "annotation sluice.dev/{guard}: no datagram can carry its header, so port {label} (UDP) is not served; take \
                 it off, or give the port a Service of its own"
            );
            return draft.problem(origin, reason);
        }
        let moved = moved.iter().find(|(of, _)| std::ptr::eq(*of, port));
        places.push(Place { listen: moved.map_or(usual, |(_, listen)| *listen), transport, port });
    };
    for port in service.spec.ports.iter().filter(|_| is_balanced) {
        match port.port {
            0 => draft.problem(origin, "has a port 0, which cannot be listened to; give it another"),
            number => place(draft, port, number),
        }
    }
    for (listen, label) in &wishes.expose {
        let ports = match label {
            Some(label) => called("expose", label)?,
            None => only(service).ok_or_else(|| {
                let have = service.ports_in_words();
                format!("annotation sluice.dev/expose must name a TCP or UDP port, as in {listen}:NAME; it has {have}")
            })?,
        };
        ports.into_iter().for_each(|port| place(draft, port, *listen));
    }
    Ok(places)
}

/// The only port of a Service; TCP and UDP of one number are one.
fn only(service: &Service) -> Option<Vec<&ServicePort>> {
    let first = service.spec.ports.first()?;
    let is_one = service.spec.ports.iter().all(|port| port.port == first.port && port.transport().is_some());
    is_one.then(|| service.spec.ports.iter().collect())
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

fn tell_unserved(draft: &mut Draft<'_>, service: &Service, address: IpAddr, origin: &Origin) {
    if let Some(asked) = service.spec.load_balancer_ip.as_deref()
        && asked.parse() != Ok(address)
    {
        let all = place::on_offer(&draft.spec.services.addresses);
        draft.problem(origin, format!("spec.loadBalancerIP: {asked} could not be had, so it got {address}; {all}"));
    }
}
