//! Certificates by ACME (RFC 8555): what listeners wish to be ordered is had in the background, kept on the disk,
//! renewed, and put among the certificates before anything is compared or compiled.
//!
//! Theory: one task a certificate (see [`follow`]) orders and renews and sends an event when something changed; the loop
//! only reads what it was told last, so no order is ever waited for. What the disk has is read here, when the order is
//! first seen, so that the very first snapshot has it. All who ask for the same hosts share one order, and it stops when
//! nobody does.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::{Event, clock};
use crate::model::intent::{Cert, CertName, Intent, Order};
use crate::model::live::Live;
use crate::model::problem::Problem;
use authority::Remote;
use doors::Doors;
use follow::Follow;
use state_dir::StateDir;

mod authority;
mod client;
mod doors;
mod follow;
mod issued;
mod plan;
mod state_dir;

/// The certificates that are ordered, and how each stands.
pub(super) struct Acme {
    live: Arc<Live>,
    /// `None` without a state folder: then nothing is ordered.
    store: Option<(StateDir, Arc<Remote>)>,
    doors: watch::Sender<Doors>,
    followed: BTreeMap<CertName, Followed>,
}

/// A certificate that is seen to for as long as this lives.
struct Followed {
    order: Arc<Order>,
    standing: Standing,
    task: AbortHandle,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How one certificate stands.
#[derive(Clone, Debug, Default, PartialEq)]
struct Standing {
    /// The last one that was issued.
    cert: Option<Arc<Cert>>,
    /// Why there is no newer one.
    trouble: Option<String>,
}

/// What the task of a certificate told.
pub(super) struct Told {
    order: Arc<Order>,
    standing: Standing,
}

impl Acme {
    /// Keeps accounts and certificates in this folder. Touches no file yet.
    pub(super) fn new(state_dir: Option<&Path>, live: Arc<Live>) -> Self {
        let store = state_dir.map(|dir| {
            let dir = StateDir::new(dir);
            (dir.clone(), Arc::new(Remote::new(dir, live.acme.clone())))
        });
        Self { live, store, doors: watch::Sender::default(), followed: BTreeMap::new() }
    }

    /// Puts what was issued among the certificates, and says what ails orders. New ones are followed from now on, by tasks
    /// in `tasks` that tell `events`; those that nobody asks for any longer are forgotten. Reads a small file for each new
    /// one.
    pub(super) fn fill(
        &mut self,
        intent: &mut Intent,
        tasks: &mut JoinSet<()>,
        events: &mpsc::Sender<Event>,
    ) -> Vec<Problem> {
        self.followed.retain(|name, _| intent.orders.contains_key(name));
        if intent.orders.is_empty() {
            // The states of listeners are held for no longer than somebody needs them.
            self.doors.send_replace(Doors::default());
            return Vec::new();
        }
        self.doors.send_replace(Doors::of(intent, &self.live));
        let mut problems = Vec::new();
        for (name, order) in &intent.orders {
            let Some(standing) = self.follow(name, order, tasks, events) else {
                let reason = "acme needs process.state_dir, which was not there when the process started; restart";
                problems.push(Problem::new(&order.origin, reason));
                continue;
            };
            if let Some(trouble) = &standing.trouble {
                let hosts = order.hosts_in_words(", ");
                problems.push(Problem::new(&order.origin, format!("no new certificate for {hosts}: {trouble}")));
            }
            if let Some(cert) = &standing.cert {
                intent.certs.insert(name.clone(), cert.clone());
            }
        }
        problems
    }

    /// Takes what a task told; says whether that changes anything.
    pub(super) fn take(&mut self, told: Told) -> bool {
        // Of an order that was changed or forgotten meanwhile nobody wants to know.
        let current = self.followed.values_mut().find(|followed| Arc::ptr_eq(&followed.order, &told.order));
        let Some(followed) = current else { return false };
        let differs = followed.standing != told.standing;
        followed.standing = told.standing;
        differs
    }

    fn follow(
        &mut self,
        name: &CertName,
        order: &Arc<Order>,
        tasks: &mut JoinSet<()>,
        events: &mpsc::Sender<Event>,
    ) -> Option<&Standing> {
        let (dir, authority) = self.store.as_ref()?;
        let is_known = self.followed.get(name).is_some_and(|followed| followed.order.is_like(order));
        if !is_known {
            let held = dir.certificate(order);
            // One from elsewhere is better than none until there is one as it is asked for now.
            let before = self.followed.remove(name).and_then(|before| before.standing.cert.clone());
            let cert = held.as_ref().map(|held| held.cert.clone()).or(before);
            let follow = Follow {
                order: order.clone(),
                held,
                authority: authority.clone(),
                doors: self.doors.subscribe(),
                now: clock::now_s,
                draw: clock::draw,
                events: events.clone(),
            };
            let task = tasks.spawn(follow.run());
            let standing = Standing { cert, trouble: None };
            self.followed.insert(name.clone(), Followed { order: order.clone(), standing, task });
        }
        self.followed.get(name).map(|followed| &followed.standing)
    }
}

#[cfg(test)]
mod tests;
