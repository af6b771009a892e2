//! Pure. Certificates of Ingresses, from Secrets of their own namespace.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::control::kube::objects::ObjectName;
use crate::control::kube::objects::ingress::Ingress;
use crate::control::kube::objects::secret::TlsSecret;
use crate::control::pem;
use crate::model::host::HostPattern;
use crate::model::intent::{Cert, CertName};
use crate::model::problem::{Cause, Origin};

use super::Draft;
use super::hosts::{Hosts, Own, includes};

/// Certificates that were parsed, for as long as their Secret is there.
#[derive(Debug, Default)]
pub(super) struct Parsed(HashMap<ObjectName, Entry>);

#[derive(Clone, Debug)]
struct Entry {
    of: Arc<TlsSecret>,
    // Of this Secret, or of an earlier state of it when this one cannot be used.
    last_good: Option<Arc<Cert>>,
    // Why this one cannot be used.
    error: Option<String>,
}

impl Parsed {
    fn parse(&mut self, name: &ObjectName, secret: &Arc<TlsSecret>, origin: &Origin) -> Entry {
        let known = self.0.get(name);
        if let Some(same) = known.filter(|known| Arc::ptr_eq(&known.of, secret)) {
            return same.clone();
        }
        let (last_good, error) = match pem::parse(secret.chain.expose(), secret.key.expose(), origin) {
            Ok(cert) => (Some(Arc::new(cert)), None),
            Err(error) => (known.and_then(|known| known.last_good.clone()), Some(error.to_string())),
        };
        let entry = Entry { of: secret.clone(), last_good, error };
        self.0.insert(name.clone(), entry.clone());
        entry
    }

    /// Forgets what no Secret stands for any more.
    pub(super) fn sweep(&mut self, draft: &Draft<'_>) {
        self.0.retain(|name, known| draft.store.secrets.find(name).is_some_and(|now| Arc::ptr_eq(now, &known.of)));
    }
}

/// Adds the certificates of an Ingress; gives their names. What is missing or broken is told, the rest is served.
pub(super) fn of_ingress(
    draft: &mut Draft<'_>,
    parsed: &mut Parsed,
    hosts: &Hosts,
    (name, ingress): (&ObjectName, &Ingress),
    own: &Own,
    origin: &Origin,
) -> Vec<CertName> {
    let mut certs = Vec::new();
    for (tls, limits) in ingress.spec.tls.iter().zip(&own.tls) {
        if tls.secret_name.is_empty() {
            draft.problem_of(
                Cause::Certificate,
                origin,
                "tls names no secretName, so these hosts have no certificate of it; name one",
            );
            continue;
        }
        let secret_name = ObjectName::new(name.namespace.clone(), &*tls.secret_name);
        let secret_origin = draft.origin::<TlsSecret>(&secret_name);
        let Some(secret) = draft.store.secrets.find(&secret_name) else {
            let reason = if draft.store.without_keys {
                format!(
                    "tls names {}, which is not known while the API server is away, so its hosts have no certificate \
                     until it is back; last_good: {{keep_keys: true}} would keep it on disk",
                    secret_origin.object,
                )
            } else {
                format!(
                    "tls names {}, which is not there as a Secret of type kubernetes.io/tls; make it so",
                    secret_origin.object,
                )
            };
            draft.problem_of(Cause::Certificate, origin, reason);
            continue;
        };
        let entry = parsed.parse(&secret_name, secret, &secret_origin);
        if let Some(reason) = &entry.error {
            let until = if entry.last_good.is_some() { "; until then what it held before is served" } else { "" };
            draft.problem_of(
                Cause::Certificate,
                &secret_origin,
                format!("{reason}{until} (named by {})", origin.object),
            );
        }
        let Some(cert) = entry.last_good else { continue };
        let names = match limits {
            Some(limits) => limits.clone(),
            None => cert.names.iter().filter(|host| hosts.is_free_for(&name.namespace, host)).cloned().collect(),
        };
        for host in names.iter().filter(|host| !cert.names.iter().any(|pattern| includes(pattern, host))) {
            let have: Vec<String> = cert.names.iter().map(ToString::to_string).collect();
            let reason = format!(
                "tls: the certificate of {} is not for {host} but for {}, so clients will refuse it",
                secret_origin.object,
                if have.is_empty() { "no name".to_owned() } else { have.join(", ") },
            );
            draft.problem_of(Cause::Certificate, origin, reason);
        }
        certs.push(add(draft, &secret_name, &cert, names));
    }
    certs
}

/// A Secret that several Ingresses name is one certificate for the hosts of all.
fn add(draft: &mut Draft<'_>, secret: &ObjectName, cert: &Cert, names: Vec<HostPattern>) -> CertName {
    let name = CertName::new(format!("{}/{secret}", draft.spec.name));
    let entry = draft.certs.entry(name.clone()).or_insert_with(|| Cert { names: Vec::new(), ..cert.clone() });
    for host in names {
        if !entry.names.contains(&host) {
            entry.names.push(host);
        }
    }
    name
}

/// The port that clients know for https: ours, or the usual one where a router stands between or the kernel chooses.
pub(super) fn public_port(draft: &Draft<'_>, http: SocketAddr) -> u16 {
    use crate::control::kube::spec::Publish;
    let doors = &draft.spec.ingress.https;
    let door = doors.iter().find(|door| door.ip() == http.ip()).or_else(|| doors.first());
    match (&draft.spec.ingress.publish, door) {
        (Publish::Same, Some(door)) if door.port() != 0 => door.port(),
        _ => 443,
    }
}
