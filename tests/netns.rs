//! Stories between namespaces: the built binary on a router, a client before it and two nodes behind it, each with its
//! own network and joined by cables of MTU 1500.
//!
//! They need root or user namespaces, and are left out loudly where neither is permitted (`LAB_REQUIRE=1` makes that a
//! failure). `make netns` runs them alone.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]
#![allow(unreachable_pub, reason = "shared by the modules of one test binary")]

#[path = "netns/lab.rs"]
mod lab;
#[path = "netns/peers.rs"]
mod peers;
#[path = "netns/router.rs"]
mod router;
#[path = "netns/tcp.rs"]
mod tcp;
#[path = "netns/udp.rs"]
mod udp;
