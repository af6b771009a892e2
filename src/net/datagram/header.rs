//! The headers of `recvmmsg` and `sendmmsg`: names, pieces and control messages (ip(7), ipv6(7), udp(7)).
#![allow(unsafe_code, reason = "the kernel's structures are made of pointers")]

use std::mem::zeroed;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::batch::{SLOTS, Slot};

/// Room for control messages: a destination address and a segment length, twice over.
const CONTROL: usize = 128;

#[repr(C, align(8))]
pub(super) struct Control([u8; CONTROL]);

/// The headers of one call, each slot's in its place.
pub(super) struct Headers {
    pub(super) names: [libc::sockaddr_storage; SLOTS],
    pub(super) pieces: [libc::iovec; SLOTS],
    pub(super) controls: [Control; SLOTS],
    pub(super) messages: [libc::mmsghdr; SLOTS],
}

/// Writes message `n` of a receive: `length` free bytes from `start`.
///
/// # Safety
/// `headers` is writable, `n` < SLOTS, and `start` leads to `length` writable bytes, which outlive the message's use.
pub(super) unsafe fn write_room(headers: *mut Headers, n: usize, start: *mut u8, length: usize, connected: bool) {
    // SAFETY: the caller vouches for the places; all that is written is plain data.
    unsafe {
        let piece = &raw mut (*headers).pieces[n];
        piece.write(libc::iovec { iov_base: start.cast(), iov_len: length });
        let mut header: libc::msghdr = zeroed();
        if !connected {
            header.msg_name = (&raw mut (*headers).names[n]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        }
        header.msg_iov = piece;
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut (*headers).controls[n]).cast();
        header.msg_controllen = CONTROL as _;
        (&raw mut (*headers).messages[n]).write(libc::mmsghdr { msg_hdr: header, msg_len: 0 });
    }
}

/// Writes message `n` of a send.
///
/// # Safety
/// `headers` is writable and `n` < SLOTS. The message points into `headers` and `bytes`, which must outlive its use.
pub(super) unsafe fn write_message(
    headers: *mut Headers,
    n: usize,
    bytes: &[u8],
    slot: &Slot,
    segment: u16,
    connected: bool,
) {
    // SAFETY: the caller vouches for the places; all that is written is plain data. Control messages are written into
    // zeroed room that is larger than both together.
    unsafe {
        let piece = &raw mut (*headers).pieces[n];
        piece.write(libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() });
        let mut header: libc::msghdr = zeroed();
        header.msg_iov = piece;
        header.msg_iovlen = 1;
        if !connected {
            let name = &raw mut (*headers).names[n];
            header.msg_namelen = write_name(name, &slot.peer);
            header.msg_name = name.cast();
        }
        let local = slot.local.filter(|_| !connected);
        if local.is_some() || segment > 0 {
            let control = &raw mut (*headers).controls[n];
            control.write(Control([0; CONTROL]));
            header.msg_control = control.cast();
            header.msg_controllen = CONTROL as _;
            let mut used = 0;
            let mut place = libc::CMSG_FIRSTHDR(&raw const header);
            match local {
                Some(IpAddr::V4(address)) => {
                    let mut info: libc::in_pktinfo = zeroed();
                    info.ipi_spec_dst.s_addr = u32::from(address).to_be();
                    used += write_control(place, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
                    place = libc::CMSG_NXTHDR(&raw const header, place);
                }
                Some(IpAddr::V6(address)) => {
                    let mut info: libc::in6_pktinfo = zeroed();
                    info.ipi6_addr.s6_addr = address.octets();
                    used += write_control(place, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
                    place = libc::CMSG_NXTHDR(&raw const header, place);
                }
                None => {}
            }
            if segment > 0 {
                used += write_control(place, libc::SOL_UDP, libc::UDP_SEGMENT, segment);
            }
            header.msg_controllen = used as _;
        }
        (&raw mut (*headers).messages[n]).write(libc::mmsghdr { msg_hdr: header, msg_len: 0 });
    }
}

/// Writes one control message and returns the room it takes.
///
/// # Safety
/// `place` is a header with room for a `T` behind it.
unsafe fn write_control<T: Copy>(place: *mut libc::cmsghdr, level: i32, kind: i32, value: T) -> usize {
    let length = size_of::<T>() as libc::c_uint;
    // SAFETY: the caller vouches for the room; the value's place may be unaligned for T.
    unsafe {
        (*place).cmsg_level = level;
        (*place).cmsg_type = kind;
        (*place).cmsg_len = libc::CMSG_LEN(length) as _;
        libc::CMSG_DATA(place).cast::<T>().write_unaligned(value);
        libc::CMSG_SPACE(length) as usize
    }
}

/// The address a datagram was sent to and the length of its segments, from what the kernel wrote.
///
/// # Safety
/// The header's control buffer is as the kernel left it.
pub(super) unsafe fn read_control(header: &libc::msghdr) -> (Option<IpAddr>, u16) {
    let (mut local, mut segment) = (None, 0);
    // SAFETY: CMSG_* walk within msg_controllen; each value is read unaligned, of the type that its kind has.
    unsafe {
        let mut place = libc::CMSG_FIRSTHDR(header);
        while !place.is_null() {
            let data = libc::CMSG_DATA(place);
            match ((*place).cmsg_level, (*place).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    // The address a reply should leave from, which for unicast is the one it was sent to.
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    local = Some(IpAddr::V4(u32::from_be(info.ipi_spec_dst.s_addr).into()));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    local = Some(IpAddr::V6(info.ipi6_addr.s6_addr.into()));
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    segment = u16::try_from(data.cast::<libc::c_int>().read_unaligned()).unwrap_or(0);
                }
                _ => {}
            }
            place = libc::CMSG_NXTHDR(header, place);
        }
    }
    (local, segment)
}

