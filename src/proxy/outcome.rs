//! Why a connection ended: from errors to the one [`Outcome`] that metrics and log lines name.

use crate::model::outcome::Outcome;
use crate::net::relay::End;

/// The outcome of a relay.
pub(super) fn of_relay(end: &End) -> Outcome {
    match end {
        End::Done => Outcome::Done,
        End::Idle => Outcome::Idle,
        End::HalfClosed => Outcome::HalfClosed,
        End::Stalled(_) => Outcome::Stalled,
        End::ClientFailed(_) => Outcome::ClientGone,
        End::BackendFailed(_) => Outcome::BackendBroke,
    }
}

/// The outcome of a client's HTTP connection that hyper ended with an error. `said` is what our own side knows of it.
pub(super) fn of_http(error: &hyper::Error, said: Outcome) -> Outcome {
    if error.is_timeout() {
        Outcome::SlowHead
    } else if error.is_parse() {
        Outcome::Malformed
    } else if said != Outcome::Done {
        said
    } else {
        Outcome::ClientGone
    }
}
