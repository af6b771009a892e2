//! WIRING. Builds the parts, joins them and takes them down again. The one place that knows every band.
//!
//! `start` binds the admin port and starts the data threads; the control loop then publishes and sockets follow.
//! `App::stop` runs the drain: readiness goes first, then listeners, then what is under way has its time, then force.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::control::Options;
use crate::control::file::Loaded;
use crate::drain;
use crate::health;
use crate::model::live::Live;
use crate::model::live::listener::Socket;
use crate::model::snapshot::Snapshots;
use crate::net::memory;
use crate::observe::Pages;
use crate::observe::admin::{self, Address};
use crate::proxy::{self, Proxy};
use crate::ready::Ready;
use crate::settings::Settings;

/// A running sluice. Dropping it ends it without a drain.
#[derive(Debug)]
pub struct App {
    admin: Address,
    pages: Arc<Pages>,
    reload: Arc<Notify>,
    trigger: drain::Trigger,
    drain: Duration,
    tasks: JoinSet<()>,
    sockets: tokio::task::JoinHandle<Proxy>,
}

/// Builds and starts everything on the running runtime, which becomes the control runtime. `path` is the file to watch
/// for changes.
///
/// # Errors
/// When the admin port or a thread cannot be had. A listener that cannot be bound is no error: the others serve, and
/// readiness names it if it is essential.
pub fn start(settings: &Settings, loaded: Loaded, path: Option<std::path::PathBuf>) -> anyhow::Result<App> {
    if let Err(error) = memory::avoid_huge_pages() {
        tracing::warn!(%error, "cannot do without huge pages: more memory is taken than needed");
    }
    let address: Address = settings.admin.parse().context("process.admin")?;
    let listening = admin::bind(&address).context("process.admin")?;
    let admin = listening.address().clone();
    let workers = settings.threads();
    let pages = Arc::new(Pages {
        snapshots: Arc::new(Snapshots::default()),
        live: Arc::new(Live::new(workers)),
        ready: Ready::default(),
        since: SystemTime::now(),
    });
    let (trigger, watch) = drain::channel();
    let (snapshots, live, ready) = (&pages.snapshots, &pages.live, &pages.ready);
    let serving = proxy::Settings { workers, seed: seed(), memory_limit: settings.memory_limit };
    let mut proxy = Proxy::start(serving, snapshots.clone(), live.clone(), ready.clone(), &watch)
        .context("cannot start the data threads")?;
    let reload = Arc::new(Notify::new());
    let options = Options { start: loaded, path, reload: reload.clone() };
    let mut tasks = JoinSet::new();
    tasks.spawn(crate::control::run(options, snapshots.clone(), live.clone(), ready, watch.clone()));
    tasks.spawn(health::follow(snapshots.clone(), live.clone(), watch.clone()));
    tasks.spawn(health::ramp::follow(snapshots.clone(), watch.clone()));
    let (desk, until) = (pages.clone(), watch.clone());
    tasks.spawn(async move {
        let Err(error) = admin::serve(listening, desk, until).await;
        tracing::error!(%error, "the admin port stopped");
    });
    #[allow(clippy::disallowed_methods, reason = "owned by App, which waits for it in `stop`")]
    let sockets = tokio::spawn(async move {
        proxy.follow(watch).await;
        proxy
    });
    Ok(App { admin, pages, reload, trigger, drain: settings.drain, tasks, sockets })
}

impl App {
    /// Where the admin port is.
    pub fn admin(&self) -> &Address {
        &self.admin
    }

    /// Read the configuration file again when notified, as SIGHUP wishes.
    pub fn reload(&self) -> Arc<Notify> {
        self.reload.clone()
    }

    /// What is still waited for before `/readyz` says yes.
    pub fn waiting_for(&self) -> Vec<String> {
        self.pages.ready.waiting_for()
    }

    /// Counts publications.
    pub fn generation(&self) -> u64 {
        self.pages.snapshots.current().generation
    }

    /// Names and addresses of the listeners whose sockets are open, sorted.
    pub fn listeners(&self) -> Vec<(String, std::net::SocketAddr)> {
        let snapshot = self.pages.snapshots.current();
        let open = snapshot.listeners.values().filter_map(|plan| match plan.state.socket() {
            Socket::Open(bound) => Some((plan.intent.name.to_string(), bound)),
            Socket::Closed | Socket::Failed(_) => None,
        });
        let mut open: Vec<_> = open.collect();
        open.sort();
        open
    }

    /// Stops: readiness says no, listeners close, what is under way may finish within the drain time, the rest is
    /// dropped. True when nothing had to be dropped.
    pub async fn stop(mut self) -> bool {
        tracing::info!(within = ?self.drain, "draining");
        let finished = self.trigger.finish(self.drain).await;
        if let Ok(proxy) = self.sockets.await {
            // Joins threads, which end at once: what they still held is dropped.
            let _ = tokio::task::spawn_blocking(|| proxy.force()).await;
        }
        self.tasks.shutdown().await;
        finished
    }
}

/// Different for each process, so that a fleet of edges does not pick alike.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}
