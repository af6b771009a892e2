//! Pure. The listeners that all Ingresses share.

use std::net::{IpAddr, SocketAddr};

use crate::control::kube::spec::ClusterSpec;
use crate::control::kube::status::Shown;
use crate::model::intent::{Action, CertName, Limits, Listener, ListenerKey, Protocol, Route, SourceRules};
use crate::model::problem::Origin;

use super::hosts::Hosts;
use super::{Draft, isolate};

/// The listeners of Ingresses, while their routes are written.
#[derive(Debug)]
pub(super) struct Doors {
    http: Vec<Door>,
    https: Vec<Door>,
}

#[derive(Debug)]
struct Door {
    address: SocketAddr,
    routes: Vec<Route>,
    certs: Vec<CertName>,
}

impl Door {
    fn new(address: &SocketAddr) -> Self {
        Self { address: *address, routes: Vec::new(), certs: Vec::new() }
    }

    /// An Ingress may wish for one address alone.
    fn is_for(&self, wanted: Option<IpAddr>) -> bool {
        wanted.is_none_or(|wanted| wanted == self.address.ip())
    }
}

impl Doors {
    /// The doors of a cluster, all closed yet.
    pub(super) fn new(spec: &ClusterSpec) -> Self {
        let doors = |all: &[SocketAddr]| all.iter().map(Door::new).collect();
        Self { http: doors(&spec.ingress.http), https: doors(&spec.ingress.https) }
    }

    /// Whether there is a door for TLS at all.
    pub(super) fn has_https(&self) -> bool {
        !self.https.is_empty()
    }

    /// Adds a route to the doors without TLS, as a redirect where `redirect` gives a port for the door. It still leads to
    /// its pool for who came over https: the file may trust a proxy on the same address.
    pub(super) fn add_http(
        &mut self,
        wanted: Option<IpAddr>,
        route: Route,
        redirect: impl Fn(SocketAddr) -> Option<u16>,
    ) {
        for door in self.http.iter_mut().filter(|door| door.is_for(wanted)) {
            let mut route = route.clone();
            if let Some(port) = redirect(door.address) {
                let pool = route.action.pool().cloned();
                route.action = Action::RedirectHttps { port, pool };
            }
            door.routes.push(route);
        }
    }

    /// Adds a route to the doors with TLS.
    pub(super) fn add_https(&mut self, wanted: Option<IpAddr>, route: &Route) {
        for door in self.https.iter_mut().filter(|door| door.is_for(wanted)) {
            door.routes.push(route.clone());
        }
    }

    /// Adds certificates; the first that is for a name serves it.
    pub(super) fn add_certs(&mut self, wanted: Option<IpAddr>, certs: &[CertName]) {
        for door in self.https.iter_mut().filter(|door| door.is_for(wanted)) {
            for cert in certs {
                if !door.certs.contains(cert) {
                    door.certs.push(cert.clone());
                }
            }
        }
    }

    /// Keeps what a host's own paths leave over from other namespaces. Call it when all routes are there.
    pub(super) fn isolate(&mut self, hosts: &Hosts) {
        let exposed = hosts.exposed();
        if exposed.is_empty() {
            return;
        }
        for door in self.http.iter_mut().chain(&mut self.https) {
            let more = isolate::missing(&exposed, hosts, &door.routes);
            door.routes.extend(more);
        }
    }

    /// What an Ingress shows as its addresses.
    pub(super) fn shown(&self, spec: &ClusterSpec, wanted: Option<IpAddr>) -> Vec<Shown> {
        let mut all = Vec::new();
        for door in self.http.iter().chain(&self.https).filter(|door| door.is_for(wanted)) {
            if let Some(shown) = Shown::published(&spec.ingress.publish, door.address.ip())
                && !all.contains(&shown)
            {
                all.push(shown);
            }
        }
        all
    }

    /// Writes the listeners that have something to serve; the others stay closed, for a host that serves only Services
    /// may need these ports for something else. `always` keeps those without TLS open: they answer 404.
    pub(super) fn open(self, draft: &mut Draft<'_>, always: bool) {
        let cluster = draft.spec.name.clone();
        for (protocol, doors) in [(Protocol::Http, self.http), (Protocol::Https, self.https)] {
            let always = always && protocol == Protocol::Http;
            for door in doors.into_iter().filter(|door| always || !door.routes.is_empty()) {
                let listener = Listener {
                    name: format!("{cluster}/{protocol}").into(),
                    protocol,
                    routes: door.routes,
                    certs: door.certs,
                    strict_sni: protocol == Protocol::Https,
                    tls: Default::default(),
                    sources: SourceRules::default(),
                    essential: true,
                    proxies: Vec::new(),
                    http: Default::default(),
                    limits: Limits::default(),
                    flow_idle: None,
                    origin: Origin::new(cluster.clone(), format!("ingress.{protocol}")),
                };
                draft.listeners.insert(ListenerKey::tcp(door.address), listener);
            }
        }
    }
}
