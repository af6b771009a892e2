//! Process settings that need a restart. A leaf: read by `app` and `cli` alone, which pass plain values on.

use std::time::Duration;

/// What a process is started with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Where metrics, health and the API are served, as written: `127.0.0.1:9650` or `unix:/run/sluice.sock`.
    pub admin: String,
    /// Data threads; 0 = one per core.
    pub workers: usize,
    /// How long connections may finish after the first signal to stop.
    pub drain: Duration,
    /// The most memory to take, in bytes: near it, new connections are refused. `None` = no limit.
    pub memory_limit: Option<u64>,
}

impl Settings {
    /// The number of data threads: as asked, else one per core this process may use.
    pub fn threads(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            asked => asked,
        }
    }
}
