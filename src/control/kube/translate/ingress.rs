//! Pure. Ingresses: hosts and paths on the listeners that all of them share.

use std::cell::Cell;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::control::kube::objects::ingress::{Ingress, IngressBackend, IngressPath};
use crate::control::kube::objects::{Kind, ObjectName};
use crate::control::kube::status::{Showing, Target};
use crate::model::host::HostPattern;
use crate::model::intent::{Action, Filters, PathMatch, Pool, PoolName, Route, WhenDown};
use crate::model::problem::{Cause, Origin};

use super::annotations::{On, Wishes};
use super::certs::Parsed;
use super::class::Dialect;
use super::doors::Doors;
use super::hosts::{Hosts, Own};
use super::nginx::beside::{Asking, Leads};
use super::nginx::together::Together;
use super::nginx::{self, Asks, paths};
use super::{Draft, beside, certs, class};

mod more;

/// Where ACME asks for proof, over http by its rules (RFC 8555 §8.3).
const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// One of our Ingresses.
struct Asker<'a> {
    name: &'a ObjectName,
    ingress: &'a Arc<Ingress>,
    origin: Origin,
    own: Own,
    // `None` = refused for its annotations.
    wishes: Option<Wishes>,
    filters: Option<Arc<Filters>>,
    // It is of ingress-nginx, by what it asked for there.
    nginx: Option<Asks>,
    // It has a route.
    is_served: Cell<bool>,
}

/// Writes routes, certificates and statuses of all Ingresses.
pub(super) fn ingresses(draft: &mut Draft<'_>, parsed: &mut Parsed) {
    let mut hosts = Hosts::default();
    let mut together = Together::default();
    let mut askers = Vec::new();
    let ours = class::ours(draft);
    for (name, ingress, dialect) in &ours {
        let (name, ingress): (&ObjectName, &Arc<Ingress>) = (name, ingress);
        let origin = draft.origin::<Ingress>(name);
        let own = hosts.claim(draft, name, ingress, &origin);
        let (nginx, wishes) = match dialect {
            Dialect::Own => (None, wishes(draft, Wishes::default(), ingress, &origin)),
            Dialect::Nginx => {
                let (asks, base) = nginx::of(draft, name, ingress.meta(), &origin);
                (Some(asks), base.and_then(|base| wishes(draft, base, ingress, &origin)))
            }
        };
        together.add((name, ingress), &own, nginx.as_ref(), &origin);
        askers.push(Asker { name, ingress, origin, own, wishes, filters: None, nginx, is_served: Cell::new(false) });
    }
    let leads = Leads::of(ours.iter().map(|(name, ingress, _)| (*name, *ingress)));
    for asker in &mut askers {
        asker.complete(draft, &hosts, &leads);
    }
    let has_defaults = askers.iter().any(|asker| asker.ingress.spec.default_backend.is_some());
    let mut writer = Writer {
        doors: Doors::new(draft.spec),
        hosts,
        together,
        later: Vec::new(),
        rooted: HashSet::new(),
        has_defaults,
    };
    for asker in &mut askers {
        writer.aliases(draft, asker);
    }
    for (at, asker) in askers.iter().enumerate() {
        writer.rules(draft, asker, at);
    }
    writer.expressions(draft, &askers);
    for asker in &askers {
        writer.www(draft, asker);
    }
    // After all rules, so that a rule of a younger Ingress comes before the default of an older one.
    for asker in &askers {
        writer.defaults(draft, asker);
        writer.certs(draft, parsed, asker);
    }
    let ours = writer.doors.shown(draft.spec, None);
    for asker in askers.iter().filter(|_| !ours.is_empty()) {
        let has_part = asker.is_served.get() || writer.together.is_used(asker.name);
        let is_served = asker.wishes.is_some() && has_part;
        let shown = if is_served { writer.doors.shown(draft.spec, asker.address()) } else { Vec::new() };
        let (target, now) = (Target::Ingress(asker.name.clone()), &*asker.ingress.status.load_balancer.ingress);
        let uid = asker.ingress.meta().uid.as_deref();
        draft.shown.push(Showing { target, shown: shown.into(), ours: ours.clone(), now, uid });
    }
    writer.doors.isolate(&writer.hosts);
    let is_installed = class::is_installed(draft);
    writer.doors.open(draft, is_installed);
    parsed.sweep(draft);
}

