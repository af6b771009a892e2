//! The control loop before an API server that fails in every way there is: what was served stays served, it is said,
//! the server is asked seldom, and what changes once it is well again is soon live.

#![allow(clippy::disallowed_methods, reason = "tests own their tasks")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]
#![allow(unreachable_pub, reason = "a test binary has no outside")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sluice::control::{self, Options, file};
use sluice::drain;
use sluice::model::live::{Live, SourceState};
use sluice::model::snapshot::Snapshots;
use sluice::ready::Ready;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

#[path = "outage/api.rs"]
mod api;
#[path = "outage/kept.rs"]
mod kept;

use api::{Api, Mode, service, slice};

/// How long it may take until what changed after an outage is live.
const SOON: Duration = Duration::from_secs(5);

/// A control loop that follows what a file names.
struct Loop {
    snapshots: Arc<Snapshots>,
    live: Arc<Live>,
    ready: Ready,
    trigger: Option<drain::Trigger>,
    task: JoinHandle<()>,
}

impl Loop {
    fn start(config: &Path) -> Self {
        let (trigger, watch) = drain::channel();
        let (snapshots, live) = (Arc::new(Snapshots::default()), Arc::new(Live::new(1)));
        let ready = Ready::default();
        let start = file::load(config).unwrap();
        let options = Options { start, path: None, reload: Arc::new(Notify::new()) };
        let task = tokio::spawn(control::run(options, snapshots.clone(), live.clone(), &ready, watch));
        Self { snapshots, live, ready, trigger: Some(trigger), task }
    }

    /// The backends of all pools, and where is listened.
    fn served(&self) -> (Vec<String>, usize) {
        let snapshot = self.snapshots.current();
        let backends =
            snapshot.pools.values().flat_map(|pool| pool.backends.iter().map(|b| b.address.ip().to_string()));
        let mut backends: Vec<_> = backends.collect();
        backends.sort();
        (backends, snapshot.listeners.len())
    }

    fn source(&self) -> Arc<SourceState> {
        self.live.control.source(&"home".into())
    }

    fn problems(&self) -> Vec<String> {
        self.live.control.problems().borrow().iter().map(ToString::to_string).collect()
    }

    async fn serves(&self, what: &str, backends: &[&str], within: Duration) -> Duration {
        until(what, within, || self.served().0 == backends).await
    }
}

impl Loop {
    /// Stops as the process does.
    async fn stop(mut self) {
        let trigger = self.trigger.take().unwrap();
        assert!(trigger.finish(SOON).await, "the loop ends with the drain");
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits until it is so; how long that took. Panics with `what` when it takes longer than `within`.
async fn until(what: &str, within: Duration, mut is_so: impl FnMut() -> bool) -> Duration {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < within, "{what}: not within {within:?}");
        sleep(Duration::from_millis(5)).await;
    }
    begin.elapsed()
}

/// A folder with a configuration that names one cluster, and more of it.
fn folder(kubeconfig: &str, process: &str, more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("kubeconfig"), kubeconfig).unwrap();
    let text = format!(
        "process: {{{process}}}\nclusters:\n  home:\n    kubeconfig: kubeconfig\n    reach: pod\n    \
         services: {{addresses: [127.0.0.1]}}\n    ingress: {{http: \"127.0.0.1:0\", https: \"127.0.0.2:0\"}}\n{more}"
    );
    std::fs::write(folder.path().join("sluice.yaml"), text).unwrap();
    folder
}

async fn api() -> Api {
    let api = Api::start().await;
    api.put("services", service("web", 8080));
    api.put("endpointslices", slice("web", &["192.0.2.1"]));
    api
}

/// One way to fail, what is said of it, and how long it may take to notice.
async fn outage(mode: Mode, told: &str, noticed: Duration) {
    let name = format!("{mode:?}");
    let api = api().await;
    let folder = folder(&api.kubeconfig(), "", "");
    let running = Loop::start(&folder.path().join("sluice.yaml"));
    running.serves(&name, &["192.0.2.1"], SOON).await;
    until(&name, SOON, || running.source().is_up() && running.problems().is_empty()).await;
    let calm = running.served();

    api.become_(mode).await;
    let source = running.source();
    let took = until(&format!("{name}: to be noticed"), noticed, || !source.is_up()).await;
    until(&format!("{name}: to say {told:?}"), SOON, || source.detail().contains(told)).await;
    let is_told = |problems: Vec<String>| problems.iter().any(|p| p.contains("home: cluster home: cannot be followed"));
    until(&format!("{name}: to be a problem"), SOON, || is_told(running.problems())).await;
    let since = source.last_heard_ms();

    // Long enough for every feed to have tried again and again.
    let (asked, begin) = (api.asked(), Instant::now());
    while begin.elapsed() < Duration::from_secs(10) {
        assert_eq!(running.served(), calm, "{name}: {}", source.detail());
        sleep(Duration::from_millis(50)).await;
    }
    let asked = api.asked() - asked;
    // Seven feeds, of which each has just failed for the first time; where lists come but no watches, they ask for both.
    let most = if mode == Mode::Gone { 90 } else { 50 };
    assert!(asked <= most, "{name}: {asked} requests in 10 s");
    assert!(!source.is_up() && source.last_heard_ms() == since, "{name}: {}", source.detail());

    api.put("endpointslices", slice("web", &["192.0.2.1", "192.0.2.2"]));
    api.become_(Mode::Good).await;
    let back = running.serves(&format!("{name}: to be back"), &["192.0.2.1", "192.0.2.2"], SOON).await;
    until(&format!("{name}: to be well"), SOON * 2, || source.is_up() && running.problems().is_empty()).await;
    println!("{name}: noticed after {took:?}, {asked} requests in 10 s, back after {back:?}: {told}");
}

#[tokio::test]
async fn whatever_the_api_server_does_nothing_is_lost() {
    let soon = Duration::from_secs(8);
    let all = [
        (Mode::Refuses, "connection refused", soon),
        (Mode::Hangs, "does not answer within", soon),
        (Mode::Resets, "broke the connection off", soon),
        (Mode::Says(401, None), "does not accept our credentials (401)", soon),
        (Mode::Says(403, None), "may not read", soon),
        (Mode::Says(410, None), "answers 410", soon),
        (Mode::Says(429, Some(2)), "answers 429", soon),
        (Mode::Says(500, None), "answers 500", soon),
        (Mode::Truncates, "no list in JSON", soon),
        (Mode::Babbles, "in JSON", soon),
        (Mode::Forgets, "an empty list that is older", soon),
        (Mode::EndsWatches, "ends each watch as soon as it begins", Duration::from_secs(12)),
        (Mode::Gone, "answers 410", soon),
        (Mode::HalfOpen, "does not answer within", Duration::from_secs(30)),
    ];
    let mut tasks = tokio::task::JoinSet::new();
    for (mode, told, noticed) in all {
        tasks.spawn(outage(mode, told, noticed));
    }
    let mut failed = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        failed.extend(ended.err().map(|error| error.to_string()));
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
