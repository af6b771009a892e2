//! Pure. Why a connection or a request ended, and why a connection was refused: each with exactly one label.
//!
//! `proxy::outcome` maps errors to these; the scrape and the log read the labels here.

/// Why a connection ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// Both sides were done.
    Done,
    /// The client broke off.
    ClientGone,
    /// The backend broke off in the middle.
    BackendBroke,
    /// No backend could be reached.
    ConnectFailed,
    /// No pool, or no backend that may be tried.
    NoBackend,
    /// No byte for the idle time.
    Idle,
    /// The TLS handshake failed or took too long.
    TlsFailed,
    /// What the client sent was not the listener's protocol, or broke its rules.
    Malformed,
    /// The head of a request took too long.
    SlowHead,
    /// The process stopped and its drain time ran out.
    Stopped,
}

impl Outcome {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 10] = [
        Self::Done,
        Self::ClientGone,
        Self::BackendBroke,
        Self::ConnectFailed,
        Self::NoBackend,
        Self::Idle,
        Self::TlsFailed,
        Self::Malformed,
        Self::SlowHead,
        Self::Stopped,
    ];

    /// The value of the label `outcome`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::ClientGone => "client_gone",
            Self::BackendBroke => "backend_broke",
            Self::ConnectFailed => "connect_failed",
            Self::NoBackend => "no_backend",
            Self::Idle => "idle",
            Self::TlsFailed => "tls_failed",
            Self::Malformed => "malformed",
            Self::SlowHead => "slow_head",
            Self::Stopped => "stopped",
        }
    }
}

/// Why a connection was closed before anything was read from it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Refusal {
    /// `allow` or `deny` rules.
    Source,
    /// The process is out of descriptors or of its connection limit.
    Capacity,
}

impl Refusal {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 2] = [Self::Source, Self::Capacity];

    /// The value of the label `reason`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Capacity => "capacity",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_own_counter_and_label() {
        let mut labels: Vec<_> = Outcome::ALL.iter().map(|o| o.label()).collect();
        assert!(Outcome::ALL.iter().enumerate().all(|(i, o)| *o as usize == i));
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Outcome::ALL.len());
        assert!(Refusal::ALL.iter().enumerate().all(|(i, r)| *r as usize == i));
    }
}
