//! Backends by DNS name: every name that a pool asks for is looked up in the background, again and again, and what is
//! known of it is put among the pool's backends before anything is compared or compiled.
//!
//! Theory: one task a name asks the resolver (see [`ask`]), keeps what was good (see [`standing`]) and sends an event
//! when something changed; the loop only reads what it was told last. So no look-up is ever waited for, but for the first
//! publication, which gives the names it asks for as long as it gives clusters. A pool whose name has not been answered
//! yet stays as it was published last.
//!
//! Knows nothing of who asked for a pool.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use super::Event;
use crate::model::intent::{Action, Backend, Intent, ListenerKey, NamedBackend, Pool, PoolName};
use crate::model::problem::Problem;
use ask::Resolver;
use standing::{Known, Standing};

mod ask;
mod standing;

/// The names that are looked up, and what is known of each.
pub(super) struct Names {
    resolver: Resolver,
    followed: BTreeMap<Arc<str>, Followed>,
}

/// A name that is looked up for as long as this lives.
struct Followed {
    /// `None` until its first look-up ended.
    standing: Option<Standing>,
    task: AbortHandle,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a look-up told of a name.
pub(super) struct Told {
    host: Arc<str>,
    standing: Standing,
}

impl Default for Names {
    fn default() -> Self {
        Self { resolver: Resolver::of_system(), followed: BTreeMap::new() }
    }
}

impl Names {
    /// Puts the addresses of each name into its pools, and says what ails names. New names are followed from now on, by
    /// tasks in `tasks` that tell `events`; names that nobody asks for any longer are forgotten. `last` is what was
    /// published.
    pub(super) fn fill(
        &mut self,
        intent: &mut Intent,
        last: Option<&Intent>,
        tasks: &mut JoinSet<()>,
        events: &mpsc::Sender<Event>,
    ) -> Vec<Problem> {
        let mut wanted = BTreeSet::new();
        let mut problems = Vec::new();
        let doors = doors(intent);
        for (name, pool) in intent.pools.iter_mut().filter(|(_, pool)| !pool.names.is_empty()) {
            let pool = Arc::make_mut(pool);
            let own = doors.get(name).map(Vec::as_slice).unwrap_or_default();
            let mut is_complete = true;
            for named in pool.names.clone() {
                wanted.insert(named.host.clone());
                match self.follow(&named.host, tasks, events) {
                    None => is_complete = false,
                    Some(standing) => {
                        let told =
                            standing.trouble.as_ref().map(|trouble| format!("backend {}: {trouble}", named.host));
                        problems.extend(told.map(|reason| Problem::new(&pool.origin, reason)));
                        for (at, listener) in add(pool, &named, standing, own) {
                            let reason = format!(
                                "backend {}: its address {at} is where listener {listener} listens, which leads here, so \
                                 it is left out; correct the name, or what answers for it",
                                named.host
                            );
                            problems.push(Problem::new(&pool.origin, reason));
                        }
                    }
                }
            }
            if let Some(before) = last.and_then(|last| last.pools.get(name)).filter(|_| !is_complete) {
                pool.backends.clone_from(&before.backends);
            }
        }
        self.followed.retain(|host, _| wanted.contains(host));
        problems
    }

    /// Takes what a look-up told; says whether that changes anything.
    pub(super) fn take(&mut self, told: Told) -> bool {
        // Of a name that was forgotten meanwhile nobody wants to know.
        let Some(followed) = self.followed.get_mut(&told.host) else { return false };
        let differs = followed.standing.as_ref() != Some(&told.standing);
        followed.standing = Some(told.standing);
        differs
    }

    /// Whether a name has not been answered yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.followed.values().any(|followed| followed.standing.is_none())
    }

    fn follow(&mut self, host: &Arc<str>, tasks: &mut JoinSet<()>, events: &mpsc::Sender<Event>) -> Option<&Standing> {
        let followed = self.followed.entry(host.clone()).or_insert_with(|| {
            let task = tasks.spawn(look_up(host.clone(), self.resolver.clone(), events.clone()));
            Followed { standing: None, task }
        });
        followed.standing.as_ref()
    }
}

/// A listener and what it is called.
type Door = (ListenerKey, Arc<str>);

/// Which listeners lead to each pool that asks for names. What a name stands for is said by strangers, and a listener
/// that dialled itself would do so until nothing is left.
fn doors(intent: &Intent) -> BTreeMap<PoolName, Vec<Door>> {
    let mut doors = BTreeMap::<PoolName, Vec<_>>::new();
    if intent.pools.values().all(|pool| pool.names.is_empty()) {
        return doors;
    }
    for (key, listener) in &intent.listeners {
        for route in &listener.routes {
            if let Action::Forward(pool) = &route.action
                && intent.pools.get(pool).is_some_and(|pool| !pool.names.is_empty())
            {
                doors.entry(pool.clone()).or_default().push((*key, listener.name.clone()));
            }
        }
    }
    doors
}

/// Appends a backend for each address, unless the pool has it already: two names may be one machine's, but the same
/// name twice is one. Gives back what was left out, as it is one of the pool's own listeners.
fn add(pool: &mut Pool, named: &NamedBackend, standing: &Standing, own: &[Door]) -> Vec<(SocketAddr, Arc<str>)> {
    let mut left_out = Vec::new();
    for ip in &standing.addresses {
        let NamedBackend { host, port, weight, admin, backup } = named.clone();
        let address = SocketAddr::new(*ip, port);
        let is_there = pool.backends.iter().any(|b| b.address == address && b.instance == host);
        if let Some((_, listener)) = own.iter().find(|(door, _)| door.is_at(address)) {
            left_out.push((address, listener.clone()));
        } else if !is_there {
            pool.backends.push(Backend { instance: host, weight, admin, backup, ..Backend::new(address) });
        }
    }
    left_out
}

/// Looks a name up for ever, and tells each change.
async fn look_up(host: Arc<str>, resolver: Resolver, events: mpsc::Sender<Event>) {
    let mut known = Known::default();
    let mut last = None;
    loop {
        let (standing, wait) = known.take(resolver.look_up(&host).await);
        if last.as_ref() != Some(&standing) {
            last = Some(standing.clone());
            let told = Told { host: host.clone(), standing };
            if events.send(Event::Name(told)).await.is_err() {
                return;
            }
        }
        sleep(wait).await;
    }
}

#[cfg(test)]
mod tests;
