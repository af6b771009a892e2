//! Pure. The pools that listeners and routes want, filled with backends.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::control::kube::objects::service::Service;
use crate::control::kube::objects::{Kind, ObjectName};
use crate::control::usual;
use crate::model::intent::{Backend, Pool, PoolName, Speech, Sticky, WhenDown};
use crate::model::problem::Cause;
use crate::model::secret::Secret;

use super::{Draft, Wanted, endpoints, reach};

/// How long a client may stay with one pod, in seconds; the API server refuses others.
const AFFINITY: RangeInclusive<u64> = 1..=86_400;

/// Makes every pool that was wanted. One that cannot be filled is told and stays empty: its routes answer 503.
pub(super) fn pools(draft: &mut Draft<'_>) -> BTreeMap<PoolName, Arc<Pool>> {
    let slices = endpoints::slices(draft);
    let machines = reach::machines(draft);
    let mut pools = std::mem::take(&mut draft.refused);
    for (name, wanted) in std::mem::take(&mut draft.wanted) {
        let mut pool = Pool::new(wanted.origin.clone());
        pool.probe = usual::probe(wanted.port.transport());
        pool.sticky = affinity(draft, wanted.name, wanted.service);
        pool.speech = speech(wanted.port.app_protocol.as_deref());
        wanted.wishes.apply(&mut pool);
        if let Some(Sticky::Cookie(cookie)) = &mut pool.sticky {
            // Given by chance, the same for every sluice that asks, and seen by nobody outside.
            cookie.key = wanted.service.meta().uid.as_deref().map(|uid| Secret::new(uid.as_bytes()));
        }
        match reach::backends(draft, &machines, &slices, &wanted) {
            Ok(backends) => {
                pool.backends = backends;
                fall_back(draft, &machines, &slices, &wanted, &mut pool);
            }
            Err(reason) => {
                draft.problem_of(Cause::Missing, &wanted.origin, reason);
                (pool.when_down, pool.is_refused) = (WhenDown::Refuse, true);
            }
        }
        pools.insert(name, Arc::new(pool));
    }
    pools
}

/// Adds those who stand in when no other backend is available. Without them the pool is as it was.
fn fall_back(
    draft: &mut Draft<'_>,
    machines: &reach::Machines,
    slices: &endpoints::Slices<'_>,
    wanted: &Wanted<'_>,
    pool: &mut Pool,
) {
    let Some(fallback) = &wanted.wishes.fallback else { return };
    let name = ObjectName::new(wanted.name.namespace.clone(), fallback.clone());
    let found = draft.store.services.entry(&name).and_then(|(name, service)| {
        let port = service.spec.ports.iter().find(|port| port.protocol() == "TCP")?;
        Some((name, &**service, port))
    });
    let Some((name, service, port)) = found else {
        draft.problem(&wanted.origin, format!("service/{name} does not exist or has no TCP port; it cannot stand in"));
        return;
    };
    let (wishes, origin) = (wanted.wishes.clone(), wanted.origin.clone());
    match reach::backends(draft, machines, slices, &Wanted { name, service, port, wishes, origin }) {
        Ok(backends) => {
            let known: Vec<_> = pool.backends.iter().map(|backend| backend.address).collect();
            let new = backends.into_iter().filter(|backend| !known.contains(&backend.address));
            pool.backends.extend(new.map(|backend| Backend { backup: true, ..backend }));
        }
        Err(reason) => draft.problem(&wanted.origin, reason),
    }
}

/// What `appProtocol` says that the pods speak, where it is HTTP: names of Kubernetes' own and those in use. What listens
/// for bytes alone passes them on as they are.
fn speech(app_protocol: Option<&str>) -> Speech {
    match app_protocol {
        Some("kubernetes.io/h2c" | "h2c" | "grpc") => Speech::H2C,
        Some("https" | "HTTPS" | "kubernetes.io/wss") => Speech::https_unverified(),
        _ => Speech::PLAIN,
    }
}

/// What `spec.sessionAffinity` asks for, wherever the Service's pods are served.
fn affinity(draft: &mut Draft<'_>, name: &ObjectName, service: &Service) -> Option<Sticky> {
    let origin = draft.origin::<Service>(name);
    match service.spec.session_affinity.as_deref() {
        None | Some("" | "None") => None,
        Some("ClientIP") => {
            let Some(asked) = service.spec.session_affinity_config.client_ip.timeout_seconds else {
                return Some(usual::STICKY);
            };
            match u64::try_from(asked).ok().filter(|seconds| AFFINITY.contains(seconds)) {
                Some(seconds) => Some(Sticky::Source { timeout: Duration::from_secs(seconds) }),
                None => {
                    let (least, most) = AFFINITY.into_inner();
                    let usual = usual::STICKY_TIME.as_secs();
                    let key = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
                    let reason =
                        format!("{key}: {asked} is wrong; it is a number from {least} to {most}; {usual} is taken");
                    draft.problem(&origin, reason);
                    Some(usual::STICKY)
                }
            }
        }
        Some(other) => {
            draft.problem(&origin, format!("spec.sessionAffinity: {other:?} is unknown; it is None or ClientIP"));
            None
        }
    }
}
