//! Pure. Which Ingresses are ours.

use std::sync::Arc;

use crate::control::kube::objects::ObjectName;
use crate::control::kube::objects::ingress::{Ingress, IngressClass};

use super::Draft;

/// What an IngressClass of ours names as its controller.
const CONTROLLER: &str = "sluice.dev/ingress";

/// What an IngressClass of ingress-nginx names as its controller.
const NGINX_CONTROLLER: &str = "k8s.io/ingress-nginx";
/// The class that its Ingresses name where nobody chose another.
const NGINX_CLASS: &str = "nginx";

/// Whose annotations an Ingress was written with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Dialect {
    /// Ours alone.
    Own,
    /// Those of ingress-nginx, and ours.
    Nginx,
}

/// Our Ingresses, the oldest first. A class of our name that is another controller's is told.
pub(super) fn ours<'a>(draft: &mut Draft<'a>) -> Vec<(&'a ObjectName, &'a Arc<Ingress>, Dialect)> {
    let (store, wanted) = (draft.store, draft.spec.ingress.class.as_str());
    let stands_in = draft.spec.ingress_nginx;
    let is_nginx = |class: &IngressClass| stands_in && class.controller() == NGINX_CONTROLLER;
    let is_known = |class: &IngressClass| class.controller() == CONTROLLER || is_nginx(class);
    let mut foreign: Vec<&str> = Vec::new();
    for (name, class) in store.classes.iter() {
        let is_of_name = *name.name == *wanted || (stands_in && &*name.name == NGINX_CLASS);
        if !is_of_name || is_known(class) {
            continue;
        }
        foreign.push(&name.name);
        let origin = draft.origin::<IngressClass>(name);
        let reason = format!(
            "is of controller {:?}, so its Ingresses are left alone; to have them served here make that {CONTROLLER}, or \
             name another class under ingress.class in the file",
            class.controller(),
        );
        draft.problem(&origin, reason);
    }
    let by_default = |controller: &str| {
        store.classes.iter().any(|(_, class)| class.is_default() && class.controller() == controller)
    };
    let without_class = match () {
        () if by_default(CONTROLLER) => Some(Dialect::Own),
        () if stands_in && by_default(NGINX_CONTROLLER) => Some(Dialect::Nginx),
        () => None,
    };
    let of_nginx = |class: &str| {
        let known = store.classes.iter().find(|(name, _)| *name.name == *class);
        stands_in && (class == NGINX_CLASS || known.is_some_and(|(_, class)| is_nginx(class)))
    };
    let dialect = |ingress: &Ingress| match ingress.class() {
        Some(class) if foreign.contains(&class) => None,
        Some(class) if of_nginx(class) => Some(Dialect::Nginx),
        Some(class) => (class == wanted).then_some(Dialect::Own),
        None => without_class,
    };
    let all = store.ingresses.by_age().into_iter();
    all.filter_map(|(name, ingress)| Some((name, ingress, dialect(ingress)?))).collect()
}

/// Whether the cluster has a class of ours: then clients may expect an answer, even while there is no Ingress.
pub(super) fn is_installed(draft: &Draft<'_>) -> bool {
    let is_ours = |class: &IngressClass| class.controller() == CONTROLLER;
    draft.store.classes.iter().any(|(name, class)| *name.name == *draft.spec.ingress.class && is_ours(class))
}