fn wishes(draft: &mut Draft<'_>, base: Wishes, ingress: &Arc<Ingress>, origin: &Origin) -> Option<Wishes> {
    let wishes = draft.read_wishes_over(base, On::Ingress, &**ingress, origin)?;
    let spec = &draft.spec.ingress;
    let doors = || spec.http.iter().chain(&spec.https).map(SocketAddr::ip);
    match wishes.address {
        Some(address) if !doors().any(|door| door == address) => {
            let mut all: Vec<IpAddr> = doors().collect();
            all.sort();
            all.dedup();
            let all: Vec<String> = all.iter().map(ToString::to_string).collect();
            let reason = format!(
                "annotation sluice.dev/address: Ingresses are not served on {address}; there are {} (until then the \
                 object is not served)",
                all.join(", "),
            );
            draft.problem(origin, reason);
            None
        }
        _ => Some(wishes),
    }
}

impl Asker<'_> {
    /// Looks up what its annotations name; one of which a guard cannot be had is refused.
    fn complete(&mut self, draft: &mut Draft<'_>, hosts: &Hosts, leads: &Leads<'_>) {
        let Some(wishes) = &self.wishes else { return };
        let own: Vec<&HostPattern> = self.own.rules.iter().flatten().collect();
        let filters = beside::filters(draft, wishes, self.name, &self.origin).and_then(|filters| {
            let Some(asks) = &self.nginx else { return Ok(filters) };
            let owner = |host: &HostPattern| hosts.owner(host).map(|owner| owner.namespace.clone());
            let asking = Asking { name: self.name, origin: &self.origin, hosts: &own, leads, owner: &owner };
            let mut all = filters.map(Arc::unwrap_or_clone).unwrap_or_default();
            asking.complete(draft, asks, wishes, &mut all)?;
            Ok((!all.is_empty()).then(|| Arc::new(all)))
        });
        match filters {
            Ok(filters) => self.filters = filters,
            Err(()) => self.wishes = None,
        }
    }

    /// Whether it stands beside another Ingress and has no routes of its own.
    fn is_canary(&self) -> bool {
        self.nginx.as_ref().is_some_and(|asks| asks.canary.is_some())
    }

    fn address(&self) -> Option<IpAddr> {
        self.wishes.as_ref().and_then(|wishes| wishes.address)
    }
}

struct Writer {
    doors: Doors,
    hosts: Hosts,
    together: Together,
    // Expressions of ingress-nginx, which go by their length.
    later: Vec<Later>,
    // Hosts that have a route for all paths.
    rooted: HashSet<HostPattern>,
    // Whether anyone will ask for that.
    has_defaults: bool,
}

/// A route that waits for others of its host.
struct Later {
    // Whose, by place among all.
    asker: usize,
    host: HostPattern,
    path: PathMatch,
    written: Box<str>,
    pool: PoolName,
}

impl Writer {
    fn rules(&mut self, draft: &mut Draft<'_>, asker: &Asker<'_>, at: usize) {
        if asker.is_canary() {
            return;
        }
        let first = asker.own.rules.iter().flatten().next().cloned();
        for (rule, host) in asker.ingress.spec.rules.iter().zip(&asker.own.rules) {
            let Some(host) = host else { continue };
            if rule.http.paths.is_empty() && asker.ingress.spec.default_backend.is_none() {
                let reason = format!("the rule for host {host} has no path and there is no defaultBackend; give one");
                draft.problem(&asker.origin, reason);
            }
            let aliases = if first.as_ref() == Some(host) { &asker.own.aliases[..] } else { &[] };
            for host in std::iter::once(host).chain(aliases) {
                self.app_root(draft, asker, host);
                for path in &rule.http.paths {
                    self.path(draft, asker, at, host, path);
                }
            }
        }
    }

