//! Pure. What several Ingresses of ingress-nginx make of one host together: all of its paths are expressions if one
//! has an expression, a canary stands beside another's path, and other names lead where they do.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::control::kube::objects::ObjectName;
use crate::control::kube::objects::ingress::Ingress;
use crate::control::kube::translate::Draft;
use crate::control::kube::translate::annotations::{Named, PoolWishes};
use crate::control::kube::translate::beside::pool;
use crate::control::kube::translate::hosts::Own;
use crate::model::host::{Host, HostPattern};
use crate::model::intent::filter::Canary;
use crate::model::problem::Origin;

use super::Asks;
use super::routes::CanaryRule;

/// By namespace, host and path as written.
type Place = (Arc<str>, HostPattern, Box<str>);

/// What Ingresses have in common.
#[derive(Debug, Default)]
pub(in crate::control::kube::translate) struct Together {
    expressions: HashSet<HostPattern>,
    canaries: HashMap<Place, Beside>,
    routed: HashSet<HostPattern>,
    rooted: HashSet<HostPattern>,
    // Other names, and of which host.
    aliases: HashMap<HostPattern, HostPattern>,
}

#[derive(Debug)]
struct Beside {
    to: Named,
    rule: CanaryRule,
    name: ObjectName,
    origin: Origin,
    is_used: bool,
}

impl Together {
    /// Takes one in. `asks`: of ingress-nginx; refused ones too, for their paths are theirs all the same.
    pub(in crate::control::kube::translate) fn add(
        &mut self,
        (name, ingress): (&ObjectName, &Ingress),
        own: &Own,
        asks: Option<&Asks>,
        origin: &Origin,
    ) {
        for (rule, host) in ingress.spec.rules.iter().zip(&own.rules) {
            let Some(host) = host else { continue };
            let Some(beside) = asks.and_then(|asks| asks.canary.as_ref()) else {
                self.routed.insert(host.clone());
                if asks.is_some_and(Asks::makes_expressions) {
                    self.expressions.insert(host.clone());
                }
                continue;
            };
            for path in &rule.http.paths {
                let Some(service) = &path.backend.service else { continue };
                let port = Some(service.port.label().into());
                let to = Named { service: (*service.name).into(), namespace: None, port };
                let place = (name.namespace.clone(), host.clone(), path.path.clone());
                // The oldest stands, as of everything.
                self.canaries.entry(place).or_insert_with(|| Beside {
                    to,
                    rule: beside.clone(),
                    name: name.clone(),
                    origin: origin.clone(),
                    is_used: false,
                });
            }
        }
    }

    /// Whether all paths of a host are expressions.
    pub(in crate::control::kube::translate) fn is_by_expression(&self, host: &HostPattern) -> bool {
        self.expressions.contains(host)
    }

    /// Whether some rule is for this very host.
    pub(in crate::control::kube::translate) fn is_routed(&self, host: &HostPattern) -> bool {
        self.routed.contains(host)
    }

    /// Whether nobody sent the root of a host elsewhere yet.
    pub(in crate::control::kube::translate) fn is_first_root(&mut self, host: &HostPattern) -> bool {
        self.rooted.insert(host.clone())
    }

    /// Adds another name of a host.
    pub(in crate::control::kube::translate) fn add_alias(&mut self, alias: &HostPattern, of: &HostPattern) {
        self.routed.insert(alias.clone());
        self.aliases.insert(alias.clone(), of.clone());
        if self.expressions.contains(of) {
            self.expressions.insert(alias.clone());
        }
    }

    /// The canary beside a path of an Ingress with these wishes. One that cannot be had is told, and there is none.
    pub(in crate::control::kube::translate) fn canary(
        &mut self,
        draft: &mut Draft<'_>,
        place: Place,
        wishes: &PoolWishes,
    ) -> Option<Canary> {
        if self.canaries.is_empty() {
            return None;
        }
        let (namespace, host, path) = place;
        let host = self.aliases.get(&host).cloned().unwrap_or(host);
        let place = (namespace, host, path);
        let beside = self.canaries.get_mut(&place)?;
        beside.is_used = true;
        // Not sticky by the same cookie: each of the two pools would take the other's for a stranger's.
        let wished = wishes.without_sticky();
        let asker = ObjectName::new(place.0, format!("{}:canary", beside.name.name));
        match pool(draft, &beside.to, &beside.name, Some((&wished, &asker, &beside.origin))) {
            Ok(pool) => {
                let CanaryRule { header, cookie, permille } = beside.rule.clone();
                Some(Canary { pool, header, cookie, permille })
            }
            Err(wrong) => {
                draft.problem_of(wrong.cause, &beside.origin, format!("is a canary, but {wrong}; there is none"));
                None
            }
        }
    }

    /// Whether a canary stands beside anything; call it when all routes are written.
    pub(in crate::control::kube::translate) fn is_used(&self, name: &ObjectName) -> bool {
        self.canaries.values().any(|beside| beside.is_used && beside.name == *name)
    }
}

/// `www.example.test` of `example.test`, and the other way.
pub(in crate::control::kube::translate) fn with_or_without_www(host: &HostPattern) -> Option<HostPattern> {
    let HostPattern::Exact(host) = host else { return None };
    let name = host.as_str();
    let other = name.strip_prefix("www.").map_or_else(|| format!("www.{name}"), str::to_owned);
    Host::parse(&other).ok().filter(|other| other.as_str().contains('.')).map(HostPattern::Exact)
}
