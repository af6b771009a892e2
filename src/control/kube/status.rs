//! Pure. What Services and Ingresses should show as their address, and which of them show something else.
//!
//! Only `status.loadBalancer.ingress` is ours, and only of objects that are ours. When an object stops being ours its
//! status is cleared if all that it shows is what we showed before.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use super::objects::ObjectName;
use super::objects::service::LoadBalancerPoint;
use super::spec::Publish;
use super::store::Store;

pub mod write;

/// An object that has a status of ours.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Target {
    /// A Service.
    Service(ObjectName),
    /// An Ingress.
    Ingress(ObjectName),
}

/// An address to show.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Shown {
    /// By number.
    Ip(IpAddr),
    /// By name.
    Name(Arc<str>),
}

impl Shown {
    /// What is shown of an address that is bound; nothing for an unspecified one.
    pub fn published(publish: &Publish, bound: IpAddr) -> Option<Self> {
        match publish {
            Publish::Same => (!bound.is_unspecified()).then_some(Self::Ip(bound)),
            Publish::Address(address) => Some(Self::Ip(*address)),
            Publish::Name(name) => Some(Self::Name(name.as_str().into())),
        }
    }

    /// Whether this is what an object shows. Ingresses have no mode, nor have Services before Kubernetes 1.29.
    fn is(&self, point: &LoadBalancerPoint) -> bool {
        match self {
            Self::Ip(ip) => {
                let is_ours = point.ip.as_deref().and_then(|text| text.parse().ok()) == Some(*ip);
                is_ours && point.ip_mode.as_deref().is_none_or(|mode| mode == "Proxy")
            }
            Self::Name(name) => point.hostname.as_deref() == Some(&**name),
        }
    }
}

/// What one object should show.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wish {
    /// Its addresses; none = the status is to be cleared.
    pub shown: Arc<[Shown]>,
    /// Whether it shows something else now.
    pub differs: bool,
}

/// What all objects should show.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Statuses(pub Arc<BTreeMap<Target, Wish>>);

/// What each object was last wished to show: how an object that stopped being ours is known.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    last: Statuses,
    // Stopped being ours, and show our address yet.
    left: BTreeMap<Target, Arc<[Shown]>>,
}

/// An object that is to show an address, and what it shows now.
#[derive(Debug)]
pub(super) struct Showing<'a> {
    pub(super) target: Target,
    pub(super) shown: Arc<[Shown]>,
    pub(super) now: &'a [LoadBalancerPoint],
}

impl Ledger {
    /// Compares what objects should show with what they do show.
    pub(super) fn settle(&mut self, wanted: Vec<Showing<'_>>, store: &Store) -> Statuses {
        let wish = |Showing { target, shown, now }: Showing<'_>| {
            let differs = now.len() != shown.len() || now.iter().zip(&*shown).any(|(now, shown)| !shown.is(now));
            (target, Wish { shown, differs })
        };
        let mut wishes: BTreeMap<Target, Wish> = wanted.into_iter().map(wish).collect();
        let dropped =
            self.last.0.iter().filter(|(target, wish)| !wish.shown.is_empty() && !wishes.contains_key(target));
        self.left.extend(dropped.map(|(target, wish)| (target.clone(), wish.shown.clone())));
        self.left.retain(|target, ours| {
            let now = points(target, store).unwrap_or_default();
            let shows_ours = !now.is_empty() && now.iter().all(|point| ours.iter().any(|shown| shown.is(point)));
            shows_ours && !wishes.contains_key(target)
        });
        let clear = || Wish { shown: Arc::default(), differs: true };
        wishes.extend(self.left.keys().map(|target| (target.clone(), clear())));
        self.last = Statuses(Arc::new(wishes));
        self.last.clone()
    }
}

fn points<'s>(target: &Target, store: &'s Store) -> Option<&'s [LoadBalancerPoint]> {
    match target {
        Target::Service(name) => Some(&store.services.find(name)?.status.load_balancer.ingress),
        Target::Ingress(name) => Some(&store.ingresses.find(name)?.status.load_balancer.ingress),
    }
}

/// The merge patch that makes an object show these.
fn patch(target: &Target, shown: &[Shown]) -> Value {
    let point = |shown: &Shown| match (shown, target) {
        // Or nodes would send traffic for the address straight to the pods, past us.
        (Shown::Ip(ip), Target::Service(_)) => json!({"ip": ip, "ipMode": "Proxy"}),
        (Shown::Ip(ip), Target::Ingress(_)) => json!({"ip": ip}),
        (Shown::Name(name), _) => json!({"hostname": **name}),
    };
    let points: Value = if shown.is_empty() { Value::Null } else { shown.iter().map(point).collect() };
    json!({"status": {"loadBalancer": {"ingress": points}}})
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (target, wish) in &*self.0 {
            write!(f, "status {target}")?;
            for shown in &*wish.shown {
                write!(f, " {shown}")?;
            }
            writeln!(f, "{}", if wish.differs { "  # to be written" } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => write!(f, "{ip}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => write!(f, "service/{name}"),
            Self::Ingress(name) => write!(f, "ingress/{name}"),
        }
    }
}

#[cfg(test)]
mod tests;
