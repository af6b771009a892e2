//! One cluster as the loop holds it: its store, what it contributed last, and the task that watches it.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinError, JoinSet};

use super::Event;
use super::kube::spec::ClusterSpec;
use super::kube::status::Word;
use super::kube::status::desk::{self, Desk, Teller};
use super::kube::{self, Change, Cluster, Statuses};
use crate::model::intent::Intent;
use crate::model::live::SourceState;
use crate::model::problem::{Origin, Problem};
use crate::ready::Pending;

/// Changes of one cluster that may wait; a watch that is quicker than the loop waits for it.
const WAITING: usize = 256;

/// One cluster.
pub(super) struct Member {
    /// What the file says of it.
    pub(super) spec: ClusterSpec,
    /// Tells its changes from those of an earlier member of the same name.
    pub(super) number: u64,
    /// What it contributed last.
    pub(super) fragment: Intent,
    /// What it could not serve.
    pub(super) problems: Vec<Problem>,
    cluster: Cluster,
    /// Why it cannot be followed now.
    trouble: Option<Arc<str>>,
    is_stale: bool,
    statuses: Option<Statuses>,
    teller: Teller,
    desk: Desk,
    /// Dropped when the first content of it is served.
    pending: Option<Pending>,
    task: Option<AbortHandle>,
}

impl Member {
    /// A cluster of which nothing is known yet.
    pub(super) fn new(spec: ClusterSpec, number: u64, pending: Option<Pending>) -> Self {
        let (teller, desk) = desk::open(&spec.name);
        Self {
            cluster: Cluster::new(spec.clone()),
            spec,
            number,
            fragment: Intent::default(),
            problems: Vec::new(),
            trouble: None,
            is_stale: false,
            statuses: None,
            teller,
            desk,
            pending,
            task: None,
        }
    }

    /// Starts its watch in `tasks`; changes arrive in `events`.
    pub(super) fn start(&mut self, tasks: &mut JoinSet<()>, events: &mpsc::Sender<Event>, state: Arc<SourceState>) {
        let (sender, mut changes) = mpsc::channel(WAITING);
        let watch = kube::watch(self.spec.clone(), sender, state.clone(), self.desk.clone());
        let (events, number) = (events.clone(), self.number);
        let forward = async move {
            while let Some(change) = changes.recv().await {
                if events.send(Event::Kube { number, change }).await.is_err() {
                    return;
                }
            }
        };
        self.task = Some(tasks.spawn(async move {
            let _alarm = Alarm(state);
            tokio::join!(watch, forward);
        }));
    }

    /// Takes over what another of the same name contributed, until this one has been heard.
    pub(super) fn succeed(&mut self, other: &mut Self) {
        self.fragment = std::mem::take(&mut other.fragment);
        self.problems = std::mem::take(&mut other.problems);
    }

    /// Something in it changed.
    pub(super) fn apply(&mut self, change: Change) {
        if let Change::Trouble(reason) = change {
            self.trouble = reason;
            return;
        }
        self.cluster.apply(change);
        self.is_stale = true;
    }

    /// That it cannot be followed now, if that is so.
    pub(super) fn outage(&self) -> Option<Problem> {
        let origin = Origin::new(&*self.spec.name, format!("cluster {}", self.spec.name));
        let what = if self.is_heard() { "what was last heard of it is served on" } else { "nothing of it is served" };
        Some(Problem::new(&origin, format!("cannot be followed, and {what}: {}", self.trouble.as_ref()?)))
    }

    /// Whether its whole content was heard once.
    pub(super) fn is_heard(&self) -> bool {
        self.cluster.heard_all()
    }

    /// Brings its fragment up to date. A cluster that was heard in part only contributes what it did before.
    pub(super) fn refresh(&mut self) {
        if self.is_stale && self.is_heard() {
            self.is_stale = false;
            let translation = self.cluster.translate();
            self.fragment = translation.fragment;
            self.problems = translation.problems;
            self.statuses = Some(translation.statuses);
        }
    }

    /// What it contributed is served now, but for `lost`, of which another has the place: its objects may say so, and
    /// nothing waits for it any longer. `problems`: of all sources.
    pub(super) fn is_served(&mut self, intent: &Intent, lost: &[Problem], problems: &[Problem]) {
        let Some(statuses) = &self.statuses else { return };
        self.pending = None;
        if !self.spec.has_writer() {
            return;
        }
        let name = &self.spec.name;
        let statuses = match lost.iter().any(|problem| problem.origin.source == *name) {
            true => {
                let routes = intent.listeners.values().flat_map(|listener| &listener.routes);
                let ours = routes.map(|route| &route.origin).filter(|origin| origin.source == *name);
                let served: HashSet<&str> = ours.map(|origin| &*origin.object).collect();
                statuses.of_those(|target| served.contains(&*target.to_string()))
            }
            false => statuses.clone(),
        };
        let notices = Arc::new(self.cluster.notices(problems.iter()));
        self.teller.tell(Word { statuses, notices });
    }

    /// Nothing more comes of it: another sluice may write what its objects are told. Waits for that a moment.
    pub(super) async fn close(&mut self) {
        self.teller.close().await;
    }
}

/// Says of a source whose watch panicked that it is no longer heard.
pub(super) struct Alarm(pub(super) Arc<SourceState>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.failed("its watch stopped working; restart, and report this");
        }
    }
}

/// A watch runs as long as the loop; one that ended has panicked or is a member's that the file dropped.
pub(super) fn report_end(how: Result<(), JoinError>) {
    match how {
        Err(error) if error.is_cancelled() => {}
        Err(error) => tracing::error!("a source of configuration stopped working ({error}); restart, and report this"),
        Ok(()) => {}
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
