//! Pure. What annotations of ingress-nginx name beside the Ingress' own backends: Secrets, and Services of who is asked
//! and of the mirror.
//!
//! A guard that cannot be had refuses the Ingress; that was told then. Who is asked may be named by the host and path of
//! an Ingress: then the Service is asked that stands there, without a way around through our own door. One of another
//! namespace only where everybody may ask it anyway, so that nobody gets past its guards.

use std::collections::HashMap;
use std::sync::Arc;

use crate::control::ask;
use crate::control::kube::objects::ingress::{Ingress, IngressPath, IngressRule};
use crate::control::kube::objects::opaque::OpaqueSecret;
use crate::control::kube::objects::{Kind, Meta, NGINX, OURS, ObjectName};
use crate::control::kube::translate::Draft;
use crate::control::kube::translate::annotations::{Named, Wishes};
use crate::control::kube::translate::beside::{Lack, pool};
use crate::control::pem;
use crate::model::host::HostPattern;
use crate::model::intent::filter::{BasicAuth, Filters, ForwardAuth, Mirror};
use crate::model::intent::speech::{BackendTls, Identity, Verify};
use crate::model::intent::{PoolName, Speech};
use crate::model::problem::Origin;
use crate::model::secret::Secret;

use super::Asks;
use super::access::{BasicAsk, Server};

const UNTIL: &str = "(until then the object is not served)";

/// What of an Ingress guards it, or makes another request of one: without the prefix of either kind.
const GUARDS: [&str; 15] = [
    "allow-source-ranges",
    "allowlist-source-range",
    "auth-basic",
    "auth-snippet",
    "auth-tls-secret",
    "auth-type",
    "auth-url",
    "configuration-snippet",
    "deny-source-ranges",
    "denylist-source-range",
    "enable-global-auth",
    "rewrite-path",
    "rewrite-target",
    "server-snippet",
    "whitelist-source-range",
];

/// Which Ingress leads where, by host.
pub(in crate::control::kube::translate) struct Leads<'a>(
    HashMap<&'a str, Vec<(&'a ObjectName, &'a Ingress, &'a IngressRule)>>,
);

impl<'a> Leads<'a> {
    /// Those of these Ingresses.
    pub(in crate::control::kube::translate) fn of(
        all: impl Iterator<Item = (&'a ObjectName, &'a Arc<Ingress>)>,
    ) -> Self {
        let mut leads: HashMap<_, Vec<_>> = HashMap::new();
        for (name, ingress) in all {
            for rule in &ingress.spec.rules {
                leads.entry(&*rule.host).or_default().push((name, &**ingress, rule));
            }
        }
        Self(leads)
    }

    /// The Service that a host and path lead to, as a request of anyone to it would get there.
    fn find(&self, owner: &str, host: &str, path: &str, asker: &ObjectName) -> Result<(Named, &'a ObjectName), Lack> {
        let path = path.split('?').next().unwrap_or_default();
        let none = || Lack::missing(format!("no Ingress that is served here leads https://{host}{path} to a Service"));
        let rules = self.0.get(host).into_iter().flatten().filter(|(name, ..)| *name.namespace == *owner);
        let paths =
            rules.flat_map(|(name, ingress, rule)| rule.http.paths.iter().map(move |path| (*name, *ingress, path)));
        let found = paths.filter(|(.., known)| takes(known, path)).max_by_key(|(.., known)| known.path.len());
        let (name, ingress, known) = found.ok_or_else(none)?;
        let service = known.backend.service.as_ref().ok_or_else(none)?;
        if let Some(guard) = guard(ingress.meta(), name.namespace == asker.namespace) {
            return Err(format!("ingress/{name} leads there, but has {guard}; name the Service itself").into());
        }
        let port = Some(service.port.label().into());
        Ok((Named { service: (*service.name).into(), namespace: Some(name.namespace.clone()), port }, name))
    }
}

/// Whether a path of an Ingress takes one that is asked for, letter by letter.
fn takes(known: &IngressPath, path: &str) -> bool {
    let text = &*known.path;
    let rest = path.strip_prefix(text.trim_end_matches('/'));
    let is_below = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if known.path_type.as_deref() == Some("Exact") { text == path } else { is_below }
}

