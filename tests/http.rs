//! HTTP through a whole proxy: what backends and clients really see on their wires.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

#[path = "http/bodies.rs"]
mod bodies;
#[path = "http/endings.rs"]
mod endings;
#[path = "http/failures.rs"]
mod failures;
#[path = "http/forwarding.rs"]
mod forwarding;
#[path = "http/refusals.rs"]
mod refusals;
#[path = "http/siphon.rs"]
mod siphon;
#[path = "http/trusted.rs"]
mod trusted;
#[path = "http/upgrades.rs"]
mod upgrades;
#[path = "http/versions.rs"]
mod versions;
