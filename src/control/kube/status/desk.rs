//! The writer of a cluster's statuses and Events, and how the loop speaks to it.
//!
//! The loop tells; nothing of what is done with it ever keeps the loop waiting. What was told last is what counts. Must
//! not know what an object is to show or why it is not served: that is made in `translate` and `notice`.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use kube::Client;
use tokio::sync::{mpsc, watch};

use crate::control::clock;
use crate::control::kube::objects::ObjectName;
use crate::control::kube::spec::{Access, ClusterSpec, LeaseSpec};

use super::{Word, events, fingerprint, seat, write};

/// How long a stop waits until the Lease is given up.
const FAREWELL: Duration = Duration::from_secs(1);

/// Changes of statuses that may wait for their Events; more are not told.
const WAITING: usize = 64;

/// The namespace of the Lease where sluice runs outside of the cluster: it is in every one, and sluice's account is
/// kept there.
const OUTSIDE: &str = "kube-system";

/// The loop's end.
#[derive(Debug)]
pub(in crate::control) struct Teller {
    word: Option<watch::Sender<Arc<Word>>>,
    held: watch::Receiver<bool>,
}

/// The writer's end. Clones are of the same.
#[derive(Clone, Debug)]
pub struct Desk {
    // Who we are among those who would write.
    me: Arc<str>,
    word: watch::Receiver<Arc<Word>>,
    // Whether it is us who write.
    held: Arc<watch::Sender<bool>>,
}

/// Both ends for the cluster that the file calls so.
pub(in crate::control) fn open(cluster: &str) -> (Teller, Desk) {
    let (word, heard) = watch::channel(Arc::default());
    let (held, is_held) = watch::channel(false);
    let me = format!("{}/{cluster}", *PROCESS);
    (Teller { word: Some(word), held: is_held }, Desk { me: me.into(), word: heard, held: Arc::new(held) })
}

/// This process, told from all others: of this host by a number of chance, of others by name too.
static PROCESS: LazyLock<String> = LazyLock::new(|| {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "sluice" } else { host.trim() };
    format!("{host}_{:016x}", clock::draw().to_bits().rotate_left(32) ^ clock::now_ms())
});

impl Teller {
    /// Tells what objects are to be told now.
    pub(in crate::control) fn tell(&self, told: Word) {
        let Some(word) = &self.word else { return };
        word.send_if_modified(|now| {
            let differs = **now != told;
            if differs {
                *now = Arc::new(told);
            }
            differs
        });
    }

    /// Nothing more will be told: the Lease is given up, so that another sluice writes at once. Waits for that a moment.
    pub(in crate::control) async fn close(&mut self) {
        self.word = None;
        let is_given_up = self.held.wait_for(|held| !held);
        // Whoever does not hear it waits until the Lease expires.
        let _ = tokio::time::timeout(FAREWELL, is_given_up).await;
    }
}

impl Desk {
    /// Writes, whenever it is for us to write, for ever; gives the Lease up when the other end is closed.
    pub(in crate::control::kube) async fn serve(self, client: Client, spec: ClusterSpec) {
        let place = place(&spec, client.default_namespace());
        let (happened, happenings) = mpsc::channel(WAITING);
        let held = || self.held.subscribe();
        // What was held through another client is to be asked for again.
        self.held.send_replace(false);
        tokio::join!(
            seat::keep(client.clone(), place, self.me.clone(), &self.held, self.word.clone()),
            write::write(client.clone(), self.word.clone(), held(), happened),
            events::write(client, &self.me, self.word.clone(), held(), happenings),
        );
        // Ending would end the watches too.
        std::future::pending().await
    }
}

/// Returns when nothing more will be told.
pub(super) async fn closed(mut word: watch::Receiver<Arc<Word>>) {
    while word.changed().await.is_ok() {}
}

/// Where the Lease is; `None`: there is to be none. `own`: the namespace of our credentials.
fn place(spec: &ClusterSpec, own: &str) -> Option<ObjectName> {
    let namespace = match spec.access {
        Access::InCluster => own,
        _ => OUTSIDE,
    };
    match &spec.lease {
        LeaseSpec::Usual => Some(ObjectName::new(namespace, usual_name(spec))),
        LeaseSpec::Named(place) => Some(place.clone()),
        LeaseSpec::None => None,
    }
}

/// The same for sluices that write the same objects, and for no others: two of different classes each write theirs.
fn usual_name(spec: &ClusterSpec) -> String {
    let mut namespaces = spec.namespaces.clone();
    namespaces.sort_unstable();
    let (services, ingress) = (&spec.services, &spec.ingress);
    let is_usual = services.class == "sluice.dev/edge"
        && ingress.class == "sluice"
        && !services.take_unclassed
        && namespaces.is_empty();
    if is_usual {
        // Names that can be written into a Role beforehand.
        return if spec.ingress_nginx { "sluice-nginx" } else { "sluice" }.to_owned();
    }
    let others = match (services.take_unclassed, spec.ingress_nginx) {
        (false, false) => "",
        (true, false) => "unclassed",
        (false, true) => "nginx",
        (true, true) => "unclassed,nginx",
    };
    let number = fingerprint([&services.class, others, &ingress.class, &namespaces.join(",")]);
    format!("sluice-{:08x}", number as u32)
}

#[cfg(test)]
mod tests;
