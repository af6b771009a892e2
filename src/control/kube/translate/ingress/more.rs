//! Pure. Routes that Ingresses of ingress-nginx ask for beside those of their rules, and what is done on these by path.

use std::sync::Arc;

use super::{Asker, Later, Writer};
use crate::control::kube::translate::Draft;
use crate::control::kube::translate::nginx::paths;
use crate::control::kube::translate::nginx::together::with_or_without_www;
use crate::model::host::HostPattern;
use crate::model::intent::{Action, Filters, PathMatch, Redirect, Route};

impl Writer {
    /// Claims the other names of an Ingress' first host; call it when all hosts of rules are claimed, which come first.
    pub(super) fn aliases(&mut self, draft: &mut Draft<'_>, asker: &mut Asker<'_>) {
        let Some(asks) = &asker.nginx else { return };
        let Some(first) = asker.own.rules.iter().flatten().next().cloned() else { return };
        for alias in &asks.aliases {
            let is_ours = !self.together.is_routed(alias)
                && self.hosts.claim_quietly(&asker.name.namespace, alias, &asker.origin);
            if is_ours {
                self.together.add_alias(alias, &first);
                asker.own.aliases.push(alias.clone());
            } else {
                let reason = format!("server-alias {alias} is the host of another rule, which keeps it");
                draft.problem(&asker.origin, reason);
            }
        }
    }

    /// Routes the paths that are expressions, the longest first.
    pub(super) fn expressions(&mut self, draft: &mut Draft<'_>, askers: &[Asker<'_>]) {
        let mut later = std::mem::take(&mut self.later);
        let order = |one: &Later| (std::cmp::Reverse(one.written.len()), std::cmp::Reverse(one.written.clone()));
        later.sort_by_key(order);
        for Later { asker, host, path, written, pool } in later {
            if let Some(asker) = askers.get(asker) {
                self.route(draft, asker, &host, (path, &written), pool);
            }
        }
    }

    /// Sends who asks for the root alone to another path.
    pub(super) fn app_root(&mut self, draft: &Draft<'_>, asker: &Asker<'_>, host: &HostPattern) {
        let root = asker.nginx.as_ref().filter(|_| asker.wishes.is_some()).and_then(|asks| asks.app_root.clone());
        let Some(root) = root.filter(|_| self.together.is_first_root(host)) else { return };
        let route = Route {
            host: host.clone(),
            alpn: Vec::new(),
            path: PathMatch::Exact("/".into()),
            action: Action::Redirect(root),
            filters: asker.filters.clone(),
            origin: asker.origin.clone(),
        };
        self.add(draft, asker, route, false);
    }

    /// Sends who asks for a host with `www.` to the one without, or the other way, where nobody has it.
    pub(super) fn www(&mut self, draft: &Draft<'_>, asker: &Asker<'_>) {
        if asker.wishes.is_none() || !asker.nginx.as_ref().is_some_and(|asks| asks.www) {
            return;
        }
        for host in asker.own.rules.iter().flatten() {
            let (Some(other), HostPattern::Exact(to)) = (with_or_without_www(host), host) else { continue };
            let is_free = !self.together.is_routed(&other)
                && self.hosts.claim_quietly(&asker.name.namespace, &other, &asker.origin);
            if !is_free {
                continue;
            }
            self.together.add_alias(&other, host);
            let redirect = Redirect { host: Some(to.clone()), ..Redirect::default() };
            let route = Route {
                host: other,
                alpn: Vec::new(),
                path: PathMatch::any(),
                action: Action::Redirect(Arc::new(redirect)),
                filters: None,
                origin: asker.origin.clone(),
            };
            self.add(draft, asker, route, false);
        }
    }

    /// What is done to the requests of one path: what the Ingress asks for, and what goes by the path.
    pub(super) fn filters_of(
        &mut self,
        draft: &mut Draft<'_>,
        asker: &Asker<'_>,
        host: &HostPattern,
        path: &PathMatch,
        written: &str,
    ) -> Option<Arc<Filters>> {
        let (Some(asks), Some(wishes)) = (&asker.nginx, &asker.wishes) else { return asker.filters.clone() };
        let place = (asker.name.namespace.clone(), host.clone(), written.into());
        let canary = self.together.canary(draft, place, &wishes.pool);
        let base = asker.filters.as_deref();
        let target = asks.target.as_ref().filter(|_| base.is_none_or(|filters| filters.rewrite_path.is_none()));
        if canary.is_none() && target.is_none() {
            return asker.filters.clone();
        }
        let mut filters = base.cloned().unwrap_or_default();
        if let Some(target) = target {
            filters.rewrite_path = Some(paths::edit(path, target));
        }
        filters.canary = canary.or(filters.canary);
        Some(Arc::new(filters))
    }
}
