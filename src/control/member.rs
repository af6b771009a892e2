//! One cluster as the loop holds it: its store, what it contributed last, and the task that watches it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::Instant;

use super::Event;
use super::clock::now_ms;
use super::kube::last_good::Kept;
use super::kube::last_good::disk::Disk;
use super::kube::spec::{Access, ClusterSpec};
use super::kube::status::Word;
use super::kube::status::desk::{self, Desk, Teller};
use super::kube::{self, Change, Cluster, Statuses};
use crate::model::intent::Intent;
use crate::model::live::SourceState;
use crate::model::problem::{Origin, Problem};
use crate::ready::Pending;

/// Changes of one cluster that may wait; a watch that is quicker than the loop waits for it.
const WAITING: usize = 256;
/// How long after a change what is known is written to disk, with all that changed meanwhile: flash wears out by writing.
const KEEP_AFTER: Duration = Duration::from_secs(30);

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
    /// As it was kept on disk, until it is heard itself.
    kept: Option<(Cluster, u64)>,
    keeping: Option<Keeping>,
    source: Option<Arc<SourceState>>,
    is_new: bool,
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
    pub(super) fn new(spec: ClusterSpec, number: u64, pending: Option<Pending>, state_dir: Option<&Path>) -> Self {
        let (teller, desk) = desk::open(&spec.name);
        let is_remote = matches!(spec.access, Access::Kubeconfig(_) | Access::InCluster);
        let disk = state_dir.filter(|_| is_remote).map(|state_dir| Disk::new(state_dir, &spec.name));
        Self {
            kept: None,
            keeping: disk.map(Keeping::new),
            source: None,
            is_new: false,
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
        let disk = match (&self.keeping, self.spec.last_good) {
            (Some(keeping), Some(_)) => Some(keeping.disk.clone()),
            (Some(keeping), None) => {
                // Of what is not kept any more nothing stays, least of all keys.
                keeping.disk.forget();
                None
            }
            (None, _) => None,
        };
        self.source = Some(state.clone());
        let watch = kube::watch(self.spec.clone(), disk, sender, state.clone(), self.desk.clone());
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
        match change {
            Change::Trouble(reason) => self.trouble = reason,
            Change::Identity(identity) => {
                if let Some(keeping) = &mut self.keeping
                    && keeping.is_another(identity)
                {
                    // What was heard of another cluster is served on, and never mixed with this one.
                    self.cluster = Cluster::new(self.spec.clone());
                    self.statuses = None;
                }
            }
            Change::Kept(Err(reason)) => {
                tracing::warn!("cluster {}: {reason}", self.spec.name);
                if let Some(keeping) = &mut self.keeping {
                    keeping.unusable = Some(reason);
                }
            }
            Change::Kept(Ok(kept)) => self.take_kept(*kept),
            change => {
                self.cluster.apply(change);
                self.is_stale = true;
            }
        }
    }

    fn take_kept(&mut self, kept: Kept) {
        // A member that took over from another has what is newer.
        if self.cluster.heard_all() || self.fragment != Intent::default() {
            return;
        }
        let (saved_ms, name) = (kept.saved_ms, &self.spec.name);
        tracing::warn!("cluster {name} is not there; what was kept of it {} is served", written(saved_ms));
        if let Some(source) = &self.source {
            source.kept(saved_ms);
        }
        self.kept = Some((Cluster::of_kept(self.spec.clone(), kept), saved_ms));
        self.is_stale = true;
    }

    /// That it cannot be followed now, if that is so.
    pub(super) fn outage(&self) -> Option<Problem> {
        let origin = Origin::new(&*self.spec.name, format!("cluster {}", self.spec.name));
        let what = match &self.kept {
            Some((_, saved_ms)) => format!("what was kept of it {} is served", written(*saved_ms)),
            None if self.is_heard() => "what was last heard of it is served on".to_owned(),
            None => "nothing of it is served".to_owned(),
        };
        Some(Problem::new(&origin, format!("cannot be followed, and {what}: {}", self.trouble.as_ref()?)))
    }

    /// What is wrong with what is kept of it.
    pub(super) fn keeping_problem(&self) -> Option<Problem> {
        let origin = Origin::new(&*self.spec.name, "last_good");
        let reason = match &self.keeping {
            Some(keeping) => keeping.problem()?,
            None if self.spec.last_good.is_some_and(|last_good| last_good.keys) => {
                "has nowhere to keep keys; name a folder as process.state_dir and restart, or keep none".to_owned()
            }
            None => return None,
        };
        Some(Problem::new(&origin, reason))
    }

    /// When its state is to be written, if it changed.
    pub(super) fn keep_at(&self) -> Option<Instant> {
        self.keeping.as_ref()?.due
    }

    /// What writes its state, which blocks on the disk, if it changed and it is time, or this is the `end`.
    pub(super) fn keep(&mut self, now: Instant, end: bool) -> Option<impl FnOnce() + Send + use<>> {
        let keeping = self.keeping.as_mut()?;
        keeping.due.filter(|due| end || *due <= now)?;
        keeping.due = None;
        keeping.unusable = None;
        let (disk, identity) = (keeping.disk.clone(), keeping.identity.clone()?);
        let (store, spec) = (self.cluster.store().clone(), self.spec.clone());
        Some(move || disk.save(&store, &spec, &identity, now_ms()))
    }

    /// Whether its whole content is known: heard once, or kept.
    pub(super) fn is_heard(&self) -> bool {
        self.cluster.heard_all() || self.kept.is_some()
    }

    /// Brings its fragment up to date. A cluster that was heard in part only contributes what it did before.
    pub(super) fn refresh(&mut self) {
        if !self.is_stale {
            return;
        }
        if self.cluster.heard_all() {
            self.kept = None;
            self.is_stale = false;
            self.is_new = true;
            let translation = self.cluster.translate();
            self.fragment = translation.fragment;
            self.problems = translation.problems;
            self.statuses = Some(translation.statuses);
            if let Some(keeping) = self.keeping.as_mut().filter(|_| self.spec.last_good.is_some()) {
                keeping.due.get_or_insert_with(|| Instant::now() + KEEP_AFTER);
            }
        } else if let Some((kept, _)) = &mut self.kept {
            self.is_stale = false;
            self.is_new = true;
            // Its statuses are of another time: none is written.
            let translation = kept.translate();
            self.fragment = translation.fragment;
            self.problems = translation.problems;
        }
    }

    /// What it contributed is served now, but for `lost`, of which another has the place: its objects may say so, and
    /// nothing waits for it any longer. `problems`: of all sources.
    pub(super) fn is_served(&mut self, intent: &Intent, lost: &[Problem], problems: &[Problem]) {
        if std::mem::take(&mut self.is_new) {
            self.pending = None;
        }
        let Some(statuses) = &self.statuses else { return };
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

/// What is kept of a cluster on disk.
struct Keeping {
    disk: Disk,
    /// Which cluster it is.
    identity: Option<Arc<str>>,
    /// When it is written next; `None` = nothing changed.
    due: Option<Instant>,
    /// Why what was there could not be used.
    unusable: Option<Arc<str>>,
}

impl Keeping {
    fn new(disk: Disk) -> Self {
        Self { disk, identity: None, due: None, unusable: None }
    }

    /// Notes which cluster it is. Whether it was another one before.
    fn is_another(&mut self, identity: Arc<str>) -> bool {
        let before = self.identity.replace(identity);
        let is_another = before.is_some() && before != self.identity;
        if is_another {
            self.due = None;
        }
        is_another
    }

    fn problem(&self) -> Option<String> {
        self.disk.fault().or_else(|| self.unusable.as_ref().map(ToString::to_string))
    }
}

/// A time in milliseconds since 1970, in words.
fn written(ms: u64) -> String {
    let time = std::time::UNIX_EPOCH.checked_add(Duration::from_millis(ms)).unwrap_or(std::time::UNIX_EPOCH);
    // Years of more digits have no such form.
    let last = std::time::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    format!("({})", httpdate::fmt_http_date(time.min(last)))
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
