//! WRITES. The one loop that turns what was asked into what is served.
//!
//! One task owns everything: the last good file, a store for each cluster, the last intent. Whatever can happen is an
//! [`Event`]; each only notes what changed, and when [`pace`] says so all of it is computed whole: translate → merge →
//! skip if equal → compile → publish. Nothing here knows sockets or connections.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::drain;
use crate::model::compile::compile;
use crate::model::intent::Intent;
use crate::model::live::Live;
use crate::model::problem::{Origin, Problem};
use crate::model::snapshot::Snapshots;
use crate::ready::{Pending, Ready};
use acme::Acme;
use file::schema::SOURCE;
use file::{FileError, Loaded};
use kube::spec::ClusterSpec;
use member::{Alarm, Member, report_end};
use names::{Names, Told};
use pace::Pace;
use unopened::Unopened;

mod acme;
mod affinity;
mod amount;
mod ask;
mod clock;
mod fence;
pub mod file;
mod hsts;
pub mod kube;
mod left_over;
mod member;
mod merge;
mod names;
mod ocsp;
pub mod once;
mod pace;
pub mod pem;
mod private;
mod problems;
mod roots;
mod round;
mod time;
mod trust;
mod unopened;
mod usual;
mod validity;

/// How long the first publication waits for a cluster that is not heard or a name that is not answered: the file's own
/// listeners must not stay down because an API server or DNS is away.
const PATIENCE: Duration = Duration::from_secs(2);
/// Events that may wait for the loop; sources that are quicker wait for it.
const WAITING: usize = 256;

/// What the loop starts from.
#[derive(Debug)]
pub struct Options {
    /// What the file said at start: its own fragment, and the clusters to watch.
    pub start: Loaded,
    /// The file to watch for changes; `None` when nothing came from a file.
    pub path: Option<PathBuf>,
    /// Wakes the file source to read at once, as SIGHUP wishes.
    pub reload: Arc<Notify>,
}

/// All that can happen.
enum Event {
    /// The file changed.
    File(file::watch::Change),
    /// An object of a cluster changed.
    Kube { number: u64, change: kube::Change },
    /// The addresses of a backend's name changed, or what ails it.
    Name(Told),
    /// A certificate was issued, or could not be.
    Acme(acme::Told),
    /// A certificate, or what goes with one, may have begun to be valid or ended.
    Aged,
    /// It is time to see whether all sockets are open.
    Look,
    /// It is time to write what is known of a cluster.
    Keep,
    /// It is time to compute.
    Due,
    /// A task of the loop's own ended, which none should.
    Ended(Result<(), JoinError>),
    /// The process stops.
    Stop,
}

/// Runs the loop until the drain begins; ends its watches with it.
///
/// The first publication comes at once when there is no cluster and no backend by name, else when each was heard, at
/// the latest after two seconds. `ready` waits from the moment of this call (not of the first poll) for the first
/// publication and for each cluster. Needs a runtime with time and I/O; computes on the thread that polls it.
pub fn run(
    options: Options,
    snapshots: Arc<Snapshots>,
    live: Arc<Live>,
    ready: &Ready,
    drain: drain::Watch,
) -> impl Future<Output = ()> + Send + use<> {
    live.tls.trust_by(roots::of_system);
    Control::new(options, snapshots, live, ready).serve(drain)
}

struct Control {
    snapshots: Arc<Snapshots>,
    live: Arc<Live>,
    reload: Arc<Notify>,
    path: Option<PathBuf>,
    tasks: JoinSet<()>,
    sender: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
    pace: Pace,
    /// Until then the first publication waits for clusters and names; `None` once it came.
    opens: Option<Instant>,
    first: Option<Pending>,
    file: Loaded,
    /// What is wrong with the file as it is now.
    file_problems: Vec<Problem>,
    members: Vec<Member>,
    numbers: u64,
    names: Names,
    acme: Acme,
    /// When time may have done something to certificates.
    ages: Option<Instant>,
    unopened: Unopened,
    /// The intent that was published last, and what compile said of it.
    last: Option<Intent>,
    compile_problems: Vec<Problem>,
}

