//! Reach a backend: pick, connect, and when that fails pick another, before any byte was sent.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tracing::debug;

use super::Worker;
use super::limit::queue;
use crate::model::balance::{Picked, Tried};
use crate::model::blame::Fault;
use crate::model::intent::Action;
use crate::model::live::BackendState;
use crate::model::outcome::Outcome;
use crate::model::route::Target;
use crate::model::snapshot::{BackendPlan, PoolPlan};
use crate::net::dial;
use crate::net::socket::{self, Unreached};

/// A connection to a backend, counted there while `picked` lives.
#[derive(Debug)]
pub(super) struct Reached {
    /// The connection, nothing sent on it yet.
    pub(super) stream: TcpStream,
    /// Which backend it is.
    pub(super) picked: Picked,
}

/// Opens a connection to a backend of the pool that is not among `tried`; each failure is counted and another backend
/// is tried, as often as the pool's retries allow. What was tried is added to `tried`. Where all are at their limit it
/// waits in the pool's queue, after which `pool` may be a newer one.
pub(super) async fn connect(
    worker: &Worker,
    pool: &mut Arc<PoolPlan>,
    source: IpAddr,
    tried: &mut Tried,
) -> Result<Reached, Outcome> {
    let mut why = Outcome::NoBackend;
    for attempt in 0..=pool.intent.retries {
        let picked = match queue::pick(worker, pool, &source.into(), tried, attempt > 0).await {
            Ok(picked) => picked,
            Err(Outcome::NoBackend) => break,
            Err(queue) => return Err(queue),
        };
        if attempt > 0 {
            pool.state.retried();
        }
        match dial(pool, &pool.backends[picked.index]).await {
            Ok(stream) => return Ok(Reached { stream, picked }),
            Err(_) => {
                tried.add(picked.index);
                why = Outcome::ConnectFailed;
            }
        }
    }
    Err(why)
}

/// Opens a connection to one backend within the pool's connect timeout; success and failure are counted there. The
/// relay gives it its keepalive later; who keeps it otherwise, does so himself.
pub(super) async fn dial(pool: &PoolPlan, backend: &BackendPlan) -> io::Result<TcpStream> {
    let since = backend.node.pulse();
    match dial::dial(backend.address, pool.intent.timeouts.connect).await {
        Ok(stream) => {
            backend.state.connected();
            Ok(stream)
        }
        Err(error) => {
            backend.state.connect_failed();
            match Unreached::of(&error) {
                Unreached::Silent => pool.blame(backend, Fault::Silent(since)),
                Unreached::Refused => pool.blame(backend, Fault::Refused),
                Unreached::NoWay => pool.blame(backend, Fault::NoWay),
                Unreached::Ours => {}
            }
            debug!(pool = %pool.name, backend = %backend.address, error = socket::describe(&error), "connect failed");
            Err(error)
        }
    }
}

/// A backend broke a connection off before it had sent a byte. The connection holds nothing of the snapshot it was
/// decided by, so the pool that its target names is looked up as it is now.
pub(super) fn broke_off(worker: &Worker, target: &Target, state: &BackendState) {
    let Action::Forward(name) = &target.action else { return };
    let pool = worker.reader.read(|snapshot| snapshot.pools.get(name).cloned());
    if let Some(pool) = pool
        && let Some(backend) = pool.backend_of(state)
    {
        pool.blame(backend, Fault::Broke);
    }
}
