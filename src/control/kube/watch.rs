//! Supervisor: follows the objects of one cluster, wherever they are kept, and keeps the source's state true.
//!
//! Owns the tasks of a cluster; all end when the future of [`watch`] is dropped. Knows nothing of what objects mean.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::control::clock::{draw, now_ms, now_s};
use crate::model::live::control::SourceState;

use super::last_good::Kept;
use super::last_good::disk::Disk;
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

mod ask;
mod backoff;
mod client;
mod failure;
mod feed;
mod files;
mod knock;
mod list;
mod report;
mod standing;
mod version;

pub(super) use failure::chain;
pub use list::list;

use ask::Asker;
use backoff::Backoff;
use client::{Known, Way};
use feed::Following;
use report::Report;
use standing::{Standing, Verdict};
use version::Versions;

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

/// When everything fails for so long, the access is read again: what gives its credentials may give others.
const READ_AGAIN: Duration = Duration::from_secs(60);

/// The longest pause before connecting again.
const PAUSE: Duration = Duration::from_secs(4);

/// Who was served for so long has worked.
const WORKED: Duration = Duration::from_secs(30);

/// How many seconds before they end credentials are fetched anew.
const EARLY: i64 = 30;

/// How long the API server may take before what was kept is offered in its place.
const OFFER: Duration = Duration::from_secs(1);

/// Sends all changes of a cluster's objects, and has `desk` write back what they are told. Offers what `disk` kept while
/// they cannot be had. Runs for ever, through every failure; ends only when nobody takes the changes any more. Stops
/// all it started when dropped.
pub async fn watch(
    spec: ClusterSpec,
    disk: Option<Disk>,
    changes: mpsc::Sender<Change>,
    source: Arc<SourceState>,
    desk: Desk,
) {
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
                sleep(TICK).await;
            }
        }
        Access::Kubeconfig(_) | Access::InCluster => {
            let report = Report::new(spec.name.clone(), source, changes.clone());
            let offer = Offer { disk, ready: None, at: Instant::now() + OFFER };
            let versions = Versions::default();
            let mut cluster = Watching { spec, changes, desk, report, versions, identity: None, offer };
            cluster.run().await;
        }
    }
}

/// A cluster that is read from an API server.
struct Watching {
    spec: ClusterSpec,
    changes: mpsc::Sender<Change>,
    desk: Desk,
    report: Report,
    /// The newest that was seen of it.
    versions: Versions,
    /// Which cluster that was.
    identity: Option<String>,
    /// What was kept of it.
    offer: Offer,
}

/// What was kept of a cluster, until it is offered or not needed.
struct Offer {
    /// Where it is; `None` = nowhere, or it was read.
    disk: Option<Disk>,
    /// What it says.
    ready: Option<Result<Box<Kept>, Arc<str>>>,
    /// When it is offered at the latest.
    at: Instant,
}

impl Watching {
    async fn run(&mut self) {
        let mut backoff = Backoff::default();
        while !self.changes.is_closed() {
            let began = Instant::now();
            match self.connect().await {
                Ok((known, way)) => self.serve(&known, &way).await,
                Err(reason) => {
                    self.report.failed(&reason).await;
                    self.offer().await;
                }
            }
            if began.elapsed() >= WORKED {
                backoff.reset();
            }
            sleep(backoff.next(PAUSE, None, draw())).await;
        }
    }

    async fn connect(&mut self) -> Result<(Known, Way), String> {
        let known = client::read(&self.spec.access).await?;
        let identity = known.identity();
        if self.identity.as_ref() != Some(&identity) {
            self.versions.forget();
            // Nobody who takes it: then all ends.
            let _ = self.changes.send(Change::Identity(identity.as_str().into())).await;
            self.remember(&identity).await;
            self.identity = Some(identity);
        }
        let way = known.way()?;
        Ok((known, way))
    }

    /// Reads what was kept of the cluster, the first time it is known which one it is.
    async fn remember(&mut self, identity: &str) {
        let Some(disk) = self.offer.disk.take() else { return };
        let (spec, identity) = (self.spec.clone(), identity.to_owned());
        let loaded = tokio::task::spawn_blocking(move || disk.load(&spec, &identity)).await;
        self.offer.ready = match loaded {
            Ok(Ok(kept)) => kept.map(|kept| Ok(Box::new(kept))),
            Ok(Err(reason)) => Some(Err(reason.into())),
            Err(error) => Some(Err(format!("what was kept cannot be read: {error}").into())),
        };
    }

