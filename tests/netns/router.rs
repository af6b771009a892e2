//! The built binary as it runs on the router, and what its admin port says.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tempfile::TempDir;
use tokio::time::Instant;

use super::lab::{Space, joined};

/// How long anything may take that must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Looks again and again until something is found.
pub fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// sluice in a namespace; killed when dropped, and by the kernel if this process dies.
pub struct Sluice<'l> {
    space: &'l Space,
    folder: TempDir,
    pid: u32,
    guard: Option<JoinHandle<()>>,
}

impl<'l> Sluice<'l> {
    /// Starts it with this configuration, an admin port beside, and waits until it is ready.
    pub fn start(space: &'l Space, config: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("sluice.yaml");
        fs::write(&file, format!("process: {{admin: \"127.0.0.1:9650\"}}\n{config}")).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let (tell, told) = mpsc::channel();
        // The thread stays, as the kernel would take its end for the parent's.
        let guard = space.spawn(move || {
            let mut child = Command::new("setpriv")
                .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_sluice"), "run", "--config"])
                .arg(file)
                .env_remove("SLUICE_LOG")
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap();
            tell.send(child.id()).unwrap();
            child.wait().unwrap();
        });
        let pid = told.recv().expect("setpriv (util-linux) can be run");
        let sluice = Self { space, folder, pid, guard: Some(guard) };
        eventually("sluice to be ready", || {
            let ended = sluice.guard.as_ref().is_some_and(JoinHandle::is_finished);
            assert!(!ended, "sluice ended:\n{}", sluice.log());
            sluice.get("/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")).then_some(())
        });
        sluice
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// One answer of its admin port, head and body.
    fn get(&self, path: &str) -> Option<String> {
        self.space.run(|| {
            let mut stream = TcpStream::connect("127.0.0.1:9650").ok()?;
            stream.set_read_timeout(Some(PATIENCE)).ok()?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            Some(answer)
        })
    }

    /// The sum of the series of a family that have all these labels, each written `name="value"`.
    pub fn metric(&self, family: &str, labels: &[&str]) -> f64 {
        let answer = self.get("/metrics").expect("the admin port answers");
        let series = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let name = series.split('{').next()?;
            let fits = name == family && labels.iter().all(|label| series.contains(label));
            fits.then(|| value.parse::<f64>().ok())?
        };
        answer.lines().filter_map(series).sum()
    }

    /// User memory it holds alone: what is anonymous of its resident set, in bytes.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux 4.5 tells RssAnon");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Sluice<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = writeln!(std::io::stderr(), "--- sluice wrote:\n{}", self.log());
        }
        let Some(guard) = self.guard.take().filter(|guard| !guard.is_finished()) else { return };
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let Some(fd) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) {
            let _ = pidfd_send_signal(fd, Signal::KILL);
        }
        joined(guard);
    }
}
