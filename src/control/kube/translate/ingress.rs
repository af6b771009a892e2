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
use super::doors::Doors;
use super::hosts::{Hosts, Own};
use super::{Draft, beside, certs, class};

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
    // It has a route.
    is_served: Cell<bool>,
}

/// Writes routes, certificates and statuses of all Ingresses.
pub(super) fn ingresses(draft: &mut Draft<'_>, parsed: &mut Parsed) {
    let mut hosts = Hosts::default();
    let mut askers = Vec::new();
    for (name, ingress) in class::ours(draft) {
        let origin = draft.origin::<Ingress>(name);
        let own = hosts.claim(draft, name, ingress, &origin);
        let wishes = wishes(draft, ingress, &origin);
        let (wishes, filters) = match wishes.map(|wishes| (beside::filters(draft, &wishes, name, &origin), wishes)) {
            Some((Ok(filters), wishes)) => (Some(wishes), filters),
            Some((Err(()), _)) | None => (None, None),
        };
        askers.push(Asker { name, ingress, origin, own, wishes, filters, is_served: Cell::new(false) });
    }
    let has_defaults = askers.iter().any(|asker| asker.ingress.spec.default_backend.is_some());
    let mut writer = Writer { doors: Doors::new(draft.spec), hosts, rooted: HashSet::new(), has_defaults };
    for asker in &askers {
        writer.rules(draft, asker);
    }
    // After all rules, so that a rule of a younger Ingress comes before the default of an older one.
    for asker in &askers {
        writer.defaults(draft, asker);
        writer.certs(draft, parsed, asker);
    }
    let ours = writer.doors.shown(draft.spec, None);
    for asker in askers.iter().filter(|_| !ours.is_empty()) {
        let is_served = asker.wishes.is_some() && asker.is_served.get();
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

fn wishes(draft: &mut Draft<'_>, ingress: &Arc<Ingress>, origin: &Origin) -> Option<Wishes> {
    let wishes = draft.read_wishes(On::Ingress, &**ingress, origin)?;
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
    fn address(&self) -> Option<IpAddr> {
        self.wishes.as_ref().and_then(|wishes| wishes.address)
    }
}

struct Writer {
    doors: Doors,
    hosts: Hosts,
    // Hosts that have a route for all paths.
    rooted: HashSet<HostPattern>,
    // Whether anyone will ask for that.
    has_defaults: bool,
}

impl Writer {
    fn rules(&mut self, draft: &mut Draft<'_>, asker: &Asker<'_>) {
        for (rule, host) in asker.ingress.spec.rules.iter().zip(&asker.own.rules) {
            let Some(host) = host else { continue };
            if rule.http.paths.is_empty() && asker.ingress.spec.default_backend.is_none() {
                let reason = format!("the rule for host {host} has no path and there is no defaultBackend; give one");
                draft.problem(&asker.origin, reason);
            }
            for path in &rule.http.paths {
                match path_match(path) {
                    Ok((matched, remark)) => {
                        if let Some(remark) = remark {
                            draft.problem(&asker.origin, remark);
                        }
                        let pool = pool(draft, asker, &path.backend);
                        self.route(draft, asker, host, matched, pool);
                    }
                    Err(reason) => draft.problem(&asker.origin, format!("{reason}; this path is left out")),
                }
            }
        }
    }

    /// The default backend takes what no rule matches: of the Ingress' own hosts, and of all hosts nobody else has.
    fn defaults(&mut self, draft: &mut Draft<'_>, asker: &Asker<'_>) {
        let Some(backend) = &asker.ingress.spec.default_backend else { return };
        let pool = pool(draft, asker, backend);
        for host in asker.own.rules.iter().flatten() {
            if !self.rooted.contains(host) {
                self.route(draft, asker, host, PathMatch::any(), pool.clone());
            }
        }
        let any = HostPattern::Any;
        if self.hosts.claim_quietly(&asker.name.namespace, &any, &asker.origin) {
            if !self.rooted.contains(&any) {
                self.route(draft, asker, &any, PathMatch::any(), pool);
            }
        } else if asker.ingress.spec.rules.is_empty() {
            let reason =
                "the default host belongs to another namespace, which claimed it first; add a rule with a host";
            draft.problem_of(Cause::HostTaken, &asker.origin, reason);
        }
    }

    fn route(&mut self, draft: &Draft<'_>, asker: &Asker<'_>, host: &HostPattern, path: PathMatch, pool: PoolName) {
        if self.has_defaults && path == PathMatch::any() {
            self.rooted.insert(host.clone());
        }
        asker.is_served.set(true);
        let is_covered = asker.own.covers(host);
        let is_secure = is_covered || self.hosts.is_secure(&asker.name.namespace, host);
        let wants_redirect = asker.wishes.as_ref().is_none_or(|wishes| wishes.redirect_https != Some(false));
        let is_challenge = match &path {
            PathMatch::Exact(path) | PathMatch::Prefix(path) => path.starts_with(CHALLENGES),
            PathMatch::Regex(_) => false,
        };
        let redirects = is_covered && wants_redirect && !is_challenge && self.doors.has_https();
        let route = Route {
            host: host.clone(),
            alpn: Vec::new(),
            path,
            action: Action::Forward(pool),
            filters: asker.filters.clone(),
            origin: asker.origin.clone(),
        };
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
