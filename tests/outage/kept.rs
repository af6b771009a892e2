//! A start without the API server: what was kept on disk is served, and what is there replaces it.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::json;

use super::*;

/// How long a cold start may take to serve what was kept.
const COLD: Duration = Duration::from_secs(2);

struct Home {
    api: Api,
    folder: tempfile::TempDir,
}

impl Home {
    async fn new(more: &str) -> Self {
        let api = api().await;
        let folder = folder(&api.kubeconfig(), "state_dir: state", more);
        Self { api, folder }
    }

    fn start(&self) -> Loop {
        Loop::start(&self.folder.path().join("sluice.yaml"))
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("state/clusters/home.json")
    }

    /// Runs until the cluster is served, and stops.
    async fn run_once(&self) {
        let running = self.start();
        running.serves("the cluster", &["192.0.2.1"], SOON).await;
        running.stop().await;
    }
}

#[tokio::test]
async fn a_cold_start_without_the_api_server_serves_what_was_kept_until_it_is_back() {
    let home = Home::new("").await;
    home.run_once().await;
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(home.file()), mode(home.folder.path().join("state/clusters"))), (0o600, 0o700));

    for away in [Mode::Refuses, Mode::Hangs] {
        home.api.become_(away).await;
        let running = home.start();
        let took = running.serves("what was kept", &["192.0.2.1"], COLD).await;
        until("to be ready", COLD, || running.ready.waiting_for().is_empty()).await;
        let source = running.source();
        assert!(!source.is_up() && !source.was_heard() && source.last_heard_ms() > 0, "{away:?}: {source:?}");
        until("to be told", SOON, || running.problems().iter().any(|p| p.contains("what was kept of it ("))).await;
        println!("{away:?}: served after {took:?}");

        home.api.put("endpointslices", slice("web", &["192.0.2.1", "192.0.2.2"]));
        home.api.become_(Mode::Good).await;
        running.serves("what is there", &["192.0.2.1", "192.0.2.2"], SOON).await;
        until("to be well", SOON, || source.is_up() && running.problems().is_empty()).await;
        home.api.put("endpointslices", slice("web", &["192.0.2.1"]));
        running.serves("what is there", &["192.0.2.1"], SOON).await;
        running.stop().await;
    }
}

#[tokio::test]
async fn what_changed_is_written_after_a_while_and_not_again() {
    let home = Home::new("").await;
    let running = home.start();
    running.serves("the cluster", &["192.0.2.1"], SOON).await;
    assert!(!home.file().exists(), "not at once");
    until("the file", Duration::from_secs(40), || home.file().exists()).await;
    let written = std::fs::read(home.file()).unwrap();
    running.stop().await;
    assert_eq!(std::fs::read(home.file()).unwrap(), written, "the time of the first writing stays");
}

#[tokio::test]
async fn a_file_that_is_no_good_is_told_and_hinders_nothing() {
    let home = Home::new("").await;
    home.run_once().await;
    let good = std::fs::read(home.file()).unwrap();
    let other = String::from_utf8(good.clone()).unwrap().replacen("\"cluster\":\"", "\"cluster\":\"0", 1);
    for (bytes, told) in [
        (&good[..good.len() / 2], "damaged or cut off"),
        (b"\0\0\0\0", "not a last good state"),
        (b"", "not a last good state"),
        (other.as_bytes(), "of another cluster"),
    ] {
        std::fs::write(home.file(), bytes).unwrap();
        home.api.become_(Mode::Refuses).await;
        let running = home.start();
        until(told, SOON, || running.problems().iter().any(|p| p.contains("home: last_good: ") && p.contains(told)))
            .await;
        assert_eq!(running.ready.waiting_for(), ["cluster home"]);
        home.api.become_(Mode::Good).await;
        running.serves("the cluster all the same", &["192.0.2.1"], SOON).await;
        running.stop().await;
        assert_ne!(std::fs::read(home.file()).unwrap(), bytes, "a good one took its place");
    }
}

#[tokio::test]
async fn keys_stay_off_the_disk_unless_they_are_asked_for_and_none_keeps_nothing() {
    for (more, keys, kept) in
        [("", false, true), ("    last_good: {keep_keys: true}\n", true, true), ("    last_good: none\n", false, false)]
    {
        let home = Home::new(more).await;
        let key = rcgen::generate_simple_self_signed(["shop.example.test".to_owned()]).unwrap();
        let encode = |pem: String| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pem);
        home.api.put(
            "secrets",
            json!({
                "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
                "metadata": {"namespace": "default", "name": "key"},
                "data": {"tls.crt": encode(key.cert.pem()), "tls.key": encode(key.signing_key.serialize_pem())},
            }),
        );
        home.api.put("ingresses", json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"namespace": "default", "name": "shop"},
            "spec": {
                "ingressClassName": "sluice",
                "tls": [{"hosts": ["shop.example.test"], "secretName": "key"}],
                "rules": [{"host": "shop.example.test", "http": {"paths": [
                    {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 8080}}}},
                ]}}],
            },
        }));
        home.run_once().await;
        assert_eq!(home.file().exists(), kept, "{more}");
        home.api.become_(Mode::Refuses).await;
        let running = home.start();
        if !kept {
            until("to be told", SOON, || !running.problems().is_empty()).await;
            assert_eq!(running.served().0.len(), 0);
            continue;
        }
        running.serves("what was kept", &["192.0.2.1"], COLD).await;
        let text = String::from_utf8(std::fs::read(home.file()).unwrap()).unwrap();
        assert_eq!(text.contains(&encode(key.signing_key.serialize_pem())), keys, "{more}");
        assert_eq!(running.snapshots.current().certs.len(), usize::from(keys), "{more}");
        let is_missed = running.problems().iter().any(|p| p.contains("is not known while the API server is away"));
        assert_eq!(is_missed, !keys, "{:?}", running.problems());
    }
}