/// # Safety
/// `name` holds `length` bytes of what the kernel wrote.
pub(super) unsafe fn read_name(name: *const libc::sockaddr_storage, length: libc::socklen_t) -> Option<SocketAddr> {
    let length = length as usize;
    // SAFETY: each read is within `length`, and the storage is aligned for every address.
    unsafe {
        if length >= size_of::<libc::sockaddr_in6>() && (*name).ss_family == libc::AF_INET6 as libc::sa_family_t {
            let v6 = &*name.cast::<libc::sockaddr_in6>();
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            // Without the flow label, which may differ between datagrams of one client.
            return Some(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id).into());
        }
        if length >= size_of::<libc::sockaddr_in>() && (*name).ss_family == libc::AF_INET as libc::sa_family_t {
            let v4 = &*name.cast::<libc::sockaddr_in>();
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            return Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into());
        }
    }
    None
}

/// # Safety
/// `name` is writable.
unsafe fn write_name(name: *mut libc::sockaddr_storage, address: &SocketAddr) -> libc::socklen_t {
    // SAFETY: the storage is larger than either address and aligned for both.
    unsafe {
        match address {
            SocketAddr::V4(v4) => {
                let mut raw: libc::sockaddr_in = zeroed();
                raw.sin_family = libc::AF_INET as libc::sa_family_t;
                raw.sin_port = v4.port().to_be();
                raw.sin_addr.s_addr = u32::from(*v4.ip()).to_be();
                name.cast::<libc::sockaddr_in>().write(raw);
                size_of::<libc::sockaddr_in>() as libc::socklen_t
            }
            SocketAddr::V6(v6) => {
                let mut raw: libc::sockaddr_in6 = zeroed();
                raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                raw.sin6_port = v6.port().to_be();
                raw.sin6_addr.s6_addr = v6.ip().octets();
                raw.sin6_scope_id = v6.scope_id();
                name.cast::<libc::sockaddr_in6>().write(raw);
                size_of::<libc::sockaddr_in6>() as libc::socklen_t
            }
        }
    }
}