    fn path(&mut self, draft: &mut Draft<'_>, asker: &Asker<'_>, at: usize, host: &HostPattern, path: &IngressPath) {
        if asker.nginx.is_some() && self.together.is_by_expression(host) {
            let (matched, pool) = match paths::expression(path) {
                Ok(matched) => (matched, pool(draft, asker, &path.backend)),
                Err((left, reason)) => {
                    draft.problem(&asker.origin, reason);
                    (left, refused(draft, asker))
                }
            };
            let (host, written) = (host.clone(), path.path.clone());
            self.later.push(Later { asker: at, host, path: matched, written, pool });
            return;
        }
        match path_match(path) {
            Ok((matched, remark)) => {
                if let Some(remark) = remark {
                    draft.problem(&asker.origin, remark);
                }
                let pool = pool(draft, asker, &path.backend);
                self.route(draft, asker, host, (matched, &path.path), pool);
            }
            Err(reason) => draft.problem(&asker.origin, format!("{reason}; this path is left out")),
        }
    }

    /// The default backend takes what no rule matches: of the Ingress' own hosts, and of all hosts nobody else has.
    fn defaults(&mut self, draft: &mut Draft<'_>, asker: &Asker<'_>) {
        let Some(backend) = asker.ingress.spec.default_backend.as_ref().filter(|_| !asker.is_canary()) else { return };
        let pool = pool(draft, asker, backend);
        for host in asker.own.rules.iter().flatten() {
            if !self.rooted.contains(host) {
                self.route(draft, asker, host, (PathMatch::any(), "/"), pool.clone());
            }
        }
        let any = HostPattern::Any;
        if self.hosts.claim_quietly(&asker.name.namespace, &any, &asker.origin) {
            if !self.rooted.contains(&any) {
                self.route(draft, asker, &any, (PathMatch::any(), "/"), pool);
            }
        } else if asker.ingress.spec.rules.is_empty() {
            let reason =
                "the default host belongs to another namespace, which claimed it first; add a rule with a host";
            draft.problem_of(Cause::HostTaken, &asker.origin, reason);
        }
    }

    /// Adds a route for a path, which was `written` so.
    fn route(
        &mut self,
        draft: &mut Draft<'_>,
        asker: &Asker<'_>,
        host: &HostPattern,
        (path, written): (PathMatch, &str),
        pool: PoolName,
    ) {
        let filters = self.filters_of(draft, asker, host, &path, written);
        let served = asker.wishes.is_some();
        let redirect = asker.nginx.as_ref().and_then(|asks| asks.redirect.clone()).filter(|_| served);
        let action = redirect.map_or(Action::Forward(pool), Action::Redirect);
        let (alpn, origin) = (Vec::new(), asker.origin.clone());
        let route = Route { host: host.clone(), alpn, path, action, filters, origin };
        self.add(draft, asker, route, written.starts_with(CHALLENGES));
    }

    /// Adds a route to the doors it belongs to.
    fn add(&mut self, draft: &Draft<'_>, asker: &Asker<'_>, route: Route, is_challenge: bool) {
        if self.has_defaults && route.path == PathMatch::any() {
            self.rooted.insert(route.host.clone());
        }
        asker.is_served.set(true);
        let is_covered = asker.own.covers(&route.host);
        let is_secure = is_covered || self.hosts.is_secure(&asker.name.namespace, &route.host);
        let wants_redirect = asker.wishes.as_ref().is_none_or(|wishes| wishes.redirect_https != Some(false));
        let is_forced = asker.nginx.as_ref().is_some_and(|asks| asks.force_https);
        let leads_away =
            matches!(&route.action, Action::Redirect(to) if !is_forced && !to.to.iter().any(|to| to.starts_with('/')));
        let redirects =
            (is_forced || (is_covered && wants_redirect && !leads_away)) && !is_challenge && self.doors.has_https();
        if is_secure {
            self.doors.add_https(asker.address(), &route);
        }
        self.doors.add_http(asker.address(), route, |http| redirects.then(|| certs::public_port(draft, http)));
    }

    fn certs(&mut self, draft: &mut Draft<'_>, parsed: &mut Parsed, asker: &Asker<'_>) {
        if asker.wishes.is_none() || asker.ingress.spec.tls.is_empty() {
            return;
        }
        if !self.doors.has_https() {
            let reason =
                "asks for tls, but the file gives ingress.https no address; its hosts are served over http alone";
            draft.problem(&asker.origin, reason);
            return;
        }
        let object = (asker.name, &**asker.ingress);
        let certs = certs::of_ingress(draft, parsed, &self.hosts, object, &asker.own, &asker.origin);
        self.doors.add_certs(asker.address(), &certs);
    }
}

