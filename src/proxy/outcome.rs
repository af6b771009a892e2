//! Why a connection ended: from errors to the one [`Outcome`] that metrics and log lines name.

use std::error::Error;

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
        // It did not answer our PING.
        Outcome::Idle
    } else if error.is_parse() {
        Outcome::Malformed
    } else if let Some(reason) = complaint(error) {
        if reason == h2::Reason::ENHANCE_YOUR_CALM { Outcome::Flood } else { Outcome::Malformed }
    } else if said != Outcome::Done {
        said
    } else {
        Outcome::ClientGone
    }
}

/// What h2 itself told an HTTP/2 client when it ended the connection.
fn complaint(error: &hyper::Error) -> Option<h2::Reason> {
    let told = error.source()?.downcast_ref::<h2::Error>().filter(|error| error.is_go_away() && error.is_library())?;
    told.reason().filter(|reason| *reason != h2::Reason::NO_ERROR)
}
