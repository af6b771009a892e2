//! What the targets share that throw bytes at the whole proxy: a real one, its backends and its clients on one thread.
//!
//! [`world`] runs it, [`backend`] is the strict backend, [`reading`] what a client's bytes say to a strict reader,
//! [`answers`] what the client gets, [`script`] HTTP/2 frames as a fuzzer can write them.

#[path = "../../tests/support/asked.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod asked;
#[path = "../../tests/support/plain.rs"]
pub mod plain;

pub mod answers;
pub mod backend;
pub mod reading;
pub mod script;
pub mod world;
