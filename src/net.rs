//! SYSCALLS. Sockets, relays and who holds a port. Knows bytes and addresses, nothing of listeners or pools.

mod copy;
pub mod holder;
pub mod proxy_protocol;
pub mod relay;
pub mod socket;