    /// Offers what was kept, for the cluster itself is not there.
    async fn offer(&mut self) {
        if let Some(kept) = self.offer.ready.take() {
            let _ = self.changes.send(Change::Kept(kept)).await;
        }
    }

    /// Serves by one way, until another may be better or nobody listens.
    async fn serve(&mut self, known: &Known, way: &Way) {
        let standing = Standing::default();
        let mut tasks = JoinSet::new();
        self.start(way, &standing, &mut tasks);
        let namespace = self.spec.namespaces.first().cloned();
        let mut knocking = std::pin::pin!(knock::keep_knocking(way, namespace.as_deref(), &standing));
        let mut failing_since: Option<Instant> = None;
        loop {
            tokio::select! {
                () = standing.changed() => {}
                () = sleep(TICK) => {}
                () = sleep_until(self.offer.at), if self.offer.ready.is_some() => self.offer().await,
                // A task ends when nobody listens, or by a panic; both ways all are started anew or none.
                _ = tasks.join_next() => return,
                // What hangs on an old connection begins anew on a new one.
                () = &mut knocking => return,
            }
            let mut is_failing = false;
            match standing.verdict() {
                Verdict::Waiting => {}
                Verdict::Good => {
                    self.offer.ready = None;
                    self.report.good().await;
                }
                Verdict::Failed { reason, all } => {
                    self.report.failed(&reason).await;
                    self.offer().await;
                    is_failing = all;
                }
            }
            failing_since = if is_failing { failing_since.or_else(|| Some(Instant::now())) } else { None };
            let is_long = failing_since.is_some_and(|since| since.elapsed() > READ_AGAIN);
            if is_long || self.is_outdated(known, way, is_failing).await {
                return;
            }
        }
    }

    /// Whether there are other credentials than those in use, and they can be read.
    async fn is_outdated(&self, known: &Known, way: &Way, is_failing: bool) -> bool {
        let ends = way.client.valid_until().as_ref().is_some_and(|end| end.as_second() - EARLY <= now_s());
        if ends || known.files().differ(is_failing) {
            // What is half written, or not there for a moment, is no reason to let go of what works.
            return is_failing || client::read(&self.spec.access).await.and_then(|known| known.way()).is_ok();
        }
        false
    }

    /// Starts all that goes by one way.
    fn start(&self, way: &Way, standing: &Standing, tasks: &mut JoinSet<()>) {
        self.feeds::<Service>(way, standing, tasks);
        self.feeds::<EndpointSlice>(way, standing, tasks);
        self.feeds::<Node>(way, standing, tasks);
        self.feeds::<Ingress>(way, standing, tasks);
        self.feeds::<IngressClass>(way, standing, tasks);
        self.feeds::<TlsSecret>(way, standing, tasks);
        self.feeds::<UserSecret>(way, standing, tasks);
        if self.spec.ingress_nginx {
            self.feeds::<OpaqueSecret>(way, standing, tasks);
        }
        tasks.spawn(self.desk.clone().serve(way.client.clone(), self.spec.clone()));
    }

    /// Starts the feeds of a kind: one for all, or one a namespace.
    fn feeds<K: Kind>(&self, way: &Way, standing: &Standing, tasks: &mut JoinSet<()>) {
        let names = &self.spec.namespaces;
        let places: Vec<Option<&str>> = if K::NAMESPACED && !names.is_empty() {
            names.iter().map(|name| Some(name.as_str())).collect()
        } else {
            vec![None]
        };
        for namespace in places {
            let feed = Feed { kind: K::FEED, namespace: namespace.map(Into::into) };
            standing.waits(&feed);
            let following = Following {
                asker: Asker::new::<K>(way.client.clone(), namespace),
                feed,
                changes: self.changes.clone(),
                standing: standing.clone(),
                versions: self.versions.clone(),
                server: way.server.clone(),
            };
            tasks.spawn(following.follow::<K>());
        }
    }
}
