//! Pure. Which Ingresses are ours.

use std::sync::Arc;

use crate::control::kube::objects::ObjectName;
use crate::control::kube::objects::ingress::{Ingress, IngressClass};

use super::Draft;

/// What an IngressClass of ours names as its controller.
const CONTROLLER: &str = "sluice.dev/ingress";

/// Our Ingresses, the oldest first. A class of our name that is another controller's is told.
pub(super) fn ours<'a>(draft: &mut Draft<'a>) -> Vec<(&'a ObjectName, &'a Arc<Ingress>)> {
    let (store, wanted) = (draft.store, draft.spec.ingress.class.as_str());
    let foreign = store.classes.iter().find(|(name, class)| &*name.name == wanted && class.controller() != CONTROLLER);
    if let Some((name, class)) = foreign {
        let origin = draft.origin::<IngressClass>(name);
        let reason = format!(
            "is of controller {:?}, so its Ingresses are left alone; to have them served here make that {CONTROLLER}, or \
             name another class under ingress.class in the file",
            class.controller(),
        );
        draft.problem(&origin, reason);
    }
    let by_default = store.classes.iter().any(|(_, class)| class.is_default() && class.controller() == CONTROLLER);
    let mut ours = store.ingresses.by_age();
    ours.retain(|(_, ingress)| match ingress.class() {
        Some(class) => class == wanted && foreign.is_none(),
        None => by_default,
    });
    ours
}

/// Whether the cluster has a class of ours: then clients may expect an answer, even while there is no Ingress.
pub(super) fn is_installed(draft: &Draft<'_>) -> bool {
    let is_ours = |class: &IngressClass| class.controller() == CONTROLLER;
    draft.store.classes.iter().any(|(name, class)| *name.name == *draft.spec.ingress.class && is_ours(class))
}
