//! Filters that ask somebody, send elsewhere or transform: what backends and clients really see, hostile ones too.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

#[path = "filters_ask/answers.rs"]
mod answers;
#[path = "filters_ask/basic_auth.rs"]
mod basic_auth;
#[path = "filters_ask/elsewhere.rs"]
mod elsewhere;
#[path = "filters_ask/forward_auth.rs"]
mod forward_auth;
#[path = "filters_ask/of_ingress.rs"]
mod of_ingress;

use std::net::SocketAddr;
use std::sync::Arc;

use sluice::model::intent::{Filters, Protocol};
use support::asked::{pool, route, web};
use support::{Asked, Sluice, Wire};

/// A listener whose every request goes to a pool `site` of these backends, through these filters.
fn filtered(backends: &[SocketAddr], filters: Filters) -> Asked {
    let mut all = route("*", "/", "site");
    all.filters = Some(Arc::new(filters));
    Asked::default().listener(web(), "web", Protocol::Http, vec![all]).pool("site", pool(backends))
}

/// A proxy for it and a client.
async fn serving(asked: Asked) -> (Sluice, Wire) {
    let sluice = Sluice::start(asked).await;
    let client = Wire::to(sluice.address(web()).await).await;
    (sluice, client)
}
