//! Pure. What one HTTP client may take its time for, and how much one connection of it carries.

use std::time::Duration;

/// Limits on each connection of an `http` or `https` listener. Each time is at least a second.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ClientLimits {
    /// For the TLS handshake, whole.
    pub handshake: Duration,
    /// For the head of a request from its first byte, and for the first byte of a new connection.
    pub head: Duration,
    /// In which some of a request's body must come while its backend waits for it, until the backend answers. Not for
    /// gRPC, whose bodies are conversations.
    pub body: Duration,
    /// In which a client must take some of an answer that waits for it.
    pub stall: Duration,
    /// Between two requests.
    pub keep_alive: Duration,
    /// Requests of one connection, after which it is asked to end; 0: no limit.
    pub requests: u32,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            body: Duration::from_secs(20),
            stall: Duration::from_secs(60),
            keep_alive: Duration::from_secs(60),
            requests: 100_000,
        }
    }
}
