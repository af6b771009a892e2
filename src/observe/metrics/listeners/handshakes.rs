//! The family of TLS handshakes, of listeners that end TLS.

use std::collections::BTreeMap;

use crate::model::live::ListenerState;
use crate::model::live::listener::Handshake;
use crate::model::snapshot::Snapshot;
use crate::observe::metrics::family::Family;

/// The family of a scrape: each way in which a handshake may end well, of all addresses of a listener together.
pub(super) fn family(snapshot: &Snapshot) -> Family {
    let mut by_name: BTreeMap<&str, Vec<&ListenerState>> = BTreeMap::new();
    for plan in snapshot.listeners.values().filter(|plan| plan.tls.is_some()) {
        by_name.entry(&*plan.intent.name).or_default().push(&plan.state);
    }
    let mut family = Family::counter(
        "sluice_tls_handshakes_total",
        "TLS handshakes that ended well, in full or by a resumed session.",
    );
    for (name, states) in &by_name {
        for how in Handshake::ALL {
            let count = states.iter().fold(0u64, |sum, state| sum.wrapping_add(state.handshakes(how)));
            family.count(&[("listener", name), ("kind", how.label())], count);
        }
    }
    family
}
