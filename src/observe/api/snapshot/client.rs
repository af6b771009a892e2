//! How long one HTTP client may take, on `/api/v1/snapshot`.

use serde::Serialize;

use crate::model::intent::ClientLimits;

/// For what how many seconds.
#[derive(Debug, Serialize)]
pub struct ClientTimes {
    /// For the TLS handshake, whole.
    pub handshake_seconds: f64,
    /// For the head of a request from its first byte.
    pub head_seconds: f64,
    /// In which some of a request's body must come.
    pub body_seconds: f64,
    /// In which some of an answer must be taken.
    pub stall_seconds: f64,
    /// Between two requests.
    pub keep_alive_seconds: f64,
}

impl ClientTimes {
    pub(super) fn of(limits: &ClientLimits) -> Self {
        let ClientLimits { handshake, head, body, stall, keep_alive, requests: _ } = limits;
        Self {
            handshake_seconds: handshake.as_secs_f64(),
            head_seconds: head.as_secs_f64(),
            body_seconds: body.as_secs_f64(),
            stall_seconds: stall.as_secs_f64(),
            keep_alive_seconds: keep_alive.as_secs_f64(),
        }
    }
}
