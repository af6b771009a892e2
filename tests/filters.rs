//! Filters of routes through a whole proxy: what backends and clients see on their wires.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

#[path = "filters/answers.rs"]
mod answers;
#[path = "filters/asked.rs"]
mod asked;
#[path = "filters/bodies.rs"]
mod bodies;
#[path = "filters/edits.rs"]
mod edits;
#[path = "filters/limits.rs"]
mod limits;

use std::sync::Arc;

use sluice::model::intent::Filters;
use support::asked::web;
use support::{Asked, Peer, Sluice, Wire};

/// The HTTP listener `web` before one backend, with these filters on its only route.
fn filtered(peer: &Peer, filters: Filters) -> Asked {
    Asked::site(&[peer.address]).change_listener(web(), |listener| listener.routes[0].filters = Some(Arc::new(filters)))
}

/// A proxy with such a listener, and a client of it.
async fn started(peer: &Peer, filters: Filters) -> (Sluice, Wire) {
    let sluice = Sluice::start(filtered(peer, filters)).await;
    let client = Wire::to(sluice.address(web()).await).await;
    (sluice, client)
}
