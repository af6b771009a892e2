//! Pebble, its DNS server and a sluice, each on ports of loopback.

#![allow(unreachable_pub, reason = "a room of a test binary, which has no outside")]

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sluice::app::{self, App};
use sluice::control::file;
use sluice::settings::Settings;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::client::TlsStream;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::support::tls::Client;
use crate::support::{Wire, eventually};

/// How long anything may take: a renewal 18 s, a second try at an authority 5 s.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Waits until `look` finds something, looking again and again.
pub async fn in_time<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A process that ends with the test.
struct Tool(Child);

impl Drop for Tool {
    fn drop(&mut self) {
        // One that has ended already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An authority, and where it looks for proofs.
pub struct Lab {
    tools: PathBuf,
    folder: tempfile::TempDir,
    /// Where it looks for plain HTTP.
    pub http: SocketAddr,
    /// Where it looks for TLS.
    pub https: SocketAddr,
    directory: SocketAddr,
    dns: SocketAddr,
    running: Vec<Tool>,
}

impl Lab {
    /// An authority that is not started yet, and whose certificates are valid for so many seconds. `None`: it was not
    /// built.
    pub async fn new(seconds: u64) -> Option<Self> {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/acme/bin");
        if !tools.join("pebble").exists() {
            let required = std::env::var_os("LAB_REQUIRE").is_some_and(|value| value == "1");
            assert!(!required, "there is no Pebble: make -C tests/conformance/acme tools");
            eprintln!("SKIPPED: there is no Pebble; make -C tests/conformance/acme tools builds it");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let [http, https, directory, dns] = free();
        let lab = Self { tools, folder, http, https, directory, dns, running: Vec::new() };
        lab.write_certificate();
        let config = serde_json::json!({ "pebble": {
            "listenAddress": lab.directory.to_string(),
            "managementListenAddress": "",
            "certificate": lab.path("pebble.crt"),
            "privateKey": lab.path("pebble.key"),
            "httpPort": lab.http.port(),
            "tlsPort": lab.https.port(),
            "domainBlocklist": ["blocked.test"],
            "retryAfter": { "authz": 1, "order": 1 },
            "keyAlgorithm": "ecdsa",
            "profiles": { "default": { "description": "the only one", "validityPeriod": seconds } },
        }});
        fs::write(lab.path("pebble.json"), config.to_string()).unwrap();
        Some(lab)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The certificate of the directory itself, and the root it leads to.
    fn write_certificate(&self) {
        let mut root = CertificateParams::default();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &root).unwrap();
        fs::write(self.path("ca.crt"), root.pem()).unwrap();
        fs::write(self.path("pebble.crt"), leaf.pem()).unwrap();
        fs::write(self.path("pebble.key"), key.serialize_pem()).unwrap();
    }

    /// The keys of `acme:` that name it.
    pub fn directory(&self) -> String {
        format!("directory: 'https://{}/dir', ca: '{}'", self.directory, self.path("ca.crt").display())
    }

    /// Starts it and waits until it listens.
    pub async fn start(&mut self) {
        let log = File::create(self.path("log")).unwrap();
        let mut run = |name: &str, arguments: &[&str]| {
            let mut command = Command::new(self.tools.join(name));
            command.args(arguments).env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "0");
            command.env("PEBBLE_AUTHZREUSE", "0");
            command.stdout(log.try_clone().unwrap()).stderr(log.try_clone().unwrap());
            self.running.push(Tool(command.spawn().unwrap()));
        };
        let dns = self.dns.to_string();
        let config = self.folder.path().join("pebble.json").display().to_string();
        run(
            "pebble-challtestsrv",
            &[
                "-dnsserver",
                &dns,
                "-http01",
                "",
                "-https01",
                "",
                "-tlsalpn01",
                "",
                "-doh",
                "",
                "-management",
                "127.0.0.1:0",
                "-defaultIPv4",
                "127.0.0.1",
                "-defaultIPv6",
                "",
            ],
        );
        run("pebble", &["-config", &config, "-dnsserver", &dns]);
        let (directory, dns) = (self.directory, self.dns);
        let listens = |address: SocketAddr| TcpStream::connect(address).is_ok();
        in_time("Pebble", async || {
            let has_ended = self.running.iter_mut().any(|tool| tool.0.try_wait().unwrap().is_some());
            assert!(!has_ended, "{}", fs::read_to_string(self.folder.path().join("log")).unwrap());
            (listens(directory) && listens(dns)).then_some(())
        })
        .await;
    }

    /// Something in its place that answers everything with this, until what is given back is shut down.
    pub async fn pretend(&self, answer: String) -> JoinSet<()> {
        let certs = CertificateDer::pem_file_iter(self.path("pebble.crt")).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(self.path("pebble.key")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_no_client_auth().with_single_cert(certs, key).unwrap());
        let listener = tokio::net::TcpListener::bind(self.directory).await.unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // Who was here a moment ago may be gone.
                let Ok(stream) = TlsAcceptor::from(config.clone()).accept(stream).await else { continue };
                let mut client = Wire::new(stream);
                if client.message().await.is_some() {
                    let _ = client.try_send(&answer).await;
                }
            }
        });
        serving
    }

    /// Ends it.
    pub fn stop(&mut self) {
        self.running.clear();
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// The files that sluice keeps: the folder and the mode of each.
    pub fn files(&self) -> Vec<(&'static str, u32)> {
        let in_folder = |folder: &'static str| {
            let entries = fs::read_dir(self.path("state/acme").join(folder)).unwrap();
            entries.map(move |entry| (folder, entry.unwrap().metadata().unwrap().permissions().mode() & 0o777))
        };
        ["accounts", "certificates"].into_iter().flat_map(in_folder).collect()
    }
}

