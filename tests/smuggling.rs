//! Requests that two servers could read in two ways, against a backend that parses every byte strictly
//! and remembers what it took it for.
//!
//! Each comes on a connection that was used before, with a well-behaved request behind it, and a well-behaved client
//! beside. What reaches the backend has one meaning, nothing reaches it twice or from inside a body, and the client
//! beside loses nothing.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

#[path = "smuggling/downgrade.rs"]
mod downgrade;
#[path = "smuggling/frames.rs"]
mod frames;
#[path = "smuggling/heads.rs"]
mod heads;
#[path = "smuggling/paths.rs"]
mod paths;
#[path = "smuggling/seeds.rs"]
mod seeds;
#[path = "smuggling/strict.rs"]
mod strict;
