//! Pure. What is said to the owner of an object: problems, and what became of its address, as Events of it.
//!
//! An Event's name is made of all that it says. So the same is never said twice side by side: not by this process, not
//! by the one before it, not by another sluice on the same cluster.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::control::kube::objects::endpoints::EndpointSlice;
use crate::control::kube::objects::ingress::{Ingress, IngressClass};
use crate::control::kube::objects::node::Node;
use crate::control::kube::objects::opaque::OpaqueSecret;
use crate::control::kube::objects::secret::TlsSecret;
use crate::control::kube::objects::service::Service;
use crate::control::kube::objects::users::UserSecret;
use crate::control::kube::objects::{Kind, ObjectName};
use crate::control::kube::store::{Store, Table};
use crate::model::problem::{Cause, Problem};

use super::{Shown, Target, fingerprint};

/// Who says so, on Events.
pub const CONTROLLER: &str = "sluice.dev/edge";

/// The longest note that the API server takes, in bytes.
const NOTE: usize = 1024;

/// The longest name of an object, in bytes.
const NAME: usize = 253;

/// Where Events of objects without a namespace are kept.
const HOMELESS: &str = "default";

/// Problems of one cluster that become Events at a time; what exceeds that is on the pages and in the log.
pub const MOST: usize = 1000;

/// An object that is spoken of.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Regarding {
    kind: &'static str,
    api: String,
    name: ObjectName,
    // What tells it from another one of its name; kubectl asks for Events by it.
    uid: Arc<str>,
}

/// Something to say of an object.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Notice {
    regarding: Regarding,
    reason: &'static str,
    note: String,
}

/// What became of an object's address. Its word is not a problem: nobody has to act.
const ASSIGNED: &str = "AddressAssigned";
const WITHDRAWN: &str = "AddressWithdrawn";

/// A problem's word on Events: what its cause is called there.
pub fn reason(cause: Cause) -> &'static str {
    match cause {
        Cause::Invalid => "Invalid",
        Cause::AddressTaken => "AddressTaken",
        Cause::Unopened => "AddressUnusable",
        Cause::HostTaken => "HostTaken",
        Cause::Missing => "Missing",
        Cause::Certificate => "CertificateUnusable",
        Cause::Unsupported => "NotSupported",
    }
}

impl Regarding {
    /// The object that an origin of this cluster names (`service/default/web`), if it is there.
    pub fn find(object: &str, store: &Store) -> Option<Self> {
        let (kind, name) = object.split_once('/')?;
        let name = match name.split_once('/') {
            Some((namespace, name)) => ObjectName::new(namespace, name),
            None => ObjectName::new("", name),
        };
        match kind {
            "service" => Self::of::<Service>(name, &store.services),
            "ingress" => Self::of::<Ingress>(name, &store.ingresses),
            "secret" => Self::of::<TlsSecret>(name.clone(), &store.secrets)
                .or_else(|| Self::of::<UserSecret>(name.clone(), &store.users))
                .or_else(|| Self::of::<OpaqueSecret>(name, &store.opaque)),
            "endpointslice" => Self::of::<EndpointSlice>(name, &store.slices),
            "node" => Self::of::<Node>(name, &store.nodes),
            "ingressclass" => Self::of::<IngressClass>(name, &store.classes),
            _ => None,
        }
    }

    /// Of one that cannot be read nothing is known but its name.
    fn of<K: Kind>(name: ObjectName, table: &Table<K>) -> Option<Self> {
        let uid = match table.find(&name) {
            Some(object) => object.meta().uid.as_deref().unwrap_or_default().into(),
            None => table.unreadable().any(|(other, _)| *other == name).then(|| "".into())?,
        };
        let api = if K::GROUP.is_empty() { "v1".to_owned() } else { format!("{}/v1", K::GROUP) };
        Some(Self { kind: K::KIND, api, name, uid })
    }
}

impl Notice {
    /// A problem, to the owner of its object; `None` if there is no such object.
    pub fn of_problem(problem: &Problem, store: &Store) -> Option<Self> {
        let regarding = Regarding::find(&problem.origin.object, store)?;
        Some(Self { regarding, reason: reason(problem.cause), note: cut(&problem.reason, NOTE) })
    }

    /// What an object's status shows since now. `uid` is the object's.
    pub fn of_status(target: &Target, uid: &Arc<str>, shown: &[Shown]) -> Self {
        let (kind, api, name) = match target {
            Target::Service(name) => (Service::KIND, "v1".to_owned(), name),
            Target::Ingress(name) => (Ingress::KIND, format!("{}/v1", Ingress::GROUP), name),
        };
        let (reason, note) = match shown {
            [] => (WITHDRAWN, "is not served any more, so its status shows no address of sluice".to_owned()),
            shown => {
                let shown: Vec<_> = shown.iter().map(ToString::to_string).collect();
                (ASSIGNED, format!("is served at {}", shown.join(", ")))
            }
        };
        Self {
            regarding: Regarding { kind, api, name: name.clone(), uid: uid.clone() },
            reason,
            note: cut(&note, NOTE),
        }
    }

    /// Whether it asks somebody to act. What does not is said once each time.
    pub fn is_warning(&self) -> bool {
        !matches!(self.reason, ASSIGNED | WITHDRAWN)
    }

    /// Where its Event is kept.
    pub fn event(&self) -> ObjectName {
        let Regarding { kind, name, uid, .. } = &self.regarding;
        let namespace = if name.namespace.is_empty() { HOMELESS } else { &name.namespace };
        let number = fingerprint([kind, &**uid, self.reason, &self.note]);
        let stem = cut(&name.name, NAME - 17);
        ObjectName::new(namespace, format!("{}.{number:016x}", stem.trim_end_matches(['-', '.', '…'])))
    }

    /// The Event, said at `time` (RFC 3339 with microseconds) by the sluice called `me`.
    pub fn body(&self, time: &Value, me: &str) -> Value {
        let event = self.event();
        let Regarding { kind, api, name, uid } = &self.regarding;
        let mut regarding = json!({"apiVersion": api, "kind": kind, "name": *name.name});
        for (key, value) in [("namespace", &name.namespace), ("uid", uid)] {
            if !value.is_empty() {
                regarding[key] = json!(**value);
            }
        }
        json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"namespace": *event.namespace, "name": *event.name},
            "eventTime": time,
            "type": if self.is_warning() { "Warning" } else { "Normal" },
            "reason": self.reason,
            "action": "Serve",
            "note": self.note,
            "regarding": regarding,
            "reportingController": CONTROLLER,
            "reportingInstance": cut(me, 128),
        })
    }
}

/// At most so many bytes of a text, with a mark where something is missing.
fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let room = most.saturating_sub('…'.len_utf8());
    let end = (0..=room).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests;
