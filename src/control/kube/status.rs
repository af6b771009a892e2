//! Pure. What a cluster's objects are told: what Services and Ingresses should show as their address and which of them
//! show something else, and what is said to their owners.
//!
//! Only `status.loadBalancer.ingress` is ours, and only of objects that are ours. One that is not served shows no
//! address, if all that it shows is what we would show; so does one that stopped being ours. Of several sluices on a
//! cluster one writes: `lease` says which. `desk` does all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use super::objects::service::LoadBalancerPoint;
use super::objects::{Kind, ObjectName};
use super::spec::Publish;
use super::store::Store;

pub mod bulletin;
pub mod desk;
pub mod lease;
pub mod notice;

mod events;
mod seat;
mod write;

use notice::Notice;

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
    /// Whether it shows something, and all of it is ours to take away.
    pub is_ours: bool,
    /// What tells the object from another one of its name; empty if it has nothing of the kind.
    pub uid: Arc<str>,
}

/// What the objects of a cluster are told.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Word {
    /// What they should show.
    pub statuses: Statuses,
    /// The problems that stand, for their owners.
    pub notices: Arc<Vec<Arc<Notice>>>,
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

/// An object of ours, and what it shows now.
#[derive(Debug)]
pub(super) struct Showing<'a> {
    pub(super) target: Target,
    /// What it is to show; nothing if it is not served.
    pub(super) shown: Arc<[Shown]>,
    /// All that an object of its kind might show on our word.
    pub(super) ours: Vec<Shown>,
    pub(super) now: &'a [LoadBalancerPoint],
    pub(super) uid: Option<&'a str>,
}

fn all_of(ours: &[Shown], now: &[LoadBalancerPoint]) -> bool {
    !now.is_empty() && now.iter().all(|point| ours.iter().any(|shown| shown.is(point)))
}

impl Statuses {
    /// The same, but that those which `is_served` denies show nothing.
    pub fn of_those(&self, is_served: impl Fn(&Target) -> bool) -> Self {
        let is_lost = |(target, wish): &(&Target, &Wish)| !wish.shown.is_empty() && !is_served(target);
        let lost: BTreeSet<Target> = self.0.iter().filter(is_lost).map(|(target, _)| target.clone()).collect();
        if lost.is_empty() {
            return self.clone();
        }
        let wishes = self.0.iter().map(|(target, wish)| {
            let wish = match lost.contains(target) {
                true => Wish { shown: Arc::default(), differs: wish.is_ours, ..wish.clone() },
                false => wish.clone(),
            };
            (target.clone(), wish)
        });
        Self(Arc::new(wishes.collect()))
    }
}

impl Ledger {
    /// Compares what objects should show with what they do show.
    pub(super) fn settle(&mut self, wanted: Vec<Showing<'_>>, store: &Store) -> Statuses {
        let wish = |Showing { target, shown, ours, now, uid }: Showing<'_>| {
            let is_ours = all_of(&ours, now);
            let differs = match shown.is_empty() {
                true => is_ours,
                false => now.len() != shown.len() || now.iter().zip(&*shown).any(|(now, shown)| !shown.is(now)),
            };
            (target, Wish { shown, differs, is_ours, uid: uid.unwrap_or_default().into() })
        };
        let mut wishes: BTreeMap<Target, Wish> = wanted.into_iter().map(wish).collect();
        let dropped =
            self.last.0.iter().filter(|(target, wish)| !wish.shown.is_empty() && !wishes.contains_key(target));
        self.left.extend(dropped.map(|(target, wish)| (target.clone(), wish.shown.clone())));
        self.left.retain(|target, ours| {
            let shows_ours = standing(target, store).is_some_and(|(now, _)| all_of(ours, now));
            shows_ours && !wishes.contains_key(target)
        });
        for target in self.left.keys() {
            let uid = standing(target, store).and_then(|(_, uid)| uid).unwrap_or_default().into();
            wishes.insert(target.clone(), Wish { shown: Arc::default(), differs: true, is_ours: true, uid });
        }
        // Of those that show nothing, and are to, there is nothing to say.
        wishes.retain(|_, wish| wish.differs || !wish.shown.is_empty());
        self.last = Statuses(Arc::new(wishes));
        self.last.clone()
    }
}

/// What an object shows, and its UID.
fn standing<'s>(target: &Target, store: &'s Store) -> Option<(&'s [LoadBalancerPoint], Option<&'s str>)> {
    Some(match target {
        Target::Service(name) => {
            let service = store.services.find(name)?;
            (&service.status.load_balancer.ingress, service.meta().uid.as_deref())
        }
        Target::Ingress(name) => {
            let ingress = store.ingresses.find(name)?;
            (&ingress.status.load_balancer.ingress, ingress.meta().uid.as_deref())
        }
    })
}

/// A number made of texts, the same in every process and version (FNV-1a). Not against those who look for two texts of
/// one number.
fn fingerprint<const N: usize>(texts: [&str; N]) -> u64 {
    // 0xff is in no text, so texts do not run into each other.
    let bytes = texts.iter().flat_map(|text| text.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
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