/// Ports that are free for TCP and UDP, all different.
fn free<const N: usize>() -> [SocketAddr; N] {
    let held: [(TcpListener, UdpSocket); N] = std::array::from_fn(|_| {
        loop {
            let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
                return (tcp, udp);
            }
        }
    });
    std::array::from_fn(|at| held[at].0.local_addr().unwrap())
}

/// What a client sees of a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Leaf {
    /// Its names, in order, with a blank between them.
    pub names: String,
    /// Whether Pebble issued it.
    pub is_from_pebble: bool,
    serial: Vec<u8>,
}

/// A whole sluice in this process.
pub struct Edge {
    app: App,
    file: PathBuf,
    process: String,
    https: SocketAddr,
}

impl Edge {
    /// Starts one with this file, and waits until it is ready.
    pub async fn start(lab: &Lab, text: &str) -> Self {
        let file = lab.path("sluice.yaml");
        let process = format!("process: {{state_dir: '{}'}}\n", lab.path("state").display());
        fs::write(&file, format!("{process}{text}")).unwrap();
        let loaded = file::load(&file).unwrap_or_else(|errors| panic!("{errors:#?}"));
        let settings =
            Settings { admin: "127.0.0.1:0".into(), workers: 1, drain: Duration::from_secs(1), memory_limit: None };
        let app = app::start(&settings, loaded, Some(file.clone())).unwrap();
        eventually("readiness", || app.waiting_for().is_empty().then_some(())).await;
        Self { app, file, process, https: lab.https }
    }

    /// Changes the file.
    pub fn write(&self, text: &str) {
        fs::write(&self.file, format!("{}{text}", self.process)).unwrap();
        self.app.reload().notify_one();
    }

    /// Shakes hands.
    pub async fn shake(&self, alpn: &[&str], name: &str) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
        Client::offering(alpn).try_connect(self.https, name).await
    }

    /// The certificate for a name, if there is one now.
    pub async fn certificate_now(&self, name: &str) -> Option<Leaf> {
        let stream = self.shake(&["http/1.1"], name).await.ok()?;
        let der = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        let (_, leaf) = X509Certificate::from_der(&der).unwrap();
        let alternative = leaf.subject_alternative_name().unwrap().unwrap();
        let mut names: Vec<_> = alternative
            .value
            .general_names
            .iter()
            .map(|name| match name {
                GeneralName::DNSName(name) => (*name).to_owned(),
                other => panic!("{other:?}"),
            })
            .collect();
        names.sort_unstable();
        let is_from_pebble = leaf.issuer().to_string().contains("Pebble");
        Some(Leaf { names: names.join(" "), is_from_pebble, serial: leaf.raw_serial().to_vec() })
    }

    /// The certificate for a name, as soon as there is one.
    pub async fn certificate(&self, name: &str) -> Leaf {
        in_time("the certificate", async || self.certificate_now(name).await).await
    }

    async fn page(&self, path: &str) -> String {
        let mut admin = Wire::to(self.app.admin().to_string().parse().unwrap()).await;
        admin.get("localhost", path).await.text().to_owned()
    }

    /// The metrics.
    pub async fn metrics(&self) -> String {
        self.page("/metrics").await
    }

    /// The problems, as JSON.
    pub async fn problems(&self) -> String {
        let page: serde_json::Value = serde_json::from_str(&self.page("/api/v1/problems").await).unwrap();
        page["problems"].to_string()
    }

    /// Stops.
    pub async fn stop(self) {
        self.app.stop().await;
    }
}
