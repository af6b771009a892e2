//! The whole loop over a real file.

use std::fs;
use std::path::Path;

use super::*;
use crate::control::kube::spec::Access;
use crate::model::intent::ListenerKey;

/// A loop that runs, and what it writes to.
struct Running {
    snapshots: Arc<Snapshots>,
    live: Arc<Live>,
    ready: Ready,
    reload: Arc<Notify>,
    trigger: drain::Trigger,
    tasks: JoinSet<()>,
}

impl Running {
    fn start(start: Loaded, path: Option<&Path>) -> Self {
        let (trigger, watch) = drain::channel();
        let (snapshots, live) = (Arc::new(Snapshots::default()), Arc::new(Live::new(1)));
        let (ready, reload) = (Ready::default(), Arc::new(Notify::new()));
        let options = Options { start, path: path.map(Path::to_owned), reload: reload.clone() };
        let mut tasks = JoinSet::new();
        tasks.spawn(run(options, snapshots.clone(), live.clone(), &ready, watch));
        Self { snapshots, live, ready, reload, trigger, tasks }
    }

    fn generation(&self) -> u64 {
        self.snapshots.current().generation
    }

    fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<_> = self.snapshots.current().listeners.keys().map(|key| key.address.port()).collect();
        ports.sort_unstable();
        ports
    }

    fn problems(&self) -> Vec<String> {
        self.live.control.problems().borrow().iter().map(ToString::to_string).collect()
    }
}

async fn eventually(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within 20 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn yaml(port: u16) -> String {
    format!(
        "listeners: {{a: {{bind: 127.0.0.1:{port}, protocol: http, pool: p}}}}\npools: {{p: {{backends: [192.0.2.1:1]}}}}\n"
    )
}

/// A cluster that cannot be heard: its kubeconfig is not there.
fn away(name: &str) -> String {
    format!("  {name}: {{kubeconfig: /nonexistent/kubeconfig}}\n")
}

fn file(folder: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = folder.path().join("sluice.yaml");
    fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn a_file_alone_is_served_at_once_and_follows_its_edits() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, &yaml(1));
    let running = Running::start(file::load(&path).unwrap(), Some(&path));
    assert_eq!(running.ready.waiting_for(), ["the first configuration"], "before the first poll");
    eventually(|| running.generation() == 1).await;
    assert_eq!(running.ports(), [1]);
    eventually(|| running.ready.waiting_for().is_empty()).await;
    let state = running.live.control.source(&SOURCE.into());
    assert!(state.is_up() && state.was_heard());

    fs::write(&path, yaml(2)).unwrap();
    eventually(|| running.ports() == [2]).await;
    assert_eq!(running.live.control.durations().1.count(), 2, "two changes went live");

    fs::write(&path, format!("# a remark\n{}", yaml(2))).unwrap();
    running.reload.notify_one();
    fs::write(&path, "listeners: {a: {bind: :3}}\n").unwrap();
    eventually(|| !running.problems().is_empty()).await;
    assert_eq!(running.generation(), 2, "what changes nothing publishes nothing");
    assert!(running.problems().iter().any(|p| p.contains("sluice.yaml:1:23: listeners.a.bind: has no address")));
    assert_eq!(running.ports(), [2], "the last good one stays");
    assert!(!state.is_up());

    fs::write(&path, yaml(3)).unwrap();
    eventually(|| running.ports() == [3]).await;
    eventually(|| running.problems().is_empty() && state.is_up()).await;
}

#[tokio::test]
async fn problems_of_compile_stay_while_the_intent_does() {
    let folder = tempfile::tempdir().unwrap();
    let empty = "listeners: {a: {bind: 127.0.0.1:1, protocol: http, pool: p}}\npools: {p: {backends: []}}\n";
    let path = file(&folder, empty);
    let running = Running::start(file::load(&path).unwrap(), Some(&path));
    eventually(|| !running.problems().is_empty()).await;
    fs::write(&path, format!("process: {{workers: 3}}\n{empty}")).unwrap();
    eventually(|| running.problems().len() == 2).await;
    let problems = running.problems();
    assert!(problems[0].starts_with("file: pool p: has no backend"), "{problems:?}");
    assert!(problems[1].starts_with("file: process: changed; it is read at start only"), "{problems:?}");
    assert_eq!(running.generation(), 1);
    fs::write(&path, empty).unwrap();
    eventually(|| running.problems().len() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_away_keeps_nothing_down_but_readiness() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, &format!("clusters:\n{}{}", away("home"), yaml(1)));
    let begin = Instant::now();
    let running = Running::start(file::load(&path).unwrap(), None);
    eventually(|| running.generation() == 1).await;
    let took = begin.elapsed();
    assert!(took >= PATIENCE && took < PATIENCE + Duration::from_millis(100), "{took:?}");
    assert_eq!(running.ports(), [1]);
    eventually(|| running.ready.waiting_for() == ["cluster home"]).await;
}