impl Control {
    fn new(options: Options, snapshots: Arc<Snapshots>, live: Arc<Live>, ready: &Ready) -> Self {
        let (sender, events) = mpsc::channel(WAITING);
        let acme = Acme::new(options.start.process.state_dir.as_deref(), live.clone());
        let mut control = Self {
            snapshots,
            live,
            reload: options.reload,
            path: options.path,
            tasks: JoinSet::new(),
            sender,
            events,
            pace: Pace::default(),
            opens: None,
            first: Some(ready.pending("the first configuration")),
            file: options.start,
            file_problems: Vec::new(),
            members: Vec::new(),
            numbers: 0,
            names: Names::default(),
            acme,
            ages: None,
            unopened: Unopened::new(Instant::now()),
            last: None,
            compile_problems: Vec::new(),
        };
        for spec in control.file.clusters.clone() {
            let pending = ready.pending(format!("cluster {}", spec.name));
            let member = control.member(spec, Some(pending));
            control.members.push(member);
        }
        control
    }

    async fn serve(mut self, drain: drain::Watch) {
        // The drain waits until what is known of clusters is on disk.
        let _guard = drain.guard();
        self.start();
        loop {
            match self.next(&drain).await {
                Event::File(file::watch::Change::Good(loaded)) => self.take_file(*loaded),
                Event::File(file::watch::Change::Bad(errors)) => self.refuse_file(&errors),
                Event::Kube { number, change } => self.apply(number, change),
                Event::Name(told) => {
                    if self.names.take(told) {
                        self.pace.touch(Instant::now());
                    }
                }
                Event::Acme(told) => {
                    if self.acme.take(told) {
                        self.pace.touch(Instant::now());
                    }
                }
                Event::Aged => {
                    self.ages = None;
                    self.pace.touch(Instant::now());
                }
                Event::Look => {
                    if self.unopened.look(self.last.as_ref(), &self.live, Instant::now()) {
                        self.pace.touch(Instant::now());
                    }
                }
                Event::Keep => self.keep(),
                Event::Due => self.compute(),
                Event::Ended(how) => report_end(how),
                Event::Stop => break,
            }
        }
        // On this thread, so that nothing can come between.
        let now = Instant::now();
        self.members.iter_mut().filter_map(|member| member.keep(now, true)).for_each(|write| write());
        join_all(self.members.iter_mut().map(Member::close)).await;
    }

    /// Writes what is known of clusters that changed a while ago.
    fn keep(&mut self) {
        let now = Instant::now();
        for write in self.members.iter_mut().filter_map(|member| member.keep(now, false)) {
            self.tasks.spawn_blocking(write);
        }
    }

    fn member(&mut self, spec: ClusterSpec, pending: Option<Pending>) -> Member {
        self.numbers += 1;
        Member::new(spec, self.numbers, pending, self.file.process.state_dir.as_deref())
    }

    /// Starts the watches and the clock of the first publication.
    fn start(&mut self) {
        let now = Instant::now();
        self.opens = Some(now + PATIENCE);
        self.pace.touch(now);
        for member in &mut self.members {
            let state = self.live.control.source(&member.spec.name);
            member.start(&mut self.tasks, &self.sender, state);
        }
        let Some(path) = self.path.clone() else { return };
        let state = self.live.control.source(&SOURCE.into());
        state.heard(clock::now_ms());
        let (sender, mut changes) = mpsc::channel(1);
        let watch = file::watch::watch(path, self.file.clone(), self.reload.clone(), sender, state.clone());
        let events = self.sender.clone();
        self.tasks.spawn(async move {
            let _alarm = Alarm(state);
            let forward = async {
                while let Some(change) = changes.recv().await {
                    if events.send(Event::File(change)).await.is_err() {
                        return;
                    }
                }
            };
            tokio::join!(watch, forward);
        });
    }

