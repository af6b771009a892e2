//! SYSCALLS, and the bytes that strangers begin with. Sockets, relays, datagrams, what the process has of descriptors
//! and memory, who holds a port; PROXY protocol headers, ClientHellos and the heads of HTTP/2 frames, read without
//! a system call.
//!
//! Knows bytes and addresses, nothing of listeners or pools. Counts nothing: what is worth counting it tells its
//! caller.

pub mod accept;
pub mod client_hello;
mod copy;
pub mod datagram;
pub mod dial;
pub mod first;
pub mod h2_frames;
pub mod holder;
pub mod late;
pub mod memory;
mod pipe;
pub mod proxy_protocol;
pub mod relay;
pub mod reserve;
pub mod siphon;
pub mod socket;
mod splice;
pub mod unacknowledged;
pub mod wheel;
