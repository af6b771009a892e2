//! Families of UDP listeners. Their flows are counted as connections too.

use std::collections::BTreeMap;

use crate::model::intent::Transport;
use crate::model::live::{ListenerState, Loss};
use crate::model::snapshot::Snapshot;
use crate::observe::metrics::family::{Family, Page};

pub(super) fn write(page: &mut Page, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
    let mut by_name: BTreeMap<&str, Vec<&ListenerState>> = BTreeMap::new();
    for plan in snapshot.listeners.values().filter(|plan| plan.key.transport == Transport::Udp) {
        by_name.entry(&*plan.intent.name).or_default().push(&plan.state);
    }
    let mut flows = Family::gauge("sluice_udp_flows_active", "Flows remembered now.");
    let mut passed = Family::counter(
        "sluice_udp_datagrams_total",
        "Datagrams that came from clients (in) and went to clients (out).",
    );
    let mut lost = Family::counter(
        "sluice_udp_datagrams_lost_total",
        "Datagrams of a flow, in either direction, that did not go on, by reason.",
    );
    for (name, states) in &by_name {
        let listener = ("listener", *name);
        let sum = |of: &dyn Fn(&ListenerState) -> u64| states.iter().fold(0u64, |sum, s| sum.wrapping_add(of(s)));
        flows.count(&[listener], sum(&|s| s.active()));
        passed.count(&[listener, ("direction", "in")], sum(&|s| s.datagrams.passed().0));
        passed.count(&[listener, ("direction", "out")], sum(&|s| s.datagrams.passed().1));
        for why in Loss::ALL {
            lost.count(&[listener, ("reason", why.label())], sum(&|s| s.datagrams.lost(why)));
        }
    }
    for family in [flows, passed, lost] {
        page.add(family)?;
    }
    Ok(())
}
