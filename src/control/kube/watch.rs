//! Supervisor: follows the objects of one cluster, wherever they are kept, and keeps the source's state true.
//!
//! Owns the tasks of a cluster; all end when the future of [`watch`] is dropped. Knows nothing of what objects mean.

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::control::clock::now_ms;
use crate::model::live::control::SourceState;

use super::manifests;
use super::objects::Kind;
use super::objects::endpoints::EndpointSlice;
use super::objects::ingress::{Ingress, IngressClass};
use super::objects::node::Node;
use super::objects::opaque::OpaqueSecret;
use super::objects::secret::TlsSecret;
use super::objects::service::Service;
use super::objects::users::UserSecret;
use super::spec::{Access, ClusterSpec};
use super::status::desk::Desk;
use super::store::{Change, Feed};

mod client;
mod failure;
mod feed;
mod list;
mod report;
mod standing;

pub(super) use failure::chain;
pub use list::list;

use failure::Server;
use feed::Watched;
use report::Report;
use standing::{Standing, Verdict};

/// What is wrong with the way to a cluster's API server, as far as files tell; nothing is dialled. A pod's service
/// account is looked at in the pod alone. Blocks on small reads.
///
/// # Errors
/// What is wrong with the kubeconfig and where it is, in words.
pub fn check_access(access: &Access) -> Result<(), String> {
    match access {
        Access::Kubeconfig(_) => client::look_at(access),
        Access::InCluster | Access::Manifests(_) | Access::Inline(_) => Ok(()),
    }
}

/// How often the source's state is brought up to date.
const TICK: Duration = Duration::from_secs(2);

/// When every watch fails for so long, the access itself is read again: its certificate or token may be new.
const RECONNECT_AFTER: Duration = Duration::from_secs(60);

/// The longest pause between two readings of an access that is wrong.
const LONGEST: Duration = Duration::from_secs(20);

/// Sends all changes of a cluster's objects, and has `desk` write back what they are told. Runs for ever, through every
/// failure; ends only when nobody takes the changes any more. Stops all it started when dropped.
pub async fn watch(spec: ClusterSpec, changes: mpsc::Sender<Change>, source: Arc<SourceState>, desk: Desk) {
    match &spec.access {
        Access::Manifests(folder) => manifests::follow::follow(folder, changes, source).await,
        Access::Inline(texts) => {
            let (objects, faults) = manifests::inline(texts);
            for change in manifests::changes(objects).into_iter().chain([Change::Faults(faults)]) {
                if changes.send(change).await.is_err() {
                    return;
                }
            }
            while !changes.is_closed() {
                source.heard(now_ms());
                tokio::time::sleep(TICK).await;
            }
        }
        access @ (Access::Kubeconfig(_) | Access::InCluster) => {
            let mut report = Report::new(spec.name.clone(), source);
            let mut backoff = DefaultBackoff::default();
            while !changes.is_closed() {
                match client::connect(access).await {
                    Ok((client, server)) => {
                        serve(client, server.into(), &spec, &changes, &mut report, &desk).await;
                        backoff.reset();
                    }
                    Err(reason) => report.failed(&reason),
                }
                tokio::time::sleep(backoff.next().unwrap_or(LONGEST).min(LONGEST)).await;
            }
        }
    }
}

/// Serves with one client, until connecting anew may help or nobody listens.
async fn serve(
    client: Client,
    server: Arc<Server>,
    spec: &ClusterSpec,
    changes: &mpsc::Sender<Change>,
    report: &mut Report,
    desk: &Desk,
) {
    let standing = Standing::default();
    let mut tasks = JoinSet::new();
    let mut feeds = Feeds { client: &client, server, spec, changes, standing: &standing, tasks: &mut tasks };
    feeds.start::<Service>();
    feeds.start::<EndpointSlice>();
    feeds.start::<Node>();
    feeds.start::<Ingress>();
    feeds.start::<IngressClass>();
    feeds.start::<TlsSecret>();
    feeds.start::<UserSecret>();
    if spec.ingress_nginx {
        feeds.start::<OpaqueSecret>();
    }
    tasks.spawn(desk.clone().serve(client.clone(), spec.clone()));
    let mut failing_since: Option<Instant> = None;
    loop {
        tokio::select! {
            () = standing.changed() => {}
            () = tokio::time::sleep(TICK) => {}
            // A task ends when nobody listens, or by a panic; both ways all are started anew or none.
            _ = tasks.join_next() => return,
        }
        match standing.verdict() {
            Verdict::Waiting => {}
            Verdict::Good => {
                failing_since = None;
                report.good();
            }
            Verdict::Failed { reason, all } => {
                report.failed(&reason);
                let since = *failing_since.get_or_insert_with(Instant::now);
                if !all {
                    failing_since = None;
                } else if since.elapsed() > RECONNECT_AFTER {
                    return;
                }
            }
        }
    }
}

struct Feeds<'a> {
    client: &'a Client,
    server: Arc<Server>,
    spec: &'a ClusterSpec,
    changes: &'a mpsc::Sender<Change>,
    standing: &'a Standing,
    tasks: &'a mut JoinSet<()>,
}

impl Feeds<'_> {
    /// Starts the watches of a kind: one for all, or one a namespace.
    fn start<K: Kind>(&mut self) {
        if K::NAMESPACED && !self.spec.namespaces.is_empty() {
            for namespace in &self.spec.namespaces {
                let api = Api::<Watched<K>>::namespaced_with(self.client.clone(), namespace, &());
                self.spawn(api, Some(namespace.as_str().into()));
            }
        } else {
            self.spawn(Api::<Watched<K>>::all(self.client.clone()), None);
        }
    }

    fn spawn<K: Kind>(&mut self, api: Api<Watched<K>>, namespace: Option<Arc<str>>) {
        let feed = Feed { kind: K::FEED, namespace };
        self.standing.add(&feed);
        let (changes, standing) = (self.changes.clone(), self.standing.clone());
        self.tasks.spawn(feed::follow(api, feed, changes, standing, self.server.clone()));
    }
}
