//! The binary, before a backend of the test's, with a listener in the clear and one in TLS.

use std::fmt::Write as _;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use crate::support::{PATIENCE, Wire};

/// A process that is killed when the test ends.
pub(crate) struct Process {
    child: Child,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Process {
    /// Starts one with one data thread, which logs this much, and waits until it serves.
    pub(crate) async fn start(backend: SocketAddr, log: &str) -> Self {
        let (http, https, admin) = (free(), free(), free());
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        std::fs::write(folder.path().join("tls.crt"), made.cert.pem()).unwrap();
        std::fs::write(folder.path().join("tls.key"), made.signing_key.serialize_pem()).unwrap();
        let mut file = String::new();
        writeln!(file, "process: {{admin: '{admin}', workers: 1}}").unwrap();
        writeln!(file, "listeners:").unwrap();
        writeln!(file, "  web: {{bind: '{http}', protocol: http, pool: site}}").unwrap();
        let certificates = "[{cert: tls.crt, key: tls.key}]";
        writeln!(file, "  tls: {{bind: '{https}', protocol: https, certificates: {certificates}, pool: site}}")
            .unwrap();
        writeln!(file, "pools: {{site: {{backends: ['{backend}'], probe: none}}}}").unwrap();
        let path = folder.path().join("sluice.yaml");
        std::fs::write(&path, file).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
        command.arg("run").arg("--config").arg(&path).env("SLUICE_LOG", log);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let process = Self { child, http, https, _folder: folder };
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(https).is_err() || std::net::TcpStream::connect(http).is_err() {
            assert!(tokio::time::Instant::now() < deadline, "it does not listen");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(Wire::to(http).await.get("a.test", "/").await.status(), 200);
        process
    }

    /// Bytes resident now.
    pub(crate) fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_ascii_whitespace().next().unwrap().parse::<usize>().unwrap() * 1024
    }

    /// Ends it; all that it wrote.
    pub(crate) fn written(mut self) -> Vec<u8> {
        self.child.kill().unwrap();
        let mut all = Vec::new();
        self.child.stdout.take().unwrap().read_to_end(&mut all).unwrap();
        self.child.stderr.take().unwrap().read_to_end(&mut all).unwrap();
        all
    }
}
