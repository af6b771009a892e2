//! Families of the control loop: the snapshot, its sources, their problems, certificates.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::family::{Family, Page};
use crate::model::problem::Cause;
use crate::model::snapshot::Snapshot;
use crate::observe::{Pages, stale_seconds, unix_ms};

pub(super) fn write(
    page: &mut Page,
    pages: &Pages,
    snapshot: &Snapshot,
    now: SystemTime,
) -> Result<(), prometheus::Error> {
    let mut build = Family::gauge("sluice_build_info", "1, labelled with the version that runs.");
    build.count(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.add(build)?;
    let mut generation = Family::gauge("sluice_snapshot_generation", "Snapshots published since the start.");
    generation.count(&[], snapshot.generation);
    page.add(generation)?;
    let (compile, live) = pages.live.control.durations();
    let mut compiles = Family::histogram("sluice_snapshot_compile_seconds", "Time to compile a snapshot.");
    compiles.distribution(&[], &compile);
    page.add(compiles)?;
    let mut lives = Family::histogram(
        "sluice_change_to_live_seconds",
        "Time from the first unpublished change of a source to the published snapshot.",
    );
    lives.distribution(&[], &live);
    page.add(lives)?;
    sources(page, pages, now)?;
    certificates(page, snapshot, now)?;
    let mut orders = Family::counter("sluice_acme_orders_total", "Orders of certificates by ACME that ended, by how.");
    let (issued, failed) = pages.live.acme.orders();
    orders.count(&[("result", "failed")], failed);
    orders.count(&[("result", "issued")], issued);
    page.add(orders)
}

fn sources(page: &mut Page, pages: &Pages, now: SystemTime) -> Result<(), prometheus::Error> {
    let mut up = Family::gauge("sluice_source_up", "1 while the last word from the source was a good one.");
    let mut stale = Family::gauge(
        "sluice_source_stale_seconds",
        "How old what is known of the source is: 0 while it is up, else the time since its last good word.",
    );
    let mut problems = Family::gauge("sluice_problems", "What the source asks for that cannot be served.");
    let told = pages.live.control.problems().borrow().clone();
    let mut counts: BTreeMap<&str, BTreeMap<Cause, u64>> = BTreeMap::new();
    for problem in told.iter() {
        *counts.entry(&problem.origin.source).or_default().entry(problem.cause).or_default() += 1;
    }
    let sources = pages.live.control.sources();
    for (name, source) in &sources {
        let label = [("source", &**name)];
        up.count(&label, u64::from(source.is_up()));
        stale.add(&label, stale_seconds(source, pages.since, now));
        counts.entry(name).or_default();
    }
    for (source, counts) in counts {
        // Each of the few causes always, so that what rises was seen at 0 before.
        for cause in Cause::ALL {
            let count = counts.get(&cause).copied().unwrap_or_default();
            problems.count(&[("cause", cause.label()), ("source", source)], count);
        }
    }
    page.add(up)?;
    page.add(stale)?;
    page.add(problems)
}

fn certificates(page: &mut Page, snapshot: &Snapshot, now: SystemTime) -> Result<(), prometheus::Error> {
    let mut family = Family::gauge(
        "sluice_certificate_expiry_seconds",
        "Time until the certificate of a host ends, negative once it has; the soonest where several name the host.",
    );
    let mut ends: BTreeMap<String, i64> = BTreeMap::new();
    for cert in snapshot.certs.values() {
        for host in &cert.names {
            let end = ends.entry(host.to_string()).or_insert(cert.not_after);
            *end = cert.not_after.min(*end);
        }
    }
    for (host, end) in &ends {
        family.add(&[("host", host)], *end as f64 - unix_ms(now) as f64 / 1e3);
    }
    page.add(family)
}
