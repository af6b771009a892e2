//! UDP sockets: to listen, shared by the data threads, and to dial, one a flow; and waiting for many of them at once.
//!
//! [`batch`] moves datagrams, many a call. Sockets here never block.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

pub mod batch;
mod header;
mod option;
pub mod readiness;

pub use batch::{Batch, Unsent};
pub use option::coalesce;
pub use readiness::Readiness;

/// What a listening socket may hold of datagrams that were not read yet, and of those not sent yet, in bytes. The
/// kernel cuts it to `net.core.rmem_max` and `wmem_max`.
const BUFFER: usize = 4 << 20;

/// Opens `count` datagram sockets on one address, for one thread each; the kernel spreads clients over them by their
/// address and port (`SO_REUSEPORT`), the same one always to the same socket while none of them is closed. Port 0 lets
/// the kernel choose one port for all. IPv6 sockets take IPv6 alone. Sockets of an unspecified address are told which
/// address each datagram was sent to (`IP_PKTINFO`, RFC 3542).
///
/// # Errors
/// What `bind` says. Another process that has the port gives `AddrInUse`.
pub fn listen(address: SocketAddr, count: usize) -> io::Result<Vec<UdpSocket>> {
    let first = datagram_socket(address)?;
    // As for TCP, sharing begins after the first bind. SO_REUSEADDR would let any process of ours take datagrams away.
    first.bind(&address.into())?;
    first.set_reuse_port(true)?;
    let bound = first.local_addr()?.as_socket().unwrap_or(address);
    let mut sockets = vec![first];
    for _ in 1..count {
        let next = datagram_socket(address)?;
        next.set_reuse_port(true)?;
        next.bind(&bound.into())?;
        sockets.push(next);
    }
    for socket in &sockets {
        // Best effort: with smaller buffers it works too, and drops earlier.
        let _ = socket.set_recv_buffer_size(BUFFER);
        let _ = socket.set_send_buffer_size(BUFFER);
        // An old kernel hands each datagram over by itself.
        let _ = coalesce(socket);
        if address.ip().is_unspecified() {
            option::tell_destination(socket, address.is_ipv6())?;
        }
    }
    Ok(sockets.into_iter().map(Into::into).collect())
}

fn datagram_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// A socket that sends to `address` alone and hears it alone, from a port of its own. Sends nothing.
///
/// # Errors
/// What `socket` and `connect` say: out of descriptors or of ports, no route.
pub fn dial(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    socket.connect(&address.into())?;
    Ok(socket.into())
}

/// Whether the error says that nobody takes datagrams at the other end: ICMP said so, or there is no way there.
pub fn is_unreachable(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
}

/// Whether the error says that the datagram is larger than the way to the other end lets through.
pub fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}

#[cfg(test)]
mod tests;
