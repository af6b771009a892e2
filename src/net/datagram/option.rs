//! Socket options of UDP that the safe crates do not name.
#![allow(unsafe_code, reason = "setsockopt")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Lets the kernel hand over datagrams of one sender that came together as one piece with the length of each
/// (`UDP_GRO`, udp(7)).
///
/// # Errors
/// On kernels before 5.0.
pub fn coalesce(socket: &impl AsFd) -> io::Result<()> {
    set(socket, libc::SOL_UDP, libc::UDP_GRO)
}

/// Makes the kernel tell which of our addresses each datagram was sent to.
pub(super) fn tell_destination(socket: &impl AsFd, ipv6: bool) -> io::Result<()> {
    if ipv6 {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
    } else {
        set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO)
    }
}

fn set(socket: &impl AsFd, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open while it is borrowed, and the kernel reads `length` bytes of `on`, which lives.
    let done = unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, option, (&raw const on).cast(), length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
