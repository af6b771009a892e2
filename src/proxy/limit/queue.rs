//! A pick that waits: while every backend of a pool is at its limit, in the pool's line (`model::live::queue`).
//!
//! The first in the line picks by the snapshot of that moment, so a raised limit and a new backend serve those who wait
//! already. It is woken by a slot that is given back, by a publication, and by `health` when a backend came up or was let
//! in again. What an agent says wakes nobody, so the first also looks every [`LOOK`]; the others sleep.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::model::balance::{Client, Picked, Tried};
use crate::model::live::queue::Waiter;
use crate::model::outcome::Outcome;
use crate::model::snapshot::PoolPlan;
use crate::proxy::Worker;

/// How often the first in the line looks by itself.
const LOOK: Duration = Duration::from_millis(100);

/// Picks a backend that was not tried, and waits for it where all are at their limit. `is_again`: another one failed
/// just now. `pool` becomes the one that was picked from, which after a wait may be a newer one; what was tried is
/// forgotten then.
///
/// # Errors
/// [`Outcome::NoBackend`] when none may be tried, [`Outcome::QueueFull`], [`Outcome::QueueTimeout`].
pub(in crate::proxy) async fn pick(
    worker: &Worker,
    pool: &mut Arc<PoolPlan>,
    client: &Client,
    tried: &mut Tried,
    is_again: bool,
) -> Result<Picked, Outcome> {
    let is_limited = pool.intent.max_connections > 0;
    // Who comes while others wait does not pass them by.
    if !is_limited || pool.state.queue().length() == 0 {
        let ask = worker.ask(pool, client);
        let picked = if is_again { pool.pick_again(tried, &ask) } else { pool.pick(tried, &ask) };
        if let Some(picked) = picked {
            return Ok(picked);
        }
        if !is_limited || !pool.is_worth_waiting(tried) {
            return Err(Outcome::NoBackend);
        }
    }
    // Boxed, so that connections that never wait do not carry the room for it through their lives.
    Box::pin(wait(worker, pool, client, tried)).await
}

/// Picks another backend that was not tried, if that is possible without a wait and without passing by who waits.
pub(in crate::proxy) fn pick_now(worker: &Worker, pool: &PoolPlan, client: &Client, tried: &Tried) -> Option<Picked> {
    let is_passing = pool.intent.max_connections > 0 && pool.state.queue().length() > 0;
    if is_passing { None } else { pool.pick_again(tried, &worker.ask(pool, client)) }
}

#[cold]
async fn wait(
    worker: &Worker,
    pool: &mut Arc<PoolPlan>,
    client: &Client,
    tried: &mut Tried,
) -> Result<Picked, Outcome> {
    let (state, queue) = (pool.state.clone(), pool.intent.queue);
    let end = match state.queue().join(queue.length) {
        None => Err(Outcome::QueueFull),
        Some(waiter) => match timeout(queue.wait, turn(worker, pool, client, tried, waiter)).await {
            Ok(picked) => picked,
            Err(_) => Err(Outcome::QueueTimeout),
        },
    };
    match end {
        Ok(_) => state.queued(),
        Err(Outcome::QueueFull) => state.queue_full(),
        Err(Outcome::QueueTimeout) => state.queue_timeout(),
        Err(_) => {}
    }
    end
}

async fn turn(
    worker: &Worker,
    pool: &mut Arc<PoolPlan>,
    client: &Client,
    tried: &mut Tried,
    waiter: Waiter,
) -> Result<Picked, Outcome> {
    loop {
        if !waiter.is_first() {
            waiter.woken().await;
            continue;
        }
        let published = worker.published.notified();
        // A pool that is gone is served as it was: its last connections were promised that.
        if let Some(now) = worker.reader.read(|s| s.pools.get(&pool.name).cloned()) {
            *pool = now;
        }
        *tried = Tried::default();
        if let Some(picked) = pool.pick(tried, &worker.ask(pool, client)) {
            return Ok(picked);
        }
        if !pool.is_worth_waiting(tried) {
            return Err(Outcome::NoBackend);
        }
        tokio::select! {
            () = waiter.woken() => {}
            () = published => {}
            () = sleep(LOOK) => {}
        }
    }
}