#[tokio::test]
async fn clusters_come_and_go_with_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, &yaml(1));
    let running = Running::start(file::load(&path).unwrap(), Some(&path));
    eventually(|| running.generation() == 1).await;
    fs::write(&path, format!("clusters:\n{}{}", away("home"), yaml(2))).unwrap();
    eventually(|| running.live.control.sources().contains_key("home")).await;
    eventually(|| running.ports() == [2]).await;
    fs::write(&path, yaml(3)).unwrap();
    eventually(|| running.ports() == [3]).await;
    assert!(!running.live.control.sources().contains_key("home"));
}

#[tokio::test]
async fn the_drain_ends_the_loop_and_its_watches() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, &format!("clusters:\n{}{}", away("home"), yaml(1)));
    let mut running = Running::start(file::load(&path).unwrap(), Some(&path));
    assert!(running.trigger.finish(Duration::from_secs(10)).await, "the loop let go of its watch");
    assert!(running.tasks.join_next().await.unwrap().is_ok());
}

#[test]
fn the_loop_may_run_on_a_current_thread_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let start = Loaded {
        fragment: Intent {
            listeners: [(ListenerKey::tcp("127.0.0.1:1".parse().unwrap()), Arc::new(tcp_listener()))].into(),
            ..Intent::default()
        },
        ..Loaded::default()
    };
    runtime.block_on(async {
        let running = Running::start(start, None);
        eventually(|| running.ports() == [1]).await;
    });
}

fn tcp_listener() -> crate::model::intent::Listener {
    use crate::model::intent::{Limits, Listener, Protocol, SourceRules};
    Listener {
        name: "a".into(),
        protocol: Protocol::Tcp,
        routes: vec![],
        certs: vec![],
        strict_sni: false,
        tls: Default::default(),
        sources: SourceRules::default(),
        essential: true,
        proxies: Vec::new(),
        http: Default::default(),
        limits: Limits::default(),
        flow_idle: None,
        origin: Origin::new("demo", "a"),
    }
}

#[tokio::test]
async fn a_cluster_that_changes_serves_on_until_its_successor_is_heard() {
    let text = |reach: &str| format!("clusters: {{home: {{kubeconfig: /nonexistent, reach: {reach}}}}}");
    let folder = tempfile::tempdir().unwrap();
    let loaded = |reach: &str| file::load(&file(&folder, &text(reach))).unwrap();
    let options = Options { start: loaded("pod"), path: None, reload: Arc::new(Notify::new()) };
    let ready = Ready::default();
    let mut control = Control::new(options, Arc::default(), Arc::new(Live::new(1)), &ready);
    control.start();
    let served: Intent = file::load(&file(&folder, &yaml(7))).unwrap().fragment;
    control.members[0].fragment = served.clone();
    let before = control.members[0].number;

    control.take_file(loaded("pod"));
    assert_eq!(control.members[0].number, before, "the same goes on");
    control.take_file(loaded("nodeport"));
    assert_ne!(control.members[0].number, before);
    assert!(!control.members[0].is_heard());
    assert_eq!(control.members[0].spec.access, Access::Kubeconfig("/nonexistent".into()));
    control.compute();
    assert_eq!(control.last.as_ref(), Some(&served));
}

const OBJECTS: &str = "
apiVersion: v1
kind: Service
metadata: {namespace: default, name: web}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: web, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
- {addresses: [10.244.0.5], conditions: {ready: true}, nodeName: pi-1, targetRef: {kind: Pod, uid: uid-web}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {namespace: default, name: web}
spec:
  ingressClassName: sluice
  rules:
  - host: shop.example.test
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}
";

#[tokio::test]
async fn a_folder_of_manifests_is_served_beside_the_file_and_followed() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("lab")).unwrap();
    let write = |text: &str| fs::write(folder.path().join("lab/all.yaml"), text).unwrap();
    write(OBJECTS);
    let cluster = "clusters: {lab: {manifests: lab, reach: pod, ingress: {http: 127.0.0.1:1, https: []}}}\n";
    let path = file(&folder, &format!("{cluster}{}", yaml(1)));
    let running = Running::start(file::load(&path).unwrap(), Some(&path));
    assert_eq!(running.ready.waiting_for(), ["cluster lab", "the first configuration"]);
    eventually(|| running.generation() == 1).await;
    assert!(running.ready.waiting_for().is_empty(), "the first publication has the whole cluster");
    assert_eq!(running.problems(), Vec::<String>::new());
    let routes = || running.snapshots.current().listeners.values().next().map_or(0, |l| l.intent.routes.len());
    assert_eq!((running.ports(), routes()), (vec![1], 2), "both share the address");

    let addresses = || -> Vec<String> {
        let current = running.snapshots.current();
        let pools = current.pools.values().filter(|pool| pool.name.as_str().contains("web"));
        pools.flat_map(|pool| pool.backends.iter().map(|b| b.address.to_string())).collect()
    };
    assert_eq!(addresses(), ["10.244.0.5:8080"]);
    write(&OBJECTS.replace("10.244.0.5", "10.244.0.6"));
    eventually(|| addresses() == ["10.244.0.6:8080"]).await;
    assert_eq!(running.generation(), 2);

    // Another class serves nothing of it; until it is heard the old one goes on.
    fs::write(&path, format!("{}{}", cluster.replace("ingress: {", "ingress: {class: other, "), yaml(1))).unwrap();
    eventually(|| routes() == 1).await;
    assert_eq!(running.ports(), [1]);
}