/// What keeps some from an Ingress, or makes other requests of theirs.
fn guard<'m>(meta: &'m Meta, is_own: bool) -> Option<&'m str> {
    let bare = |key: &'m str| key.strip_prefix(NGINX).or_else(|| key.strip_prefix(OURS));
    let is_guard = |name: &str| GUARDS.contains(&name) && (!is_own || name.starts_with("rewrite"));
    meta.annotations.keys().map(|key| &**key).find(|key| bare(key).is_some_and(is_guard))
}

/// One Ingress whose annotations are looked up.
pub(in crate::control::kube::translate) struct Asking<'d, 'a> {
    pub(in crate::control::kube::translate) name: &'d ObjectName,
    pub(in crate::control::kube::translate) origin: &'d Origin,
    /// Its own hosts.
    pub(in crate::control::kube::translate) hosts: &'d [&'d HostPattern],
    pub(in crate::control::kube::translate) leads: &'d Leads<'a>,
    /// The namespace that has a host.
    pub(in crate::control::kube::translate) owner: &'d dyn Fn(&HostPattern) -> Option<Arc<str>>,
}

impl Asking<'_, '_> {
    fn told(&self, draft: &mut Draft<'_>, annotation: &str, wrong: &Lack, end: &str) {
        draft.problem_of(wrong.cause, self.origin, format!("annotation {NGINX}{annotation}: {wrong} {end}"));
    }

    /// Adds what is looked up to the filters.
    ///
    /// # Errors
    /// A guard cannot be had; that was told.
    pub(in crate::control::kube::translate) fn complete(
        &self,
        draft: &mut Draft<'_>,
        asks: &Asks,
        wishes: &Wishes,
        filters: &mut Filters,
    ) -> Result<(), ()> {
        if let Some(basic) = asks.basic.as_ref().filter(|_| filters.basic_auth.is_none()) {
            let users = users(draft, &ObjectName::new(self.name.namespace.clone(), basic.secret.clone()), basic);
            let users = users.map_err(|wrong| self.told(draft, "auth-secret", &wrong, UNTIL))?;
            filters.basic_auth = Some(BasicAuth { realm: basic.realm.clone(), users, pass_on: true });
        }
        if let Some(asked) = asks.asked.as_ref().filter(|_| filters.forward_auth.is_none()) {
            let (pool, host) = match &asked.to {
                Server::Service(named, host) => (pool(draft, named, self.name, None), Some(host.clone())),
                Server::Host(host) => (self.leads_to(draft, host.as_deref(), &asked.path), host.clone()),
            };
            let pool = pool.map_err(|wrong| self.told(draft, "auth-url", &wrong, UNTIL))?;
            filters.forward_auth = Some(ForwardAuth {
                pool,
                host,
                path: asked.path.clone(),
                headers: asked.headers.clone(),
                sign_in: asked.sign_in.clone(),
                timeout: ask::TIMEOUT,
            });
        }
        if let Some(mirror) = asks.mirror.as_ref().filter(|_| filters.mirror.is_none()) {
            match pool(draft, &mirror.to, self.name, Some((&wishes.pool, self.name, self.origin))) {
                Ok(pool) => filters.mirror = Some(Mirror { pool, permille: 1000, max_body: mirror.max_body }),
                Err(wrong) => self.told(draft, "mirror-target", &wrong, "(there is no mirror)"),
            }
        }
        Ok(())
    }

    /// The pool of who is asked at a host, or at each of the Ingress' own, which must all lead to one.
    fn leads_to(&self, draft: &mut Draft<'_>, host: Option<&str>, path: &str) -> Result<PoolName, Lack> {
        let given = host.map(|host| HostPattern::parse(host).map_err(|error| error.to_string())).transpose()?;
        let hosts = given.as_ref().map_or_else(|| self.hosts.to_vec(), |host| vec![host]);
        let mut found: Option<PoolName> = None;
        for host in hosts {
            let HostPattern::Exact(name) = host else {
                let wrong = format!("which Service $host leads to is not known of {host}; name the Service itself");
                return Err(wrong.into());
            };
            let owner = (self.owner)(host).unwrap_or_default();
            let (named, by) = self.leads.find(&owner, name.as_str(), path, self.name)?;
            let pool = pool(draft, &named, by, None)?;
            if found.as_ref().is_some_and(|known| *known != pool) {
                return Err("its hosts lead to different Services; name the Service itself".to_owned().into());
            }
            found = Some(pool);
        }
        found.ok_or_else(|| "there is no host that it could be; name the Service itself".to_owned().into())
    }
}

