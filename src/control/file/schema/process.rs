//! Pure. The part of the file that is read once, at start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::Door;
use crate::control::file::node::Node;

/// Settings of the process; a change of them needs a restart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Process {
    /// Where metrics, health and the API are served.
    pub admin: Admin,
    /// Data threads, 1 to 256; `None` = one per core.
    pub workers: Option<usize>,
    /// How long connections may finish after SIGTERM.
    pub drain: Duration,
    /// The most memory the process should take, in bytes: near it, new connections are refused. `None` = no limit.
    pub memory_limit: Option<u64>,
    /// Where accounts and certificates of ACME are kept, and the last good states of clusters; `None` = nothing is ever
    /// written.
    pub state_dir: Option<PathBuf>,
}

/// Where metrics, health and the API are served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Admin {
    /// On a loopback address.
    Tcp(SocketAddr),
    /// On a socket in the file system.
    Unix(PathBuf),
}

impl Default for Process {
    fn default() -> Self {
        Self {
            admin: Admin::Tcp(SocketAddr::from(([127, 0, 0, 1], 9650))),
            workers: None,
            drain: Duration::from_secs(30),
            memory_limit: None,
            state_dir: None,
        }
    }
}

const WORKERS: std::ops::RangeInclusive<i64> = 1..=256;
const LONGEST_DRAIN: Duration = Duration::from_secs(24 * 3600);
/// Below this hardly a connection would be taken.
const MEMORY: std::ops::RangeInclusive<u64> = 32 << 20..=1024 << 30;

impl Door<'_> {
    pub(super) fn process(&mut self, node: &Node) -> Process {
        let mut process = Process::default();
        let known = ["admin", "workers", "drain", "memory_limit", "state_dir"];
        let Some(keys) = self.faults.keys(node, &known, &[]) else { return process };
        if let Some(admin) = keys.find("admin").and_then(|node| self.admin(node)) {
            process.admin = admin;
        }
        if let Some(node) = keys.find("workers")
            && !node.is("auto")
        {
            process.workers = self.faults.whole(node, WORKERS).and_then(|n| usize::try_from(n).ok());
        }
        if let Some(node) = keys.find("drain")
            && let Some(drain) = self.faults.duration(node, Duration::ZERO..=LONGEST_DRAIN)
        {
            process.drain = drain;
        }
        if let Some(node) = keys.find("memory_limit")
            && !node.is("none")
        {
            process.memory_limit = self.faults.bytes(node, MEMORY, false);
        }
        if let Some(node) = keys.find("state_dir")
            && !node.is("none")
        {
            process.state_dir = self.path(node);
        }
        process
    }

    fn admin(&mut self, node: &Node) -> Option<Admin> {
        let right = "an address and port like 127.0.0.1:9650, or unix: and a path like unix:/run/sluice.sock";
        let text = self.faults.text(node, right)?;
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') {
                self.faults.wrong(node, "names no absolute path; write one like unix:/run/sluice.sock");
                return None;
            }
            return Some(Admin::Unix(path.into()));
        }
        let address: SocketAddr = self.faults.parsed(node, right)?;
        if !address.ip().to_canonical().is_loopback() {
            // Whoever reaches the admin port can steer the proxy.
            self.faults.wrong(
                node,
                format_args!(
                    "{address} can be reached from other hosts, and tokens are not served by this version; \
                     write a loopback address like 127.0.0.1:{} or a unix: path",
                    address.port()
                ),
            );
            return None;
        }
        Some(Admin::Tcp(address))
    }
}