    async fn next(&mut self, drain: &drain::Watch) -> Event {
        if let Some(event) = self.arrived() {
            return event;
        }
        let due = self.due();
        let keep = self.members.iter().filter_map(Member::keep_at).min();
        tokio::select! {
            biased;
            () = drain.begun() => Event::Stop,
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                // A source that has more to say at this moment may say it.
                tokio::task::yield_now().await;
                self.arrived().unwrap_or(Event::Due)
            }
            () = sleep_until(self.ages.unwrap_or_else(Instant::now)), if self.ages.is_some() => Event::Aged,
            () = sleep_until(self.unopened.due()) => Event::Look,
            () = sleep_until(keep.unwrap_or_else(Instant::now)), if keep.is_some() => Event::Keep,
            // The loop holds a sender itself, so this never ends.
            Some(event) = self.events.recv() => event,
            Some(how) = self.tasks.join_next() => Event::Ended(how),
        }
    }

    /// An event that is there already: objects that change together are computed together, and a part of them is
    /// seldom seen. None once the computation is late, so that a flood of changes cannot put it off.
    fn arrived(&mut self) -> Option<Event> {
        let is_late = self.due().is_some_and(|due| Instant::now() >= due + pace::GAP);
        if is_late { None } else { self.events.try_recv().ok() }
    }

    fn due(&self) -> Option<Instant> {
        let due = self.pace.due()?;
        let is_waiting = || self.names.is_waiting() || self.members.iter().any(|member| !member.is_heard());
        let opens = self.opens.filter(|_| is_waiting());
        Some(opens.map_or(due, |opens| due.max(opens)))
    }

    fn apply(&mut self, number: u64, change: kube::Change) {
        // A change of a member that the file dropped meanwhile finds nobody.
        if let Some(member) = self.members.iter_mut().find(|member| member.number == number) {
            member.apply(change);
            self.pace.touch(Instant::now());
        }
    }

    fn refuse_file(&mut self, errors: &[FileError]) {
        self.file_problems = errors
            .iter()
            .map(|error| Problem::new(&Origin::new(SOURCE, error.place()), error.message.as_str()))
            .collect();
        self.pace.touch(Instant::now());
    }

    fn take_file(&mut self, loaded: Loaded) {
        self.file_problems.clear();
        if loaded.process != self.file.process {
            let origin = Origin::new(SOURCE, "process");
            self.file_problems.push(Problem::new(&origin, "changed; it is read at start only: restart to apply it"));
        }
        self.take_clusters(&loaded.clusters);
        // The process settings in force stay those of the start.
        self.file = Loaded { process: self.file.process.clone(), ..loaded };
        self.pace.touch(Instant::now());
    }

    /// Keeps the members that stay the same, ends those that are gone and starts those that are new or changed. What
    /// a changed one served goes on until its successor was heard.
    fn take_clusters(&mut self, specs: &[ClusterSpec]) {
        let mut old = std::mem::take(&mut self.members);
        for spec in specs {
            let known = old.iter().position(|member| member.spec.name == spec.name).map(|at| old.swap_remove(at));
            let member = match known {
                Some(same) if same.spec == *spec => same,
                known => {
                    let mut member = self.member(spec.clone(), None);
                    if let Some(mut before) = known {
                        member.succeed(&mut before);
                    }
                    let state = self.live.control.source(&spec.name);
                    member.start(&mut self.tasks, &self.sender, state);
                    member
                }
            };
            self.members.push(member);
        }
        for gone in old {
            self.live.control.forget_source(&gone.spec.name);
        }
    }

    /// Translate, merge, fill in names, skip if equal, compile, publish.
    fn compute(&mut self) {
        self.members.iter_mut().for_each(Member::refresh);
        let fragments = [&self.file.fragment].into_iter().chain(self.members.iter().map(|member| &member.fragment));
        let (mut intent, lost) = merge::merge(fragments);
        fence::fence(&mut intent, self.last.as_ref());
        let mut told = lost.clone();
        told.extend(self.names.fill(&mut intent, self.last.as_ref(), &mut self.tasks, &self.sender));
        told.extend(self.acme.fill(&mut intent, &mut self.tasks, &self.sender));
        if self.opens.is_some_and(|opens| self.names.is_waiting() && Instant::now() < opens) {
            // Only now was it seen that the first publication has names to wait for; it stays due.
            return;
        }
        told.extend(self.age(&mut intent));
        let differs = self.last.as_ref() != Some(&intent);
        if differs {
            let start = Instant::now();
            let (snapshot, found) = compile(&intent, &self.snapshots.current(), &self.live);
            self.live.control.compiled(start.elapsed());
            self.snapshots.publish(snapshot);
            self.compile_problems = found;
            self.last = Some(intent);
        }
        let end = Instant::now();
        if let Some(since) = self.pace.done(end).filter(|_| differs) {
            self.live.control.went_live(end - since);
        }
        self.opens = None;
        self.first = None;
        self.report(told);
        let problems = self.live.control.problems().borrow().clone();
        if let Some(intent) = &self.last {
            self.members.iter_mut().for_each(|member| member.is_served(intent, &lost, &problems));
        }
    }
}

#[cfg(test)]
mod tests;