/// What is spoken to the backends of an Ingress; `None`: as their Service says.
///
/// # Errors
/// What it needs cannot be had; that was told.
pub(in crate::control::kube::translate) fn speech(
    draft: &mut Draft<'_>,
    asks: &Asks,
    name: &ObjectName,
    origin: &Origin,
) -> Result<Option<Speech>, ()> {
    let asked = &asks.speech;
    let Some((http2, is_sealed)) = asked.spoken else { return Ok(None) };
    if !is_sealed {
        return Ok(Some(Speech { http2, tls: None }));
    }
    let mut tls = BackendTls { verify: Verify::None, name: asked.name.clone(), identity: None };
    if let Some(secret) = &asked.secret {
        let held = sealed(draft, name, secret, origin);
        let (authorities, identity) = held.map_err(|wrong| {
            draft.problem_of(wrong.cause, origin, format!("annotation {NGINX}proxy-ssl-secret: {wrong} {UNTIL}"));
        })?;
        tls.identity = identity;
        match authorities {
            Some(all) if asked.verifies => tls.verify = Verify::By(all),
            None if asked.verifies => {
                let wrong = "has no ca.crt, by which backends could be verified; put it there";
                draft.problem(origin, format!("annotation {NGINX}proxy-ssl-secret: {secret} {wrong} {UNTIL}"));
                return Err(());
            }
            _ => {}
        }
    }
    Ok(Some(Speech { http2, tls: Some(Arc::new(tls)) }))
}

type Sealed = (Option<Vec<Arc<[u8]>>>, Option<Identity>);

/// The authorities and the certificate that a Secret holds, of whatever type it is.
fn sealed(draft: &Draft<'_>, name: &ObjectName, secret: &str, origin: &Origin) -> Result<Sealed, Lack> {
    let (namespace, bare) = secret.split_once('/').unwrap_or((&name.namespace, secret));
    if *namespace != *name.namespace {
        let wrong = format!("Secrets of other namespaces are not looked at; copy {secret} into {}", name.namespace);
        return Err(wrong.into());
    }
    let found = ObjectName::new(namespace, bare);
    let (pair, authorities) = match (draft.store.secrets.find(&found), draft.store.opaque.find(&found)) {
        (Some(tls), _) => (Some((tls.chain.clone(), tls.key.clone())), tls.authorities.clone()),
        (None, Some(opaque)) => (opaque.pair.clone(), opaque.authorities.clone()),
        (None, None) => return Err(Lack::missing(format!("secret/{found} is not there"))),
    };
    let wrong = |error: pem::PemError| format!("secret/{found}: {error}");
    let authorities = authorities.map(|text| pem::authorities(text.expose()).map_err(wrong)).transpose()?;
    let identity = pair.map(|(chain, key)| {
        let cert = pem::parse(chain.expose(), key.expose(), origin).map_err(wrong)?;
        Ok::<_, String>(Identity { chain: cert.chain, key: cert.key })
    });
    Ok((authorities, identity.transpose()?))
}

/// The lines of a Secret. Whoever was struck off may not pass, so what it held before is not good for longer.
fn users(draft: &Draft<'_>, name: &ObjectName, asked: &BasicAsk) -> Result<Secret, Lack> {
    let object = draft.origin::<OpaqueSecret>(name).object;
    if let Some(secret) = draft.store.opaque.find(name) {
        let users = if asked.is_map { &secret.map } else { &secret.users };
        return users.clone().map_err(|wrong| format!("{object} {wrong}").into());
    }
    // One of our own type says the same.
    match draft.store.users.find(name).filter(|_| !asked.is_map) {
        Some(secret) => secret.users.clone().map_err(|wrong| format!("{object} {wrong}").into()),
        None => Err(Lack::missing(format!("{object} is not there as a Secret of type Opaque"))),
    }
}
