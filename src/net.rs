//! SYSCALLS. Sockets, relays, datagrams and who holds a port. Knows bytes and addresses, nothing of listeners or pools.

pub mod client_hello;
mod copy;
pub mod datagram;
pub mod dial;
pub mod first;
pub mod holder;
pub mod memory;
mod pipe;
pub mod proxy_protocol;
pub mod relay;
pub mod reserve;
pub mod socket;
mod splice;
mod wheel;