/// Where requests of a path go. A backend that cannot be had still has a name, so that its requests are answered with
/// 503 and do not fall to a broader path.
fn pool(draft: &mut Draft<'_>, asker: &Asker<'_>, backend: &IngressBackend) -> PoolName {
    let Some(wishes) = &asker.wishes else { return refused(draft, asker) };
    let Some(wanted) = &backend.service else {
        let what = backend.resource.as_ref().map_or_else(String::new, |r| format!(" {} {}", r.kind, r.name));
        draft.problem_of(
            Cause::Unsupported,
            &asker.origin,
            format!("its backend{what} is not a Service, and only those are served"),
        );
        return refused(draft, asker);
    };
    let label = wanted.port.label();
    let name = ObjectName::new(asker.name.namespace.clone(), &*wanted.name);
    let cluster = draft.spec.name.clone();
    let missing = |name: &ObjectName| PoolName::new(format!("{cluster}/{name}:{label}"));
    // Each way out below was told with what to do, be it to this Ingress or to the Service.
    let Some((name, service)) = draft.store.services.entry(&name) else {
        draft.problem_of(
            Cause::Missing,
            &asker.origin,
            format!("service/{name} does not exist; its requests are answered with 503"),
        );
        return empty(draft, missing(&name), &asker.origin);
    };
    if service.kind() == "ExternalName" {
        draft.problem_of(
            Cause::Unsupported,
            &asker.origin,
            format!("service/{name} is an ExternalName, which is not served"),
        );
        return empty(draft, missing(name), &asker.origin);
    }
    let Some(port) = service.tcp_port(&label) else {
        let have = service.ports_in_words();
        draft.problem_of(
            Cause::Missing,
            &asker.origin,
            format!("service/{name} has no TCP port {label}; it has {have}"),
        );
        return empty(draft, missing(name), &asker.origin);
    };
    let Some(base) = draft.wishes_of(name, service) else {
        return empty(draft, missing(name), &asker.origin);
    };
    draft.want((name, service, port), &base.pool, Some((&wishes.pool, asker.name, &asker.origin)))
}

fn refused(draft: &mut Draft<'_>, asker: &Asker<'_>) -> PoolName {
    // No Service has a slash in its name, so this is nobody else's.
    let name =
        PoolName::new(format!("{}/{}/ingress/{}:refused", draft.spec.name, asker.name.namespace, asker.name.name));
    empty(draft, name, &asker.origin)
}

/// A pool that refuses. It stands there for all the same: whoever reads that a pool does not exist looks for one to
/// name, and owners of Ingresses cannot name pools.
fn empty(draft: &mut Draft<'_>, name: PoolName, origin: &Origin) -> PoolName {
    let pool = Pool { when_down: WhenDown::Refuse, is_refused: true, ..Pool::new(origin.clone()) };
    draft.refused.entry(name.clone()).or_insert_with(|| Arc::new(pool));
    name
}

/// The paths that are meant, and a remark for the writer.
fn path_match(path: &IngressPath) -> Result<(PathMatch, Option<String>), String> {
    let text = &*path.path;
    let kind = path.path_type.as_deref().unwrap_or("ImplementationSpecific");
    if text.is_empty() && kind == "ImplementationSpecific" {
        return Ok((PathMatch::any(), None));
    }
    if !text.starts_with('/') {
        return Err(format!("path {text:?} does not begin with '/', which it must"));
    }
    match kind {
        "Exact" => Ok((PathMatch::Exact(text.into()), None)),
        "Prefix" => Ok((PathMatch::Prefix(text.into()), None)),
        "ImplementationSpecific" => {
            let remark = text.contains(['*', '(', '[', '^', '$', '|', '\\']).then(|| {
                format!("path {text:?} looks like an expression; it is taken letter by letter, as pathType Prefix")
            });
            Ok((PathMatch::Prefix(text.into()), remark))
        }
        other => Err(format!("pathType {other:?} is unknown; it is Exact, Prefix or ImplementationSpecific")),
    }
}
