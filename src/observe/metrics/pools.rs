//! Families of pools.

use super::family::{Family, Page};
use crate::model::snapshot::{PoolPlan, Snapshot};

/// The pools by name, so that pages do not shuffle their lines.
pub(super) fn sorted(snapshot: &Snapshot) -> Vec<&PoolPlan> {
    let mut pools: Vec<&PoolPlan> = snapshot.pools.values().map(|pool| &**pool).collect();
    pools.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    pools
}

pub(super) fn write(page: &mut Page, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
    let mut retries = Family::counter(
        "sluice_retries_total",
        "Requests and connections tried again at another backend after a failure.",
    );
    let mut over_budget = Family::counter(
        "sluice_retries_over_budget_total",
        "Requests that were not sent again since too many of the pool had been.",
    );
    let mut failed_open =
        Family::counter("sluice_pool_failed_open_total", "Picks made although no backend of the pool was available.");
    let mut waiting =
        Family::gauge("sluice_queue_length", "Connections and requests that wait for a backend below its limit.");
    let mut queued = Family::counter(
        "sluice_queued_total",
        "Connections and requests that came to the queue of a pool with a limit, by what became of them.",
    );
    let mut mirrored = Family::counter(
        "sluice_mirrored_total",
        "Requests that were to go to the pool as a mirror, by what became of them; other pools have no series.",
    );
    let mut durations = Family::histogram(
        "sluice_request_duration_seconds",
        "Time from a request's head to the end of its answer; pools without a request have no series.",
    );
    for pool in sorted(snapshot) {
        let label = [("pool", pool.name.as_str())];
        retries.count(&label, pool.state.retries());
        over_budget.count(&label, pool.state.over_budget());
        failed_open.count(&label, pool.state.failed_opens());
        waiting.count(&label, pool.state.queue().length() as u64);
        for (end, count) in ["served", "full", "timeout"].into_iter().zip(pool.state.queue_ends()) {
            queued.count(&[label[0], ("end", end)], count);
        }
        let mirrors = pool.state.mirrors();
        if mirrors != [0; 3] {
            for (end, count) in ["answered", "failed", "dropped"].into_iter().zip(mirrors) {
                mirrored.count(&[label[0], ("end", end)], count);
            }
        }
        // Sixteen lines a pool: those that only ever relay bytes are spared them.
        let sum = pool.state.durations();
        if sum.count() > 0 {
            durations.distribution(&label, &sum);
        }
    }
    page.add(retries)?;
    page.add(over_budget)?;
    page.add(failed_open)?;
    page.add(waiting)?;
    page.add(queued)?;
    page.add(mirrored)?;
    page.add(durations)
}
