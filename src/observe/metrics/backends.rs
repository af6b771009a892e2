//! Families of backends. A series is a pool and an address: an address that a pool lists for several instances (a pod
//! that ends and the one that took its address) is one series.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::family::{Family, Page};
use super::pools;
use crate::model::live::BackendState;
use crate::model::snapshot::{PoolPlan, Snapshot};
use crate::observe::standing::Standing;

/// All that one series of each family needs.
struct Row<'s> {
    pool: &'s str,
    backend: String,
    up: bool,
    standing: Standing,
    states: Vec<&'s Arc<BackendState>>,
}

impl Row<'_> {
    fn sum(&self, of: impl Fn(&BackendState) -> u64) -> u64 {
        self.states.iter().fold(0, |sum, state| sum.wrapping_add(of(state)))
    }
}

pub(super) fn write(page: &mut Page, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
    let rows: Vec<_> = pools::sorted(snapshot).into_iter().flat_map(rows_of).collect();
    let numbers = |mut family: Family, of: &dyn Fn(&Row<'_>) -> u64| {
        rows.iter().for_each(|row| family.count(&[("pool", row.pool), ("backend", &row.backend)], of(row)));
        family
    };
    page.add(numbers(
        Family::gauge(
            "sluice_backend_up",
            "1 unless the backend's checks, its agent or its node fail, whatever its owner wishes.",
        ),
        &|row| u64::from(row.up),
    ))?;
    page.add(states(&rows))?;
    page.add(numbers(
        Family::gauge(
            "sluice_backend_connections_active",
            "Connections and requests under way at the backend now, from all pools that list it.",
        ),
        &|row| row.sum(BackendState::active),
    ))?;
    page.add(numbers(
        Family::counter(
            "sluice_backend_connects_total",
            "Connections opened to the backend, from all pools that list it.",
        ),
        &|row| row.sum(BackendState::connects),
    ))?;
    page.add(numbers(
        Family::counter(
            "sluice_backend_connect_failures_total",
            "Connections to the backend that could not be opened, from all pools that list it.",
        ),
        &|row| row.sum(BackendState::connect_failures),
    ))?;
    page.add(numbers(
        Family::counter(
            "sluice_backend_ejections_total",
            "How often the backend was left out because it failed real traffic, of any pool.",
        ),
        &|row| row.sum(|state| state.ejection().count()),
    ))
}

fn states(rows: &[Row<'_>]) -> Family {
    let mut family = Family::gauge(
        "sluice_backend_state",
        "1 at the state the backend is in: up, idle (weight 0), drain, maintain or down, and why.",
    );
    for row in rows {
        let (state, reason) = (row.standing.state(), row.standing.reason());
        family.count(&[("pool", row.pool), ("backend", &row.backend), ("state", state), ("reason", reason)], 1);
    }
    family
}

fn rows_of(pool: &PoolPlan) -> Vec<Row<'_>> {
    let mut rows: BTreeMap<SocketAddr, Row<'_>> = BTreeMap::new();
    for backend in &pool.backends {
        let (up, standing) = (backend.is_up(), Standing::of(backend));
        let row = rows.entry(backend.address).or_insert_with(|| Row {
            pool: pool.name.as_str(),
            backend: backend.address.to_string(),
            up,
            standing,
            states: Vec::with_capacity(1),
        });
        row.up |= up;
        row.standing = row.standing.min(standing);
        // One that is listed twice is still one.
        if !row.states.iter().any(|state| Arc::ptr_eq(state, &backend.state)) {
            row.states.push(&backend.state);
        }
    }
    rows.into_values().collect()
}
