//! Pure. What an Ingress names beside its own backends: the Secret of those who may pass, the Services of who is asked,
//! the canary and the mirror.
//!
//! A Service of another namespace may be asked only where it says so itself (`sluice.dev/shared`): what it answers is
//! passed on, and its owner did not ask for that. Whoever asks for a guard that cannot be had is not served; a canary or
//! a mirror that cannot be had is told, and the rest is served.
//!
//! The canary and the mirror are spoken to as the Ingress wishes for its own backends: they get the same requests. Who is
//! asked is another kind of server, of which its own Service speaks alone.

use std::fmt;
use std::sync::Arc;

use crate::control::ask;
use crate::control::kube::objects::ObjectName;
use crate::control::kube::objects::service::ServicePort;
use crate::control::kube::objects::users::{HTPASSWD, UserSecret};
use crate::model::intent::PoolName;
use crate::model::intent::filter::{BasicAuth, Canary, Filters, ForwardAuth, Mirror};
use crate::model::problem::{Cause, Origin};
use crate::model::secret::Secret;

use super::Draft;
use super::annotations::{Named, PoolWishes, Wishes};

/// Why what is named beside cannot be had: a problem of whoever names it, which is told by them.
pub(super) struct Lack {
    /// What kind of a problem it is.
    pub(super) cause: Cause,
    words: String,
}

impl Lack {
    /// It is not there.
    pub(super) fn missing(words: String) -> Self {
        Self { cause: Cause::Missing, words }
    }
}

/// It is there, and wrong or not for whoever asks.
impl From<String> for Lack {
    fn from(words: String) -> Self {
        Self { cause: Cause::Invalid, words }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// The filters of an Ingress. `None` in `Ok`: it asks for none.
///
/// # Errors
/// It asks for a guard that cannot be had; that was told.
pub(super) fn filters(
    draft: &mut Draft<'_>,
    wishes: &Wishes,
    name: &ObjectName,
    origin: &Origin,
) -> Result<Option<Arc<Filters>>, ()> {
    let mut filters = wishes.filters().map(Arc::unwrap_or_clone).unwrap_or_default();
    let until = "(until then the object is not served)";
    if let Some(secret) = &wishes.users {
        let users = users(draft, &ObjectName::new(name.namespace.clone(), secret.clone())).map_err(|wrong| {
            draft.problem_of(wrong.cause, origin, format!("annotation sluice.dev/auth-basic: {wrong} {until}"));
        })?;
        let realm = wishes.realm.clone().unwrap_or_else(|| ask::REALM.into());
        filters.basic_auth = Some(BasicAuth { realm, users, pass_on: true });
    }
    if let Some((named, path)) = &wishes.auth.url {
        let pool = pool(draft, named, name, None).map_err(|wrong| {
            draft.problem_of(wrong.cause, origin, format!("annotation sluice.dev/auth-url: {wrong} {until}"));
        })?;
        filters.forward_auth = Some(ForwardAuth {
            pool,
            host: None,
            path: path.clone(),
            headers: wishes.auth.headers.clone(),
            sign_in: wishes.auth.sign_in.clone(),
            timeout: ask::TIMEOUT,
        });
    }
    if let Some(named) = &wishes.canary.to {
        // Not sticky by the same cookie: each of the two pools would take the other's for a stranger's, and give its own.
        let wished = wishes.pool.without_sticky();
        // No object has a colon in its name, so the pool is nobody else's.
        let asker = ObjectName::new(name.namespace.clone(), format!("{}:canary", name.name));
        match pool(draft, named, name, Some((&wished, &asker, origin))) {
            Ok(pool) => {
                let header = wishes.canary.header.clone().map(|name| (name, wishes.canary.value.clone()));
                let permille = wishes.canary.permille.unwrap_or_default();
                filters.canary = Some(Canary { pool, header, cookie: wishes.canary.cookie.clone(), permille });
            }
            Err(wrong) => {
                draft.problem_of(wrong.cause, origin, format!("annotation sluice.dev/canary: {wrong}; there is none"));
            }
        }
    }
    if let Some(named) = &wishes.mirror {
        match pool(draft, named, name, Some((&wishes.pool, name, origin))) {
            Ok(pool) => filters.mirror = Some(Mirror { pool, permille: 1000, max_body: ask::MIRRORED }),
            Err(wrong) => {
                draft.problem_of(wrong.cause, origin, format!("annotation sluice.dev/mirror: {wrong}; there is none"));
            }
        }
    }
    Ok((!filters.is_empty()).then(|| Arc::new(filters)))
}

/// The lines of a Secret. Unlike with certificates, what it held before is not good for longer: whoever was struck off
/// may not pass.
fn users(draft: &Draft<'_>, name: &ObjectName) -> Result<Secret, Lack> {
    let object = draft.origin::<UserSecret>(name).object;
    let Some(secret) = draft.store.users.find(name) else {
        if draft.store.without_keys {
            return Err(Lack::missing(format!(
                "{object} is not known while the API server is away; last_good: {{keep_keys: true}} would keep it on disk"
            )));
        }
        let make = format!("kubectl -n {} create secret generic {} --type={HTPASSWD}", name.namespace, name.name);
        return Err(Lack::missing(format!(
            "{object} is not there as a Secret of type {HTPASSWD}; make it with {make} --from-file=auth=FILE"
        )));
    };
    secret.users.clone().map_err(|wrong| format!("{object} {wrong}").into())
}

/// The pool of a Service that is named, for who wishes other things of it than its Service does (`extra`).
///
/// # Errors
/// Why it cannot be had.
pub(super) fn pool(
    draft: &mut Draft<'_>,
    named: &Named,
    asker: &ObjectName,
    extra: Option<(&PoolWishes, &ObjectName, &Origin)>,
) -> Result<PoolName, Lack> {
    let namespace = named.namespace.clone().unwrap_or_else(|| asker.namespace.clone());
    let name = ObjectName::new(namespace, named.service.clone());
    let missing = || Lack::missing(format!("service/{name} does not exist"));
    let (name, service) = draft.store.services.entry(&name).ok_or_else(missing)?;
    if service.kind() == "ExternalName" {
        let words = format!("service/{name} is an ExternalName, which is not served");
        return Err(Lack { cause: Cause::Unsupported, words });
    }
    let port: Option<&ServicePort> = match &named.port {
        Some(label) => service.tcp_port(label),
        None => Some(&service.spec.ports[..])
            .filter(|ports| ports.len() == 1)
            .and_then(|ports| ports.first())
            .filter(|port| port.protocol() == "TCP"),
    };
    let Some(port) = port else {
        let have = service.ports_in_words();
        return Err(match &named.port {
            Some(label) => Lack::missing(format!("service/{name} has no TCP port {label}; it has {have}")),
            None => format!("service/{name} has not just one TCP port but {have}; name one, as SERVICE:PORT").into(),
        });
    };
    let own = draft.wishes_of(name, service).ok_or_else(|| format!("service/{name} is refused for its annotations"))?;
    if name.namespace != asker.namespace && !own.shared {
        return Err(Lack::from(format!(
            "service/{name} belongs to another namespace; its owner may allow it with sluice.dev/shared: \"true\""
        )));
    }
    Ok(draft.want((name, service, port), &own.pool, extra))
}
