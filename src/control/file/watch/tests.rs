//! A real folder, changed as people, editors and Kubernetes change it.

use std::fs;

use tokio::task::JoinSet;

use super::*;
use crate::control::file::load;

/// Sooner than the slow look, so that what arrives was brought by an event.
const SOON: Duration = Duration::from_secs(3);

struct Watched {
    changes: mpsc::Receiver<Change>,
    state: Arc<SourceState>,
    reload: Arc<Notify>,
    _tasks: JoinSet<()>,
}

impl Watched {
    fn start(path: &Path) -> Self {
        let start = load(path).unwrap();
        let (sender, changes) = mpsc::channel(4);
        let (state, reload) = (Arc::new(SourceState::default()), Arc::new(Notify::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(watch(path.to_owned(), start, reload.clone(), sender, state.clone()));
        Self { changes, state, reload, _tasks: tasks }
    }

    /// Waits for the first reading, so that what comes later is an event and not the difference to the start.
    async fn settled(self) -> Self {
        eventually(|| self.state.was_heard()).await;
        self
    }

    async fn next(&mut self) -> Change {
        timeout(SOON, self.changes.recv()).await.expect("a change within time").expect("the watch goes on")
    }

    async fn port(&mut self) -> u16 {
        match self.next().await {
            Change::Good(loaded) => loaded.fragment.listeners.keys().next().unwrap().address.port(),
            Change::Bad(errors) => panic!("{errors:?}"),
        }
    }

    async fn errors(&mut self) -> Vec<String> {
        match self.next().await {
            Change::Good(loaded) => panic!("{loaded:?}"),
            Change::Bad(errors) => errors.iter().map(ToString::to_string).collect(),
        }
    }
}

async fn eventually(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within 10 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn yaml(port: u16) -> String {
    format!(
        "listeners: {{a: {{bind: 127.0.0.1:{port}, protocol: tcp, pool: p}}}}\npools: {{p: {{backends: [192.0.2.1:1]}}}}\n"
    )
}

#[tokio::test]
async fn a_written_and_a_renamed_file_are_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sluice.yaml");
    fs::write(&path, yaml(1)).unwrap();
    let mut watched = Watched::start(&path).settled().await;
    fs::write(&path, yaml(2)).unwrap();
    assert_eq!(watched.port().await, 2);
    // As editors do.
    fs::write(folder.path().join(".new"), yaml(3)).unwrap();
    fs::rename(folder.path().join(".new"), &path).unwrap();
    assert_eq!(watched.port().await, 3);
    fs::write(folder.path().join("other"), "noise").unwrap();
    fs::write(&path, yaml(4)).unwrap();
    assert_eq!(watched.port().await, 4, "noise is no change");
}

#[tokio::test]
async fn a_bad_file_is_told_and_a_good_one_mends_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sluice.yaml");
    fs::write(&path, yaml(1)).unwrap();
    let mut watched = Watched::start(&path).settled().await;
    fs::write(&path, "listenerz: {}\n").unwrap();
    let errors = watched.errors().await;
    assert!(errors[0].contains("sluice.yaml:1:1: unknown key"), "{errors:?}");
    assert!(!watched.state.is_up());
    assert!(watched.state.detail().contains("unknown key"));
    fs::remove_file(&path).unwrap();
    assert!(watched.errors().await[0].contains("cannot be read"));
    fs::write(&path, yaml(1)).unwrap();
    assert_eq!(watched.port().await, 1, "back to the last good one");
    assert!(watched.state.is_up());
}

#[cfg(unix)]
#[tokio::test]
async fn a_config_map_swap_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (version, port) in [("v1", 1), ("v2", 2)] {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("sluice.yaml"), yaml(port)).unwrap();
    }
    std::os::unix::fs::symlink("v1", at("..data")).unwrap();
    std::os::unix::fs::symlink("..data/sluice.yaml", at("sluice.yaml")).unwrap();
    let mut watched = Watched::start(&at("sluice.yaml")).settled().await;
    std::os::unix::fs::symlink("v2", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    assert_eq!(watched.port().await, 2);
}

#[tokio::test]
async fn a_renewed_certificate_is_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("keys")).unwrap();
    let renew = || {
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        fs::write(at("keys/tls.key"), made.signing_key.serialize_pem()).unwrap();
        fs::write(at("keys/tls.crt"), made.cert.pem()).unwrap();
    };
    renew();
    let text = "listeners: {a: {bind: 127.0.0.1:1, protocol: https, pool: p, certificates: [{cert: keys/tls.crt, key: keys/tls.key}]}}\n\
         pools: {p: {backends: [192.0.2.1:1]}}\n";
    fs::write(at("sluice.yaml"), text).unwrap();
    let mut watched = Watched::start(&at("sluice.yaml")).settled().await;
    let first = load(&at("sluice.yaml")).unwrap();
    renew();
    let Change::Good(second) = watched.next().await else { panic!("bad") };
    assert_ne!(first.fragment.certs, second.fragment.certs);
}

#[tokio::test]
async fn who_asks_is_served_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sluice.yaml");
    fs::write(&path, yaml(1)).unwrap();
    let mut watched = Watched::start(&path).settled().await;
    watched.reload.notify_one();
    fs::write(&path, yaml(2)).unwrap();
    watched.reload.notify_one();
    assert_eq!(watched.port().await, 2);
}
