//! Why a connection ended: from errors to the one [`Outcome`] that metrics and log lines name.

use std::io;

use crate::model::outcome::Outcome;
use crate::net::relay::End;

/// The outcome of a relay.
pub(super) fn of_relay(end: &End) -> Outcome {
    match end {
        End::Done => Outcome::Done,
        End::Idle => Outcome::Idle,
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

/// Words for a failed connect, for the log.
pub(super) fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused: nothing listens there".into(),
        io::ErrorKind::HostUnreachable => "unreachable: no route to the host, or it is off".into(),
        io::ErrorKind::NetworkUnreachable => "unreachable: this host has no route to that network".into(),
        _ => error.to_string(),
    }
}
