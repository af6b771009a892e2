//! Families of listeners and of the requests they answered. Addresses of one listener name are summed.

use std::collections::BTreeMap;
use std::sync::Arc;

mod datagrams;
mod handshakes;

use super::family::{Family, Page};
use crate::model::live::listener::{Path, Socket};
use crate::model::live::{ListenerState, Live};
use crate::model::outcome::{Outcome, Refusal};
use crate::model::snapshot::Snapshot;

pub(super) fn write(page: &mut Page, snapshot: &Snapshot, live: &Live) -> Result<(), prometheus::Error> {
    let by_name = by_name(snapshot);
    let mut up = Family::gauge("sluice_listener_up", "1 while every address of the listener is open.");
    let mut accepted = Family::counter("sluice_listener_connections_total", "Connections accepted.");
    let mut active = Family::gauge("sluice_listener_connections_active", "Connections open now.");
    let mut refused = Family::counter(
        "sluice_listener_refused_total",
        "Connections closed before anything but a PROXY protocol header was read, by reason.",
    );
    let mut ended = Family::counter("sluice_connections_ended_total", "Connections that ended, by how.");
    let mut bytes = Family::counter(
        "sluice_bytes_total",
        "Payload bytes from clients (in) and to clients (out), by the path they took through the process.",
    );
    for (name, states) in &by_name {
        let listener = ("listener", *name);
        let sum = |of: &dyn Fn(&ListenerState) -> u64| states.iter().fold(0u64, |sum, s| sum.wrapping_add(of(s)));
        let open = states.iter().all(|s| matches!(s.socket(), Socket::Open(_)));
        up.count(&[listener], u64::from(open));
        accepted.count(&[listener], sum(&|s| s.accepted()));
        active.count(&[listener], sum(&|s| s.active()));
        for why in Refusal::ALL {
            refused.count(&[listener, ("reason", why.label())], sum(&|s| s.refused(why)));
        }
        for how in Outcome::ALL {
            ended.count(&[listener, ("outcome", how.label())], sum(&|s| s.ended(how)));
        }
        for path in Path::ALL {
            let path_label = ("path", path.label());
            bytes.count(&[listener, ("direction", "in"), path_label], sum(&|s| s.bytes_by(path).0));
            bytes.count(&[listener, ("direction", "out"), path_label], sum(&|s| s.bytes_by(path).1));
        }
    }
    for family in [up, accepted, active, refused, ended, bytes] {
        page.add(family)?;
    }
    datagrams::write(page, snapshot)?;
    page.add(handshakes::family(snapshot))?;
    page.add(requests(live))
}

fn by_name(snapshot: &Snapshot) -> BTreeMap<&str, Vec<&Arc<ListenerState>>> {
    let mut by_name: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for plan in snapshot.listeners.values() {
        by_name.entry(&*plan.intent.name).or_default().push(&plan.state);
    }
    by_name
}

fn requests(live: &Live) -> Family {
    let mut family = Family::counter(
        "sluice_requests_total",
        "Requests answered, by listener, pool and status code; pool is empty where no route led to one.",
    );
    let mut serves = live.serves();
    serves.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    for (key, serve) in &serves {
        let pool = key.pool.as_ref().map_or("", |pool| pool.as_str());
        for (code, count) in serve.answers() {
            let code = code.to_string();
            family.count(&[("listener", &key.listener), ("pool", pool), ("code", &code)], count);
        }
    }
    family
}
