//! Pure. Why a connection or a request ended, and why a connection was refused: each with exactly one label.
//!
//! `proxy::outcome` maps errors to these; the scrape and the log read the labels here.

use super::words::words;

words! {
    /// Why a connection ended.
    pub enum Outcome,
    /// The value of the label `outcome`.
    fn label {
        /// Both sides were done.
        Done = "done",
        /// The client broke off.
        ClientGone = "client_gone",
        /// The backend broke off in the middle.
        BackendBroke = "backend_broke",
        /// No backend could be reached.
        ConnectFailed = "connect_failed",
        /// No pool, or no backend that may be tried.
        NoBackend = "no_backend",
        /// Every backend was at its limit, and so was the queue.
        QueueFull = "queue_full",
        /// Every backend stayed at its limit for the queue's whole time.
        QueueTimeout = "queue_timeout",
        /// No byte for the idle time.
        Idle = "idle",
        /// One side had ended, and nothing more came of the other for the half-closed time.
        HalfClosed = "half_closed",
        /// Bytes waited for a side that took none for the stall time.
        Stalled = "stalled",
        /// The TLS handshake failed or took too long.
        TlsFailed = "tls_failed",
        /// What the client sent was not the listener's protocol, or broke its rules.
        Malformed = "malformed",
        /// The head of a request, or the first message of a TLS client that is passed through, took too long.
        SlowHead = "slow_head",
        /// The body of a request came too slowly.
        SlowBody = "slow_body",
        /// An HTTP/2 client caused too much work that leads nowhere: frames of control, or requests broken off.
        Flood = "flood",
        /// Its PROXY protocol header was wrong, or took too long.
        BadProxyHeader = "bad_proxy_header",
        /// The client that its PROXY protocol header named may not connect; the refusals say why.
        Refused = "refused",
        /// The process stopped and its drain time ran out; or it was a flow of a listener that is no longer wanted.
        Stopped = "stopped",
        /// It was a flow, and a newer one needed its place.
        Evicted = "evicted",
    }
}

words! {
    /// Why a connection was closed before anything but a PROXY protocol header was read from it, or a datagram that would
    /// begin a flow was dropped.
    pub enum Refusal,
    /// The value of the label `reason`.
    fn label {
        /// `allow` or `deny` rules.
        Source = "source",
        /// The process was out of descriptors. Counts how often accepting paused: nobody is closed, who comes meanwhile
        /// waits in the kernel's queue.
        Capacity = "capacity",
        /// The listener left the configuration a moment ago, or is https and has no TLS side; or a flow would begin
        /// while the process is stopping.
        NotServed = "not_served",
        /// It came from another source than the proxies whose connections begin with a PROXY protocol header.
        NotAProxy = "not_a_proxy",
        /// The listener has as many connections as it may.
        TooMany = "too_many",
        /// The source has as many connections as one may.
        SourceTooMany = "source_too_many",
        /// The source opens connections faster than one may.
        SourceTooFast = "source_too_fast",
        /// The process is near its memory limit.
        Memory = "memory",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_own_counter_and_label() {
        let mut labels = Outcome::ALL.map(Outcome::label);
        assert!(Outcome::ALL.iter().enumerate().all(|(i, o)| *o as usize == i));
        labels.sort_unstable();
        assert!(labels.windows(2).all(|two| two[0] != two[1]), "{labels:?}");
        assert!(Refusal::ALL.iter().enumerate().all(|(i, r)| *r as usize == i));
        let mut labels = Refusal::ALL.map(Refusal::label);
        labels.sort_unstable();
        assert!(labels.windows(2).all(|two| two[0] != two[1]), "{labels:?}");
    }
}
