//! Many datagrams a call: `recvmmsg(2)` into a batch, `sendmmsg(2)` out of it.
//!
//! A batch is a row of slots. Receiving fills free slots; sending reads filled ones where they lie, so that nothing is
//! copied between. A slot holds one datagram, or several of one sender and of one length that the kernel coalesced
//! (`UDP_GRO`); these are sent the same way (`UDP_SEGMENT`), or one by one where the way out does not take them
//! together. The headers the kernel wants are built anew for each call, so nothing points into anything for longer.
#![allow(unsafe_code, reason = "recvmmsg, sendmmsg and their control messages")]

use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::ptr;

/// Slots of a batch.
pub const SLOTS: usize = 32;
/// Bytes of a slot: more than any datagram has, coalesced or not.
const SLOT: usize = 1 << 16;
/// Room for control messages: a destination address and a segment length, twice over.
const CONTROL: usize = 128;

/// Datagrams in memory. Its 2 MiB are touched as far as datagrams reach.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    slots: [Slot; SLOTS],
    filled: usize,
}

/// What is known of one slot.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// Bytes in it.
    pub length: usize,
    /// The length of each datagram of several (the last may be shorter); 0: it is one.
    pub segment: u16,
    /// Who sent it, then where it goes. Looked at by sockets that are not connected.
    pub peer: SocketAddr,
    /// Our address: the one it was sent to, then the one it is sent from. `None`: the socket has but one.
    pub local: Option<IpAddr>,
}

impl Slot {
    const EMPTY: Self =
        Self { length: 0, segment: 0, peer: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0), local: None };

    /// How many datagrams it holds.
    pub fn datagrams(&self) -> u64 {
        if self.segment == 0 { 1 } else { self.length.div_ceil(usize::from(self.segment)).max(1) as u64 }
    }
}

/// Datagrams that were not sent, and why.
#[derive(Debug)]
pub struct Unsent {
    /// The slot they are in.
    pub slot: usize,
    /// How many.
    pub datagrams: u64,
    /// What the system said.
    pub error: io::Error,
}

#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// The headers of one call, each slot's in its place.
struct Headers {
    names: [libc::sockaddr_storage; SLOTS],
    pieces: [libc::iovec; SLOTS],
    controls: [Control; SLOTS],
    messages: [libc::mmsghdr; SLOTS],
}

impl Default for Batch {
    fn default() -> Self {
        Self { bytes: vec![0; SLOTS * SLOT], slots: [Slot::EMPTY; SLOTS], filled: 0 }
    }
}

impl Batch {
    /// How many slots are filled.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// How many more slots can be filled.
    pub fn free(&self) -> usize {
        SLOTS - self.filled
    }

    /// Empties every slot.
    pub fn clear(&mut self) {
        self.filled = 0;
    }

    /// What is known of a filled slot.
    pub fn slot(&self, index: usize) -> &Slot {
        &self.slots[index]
    }

    /// The bytes of a filled slot.
    pub fn bytes(&self, index: usize) -> &[u8] {
        &self.bytes[index * SLOT..index * SLOT + self.slots[index].length]
    }

    /// Says where a filled slot goes, and from which of our addresses.
    pub fn direct(&mut self, index: usize, peer: SocketAddr, local: Option<IpAddr>) {
        let slot = &mut self.slots[index];
        (slot.peer, slot.local) = (peer, local);
    }

    /// Takes a filled slot for several datagrams of this length.
    #[cfg(test)]
    pub(super) fn cut(&mut self, index: usize, segment: u16) {
        self.slots[index].segment = segment;
    }

    /// Fills up to `most` free slots with what the socket has, and returns how many. Fewer than asked: the socket was
    /// empty. `connected`: the sender is known and not asked for. Does not block.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing; what ICMP said of datagrams sent before.
    pub fn receive(&mut self, socket: &impl AsFd, most: usize, connected: bool) -> io::Result<usize> {
        let count = most.min(self.free());
        if count == 0 {
            return Ok(0);
        }
        let mut headers = MaybeUninit::<Headers>::uninit();
        let headers = headers.as_mut_ptr();
        let start = self.bytes.as_mut_ptr();
        for n in 0..count {
            // SAFETY: `n` < SLOTS, so each place is inside its array; what is written is plain data. The piece is the
            // n-th free slot, inside `bytes`, which nobody else touches during the call.
            unsafe {
                let piece = &raw mut (*headers).pieces[n];
                piece.write(libc::iovec { iov_base: start.add((self.filled + n) * SLOT).cast(), iov_len: SLOT });
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
        // SAFETY: the first `count` messages are written and point to memory of the lengths they say, which lives
        // until the call is over.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_fd().as_raw_fd(),
                (&raw mut (*headers).messages).cast(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        for n in 0..received {
            // SAFETY: message `n` was written above and by the kernel; names are read as far as the kernel wrote them.
            let slot = unsafe {
                let message = &(*headers).messages[n];
                let (local, segment) = read_control(&message.msg_hdr);
                let name = &raw const (*headers).names[n];
                let peer = if connected { None } else { read_name(name, message.msg_hdr.msg_namelen) };
                Slot {
                    length: (message.msg_len as usize).min(SLOT),
                    segment,
                    peer: peer.unwrap_or(Slot::EMPTY.peer),
                    local,
                }
            };
            self.slots[self.filled] = slot;
            self.filled += 1;
        }
        Ok(received)
    }

    /// Sends these filled slots, in order, to where they were directed, or to the peer of a connected socket. What
    /// cannot be sent is told to `unsent` and left out; when the socket takes no more for now (`WouldBlock`) or the
    /// peer is gone from a connected one, that goes for all the rest. Does not block.
    ///
    /// # Panics
    /// When a slot is not filled.
    pub fn send(&self, socket: &impl AsFd, slots: &[usize], connected: bool, mut unsent: impl FnMut(Unsent)) {
        let descriptor = socket.as_fd().as_raw_fd();
        let mut rest = slots;
        while !rest.is_empty() {
            let sent = match rest {
                // The usual case of many flows: without headers for the kernel to read.
                [slot] if connected && self.slots[*slot].segment == 0 => self.send_one(descriptor, *slot),
                _ => self.send_some(descriptor, rest, connected),
            };
            let error = match sent {
                Ok(sent) => {
                    rest = &rest[sent.clamp(1, rest.len())..];
                    continue;
                }
                Err(error) => error,
            };
            let slot = rest[0];
            if error.kind() == io::ErrorKind::WouldBlock || (connected && super::is_unreachable(&error)) {
                for slot in rest {
                    let error = io::Error::from(error.kind());
                    unsent(Unsent { slot: *slot, datagrams: self.slots[*slot].datagrams(), error });
                }
                return;
            }
            if self.slots[slot].segment > 0 {
                self.send_one_by_one(descriptor, slot, connected, &mut unsent);
            } else {
                unsent(Unsent { slot, datagrams: 1, error });
            }
            rest = &rest[1..];
        }
    }

    /// One `send` on a connected socket.
    fn send_one(&self, descriptor: RawFd, index: usize) -> io::Result<usize> {
        let bytes = self.bytes(index);
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: the kernel reads `bytes`, which live until the call is over.
        let sent = unsafe { libc::send(descriptor, bytes.as_ptr().cast(), bytes.len(), flags) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(1) }
    }

    /// One `sendmmsg`. The kernel tells of an error only when the first one fails; the next call meets it.
    fn send_some(&self, descriptor: RawFd, slots: &[usize], connected: bool) -> io::Result<usize> {
        let mut headers = MaybeUninit::<Headers>::uninit();
        let headers = headers.as_mut_ptr();
        let count = slots.len().min(SLOTS);
        for (n, index) in slots.iter().take(count).enumerate() {
            let slot = &self.slots[*index];
            let bytes = self.bytes(*index);
            // SAFETY: `n` < SLOTS, so each place is inside its array; what is written is plain data.
            unsafe { write_message(headers, n, bytes, slot, slot.segment, connected) };
        }
        // SAFETY: the first `count` messages are written and point to memory that lives until the call is over; the
        // kernel only reads the payload.
        let sent = unsafe {
            let messages = (&raw mut (*headers).messages).cast();
            libc::sendmmsg(descriptor, messages, count as libc::c_uint, (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _)
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// For a way out that does not take several at once: too short for their length, or without checksums in hardware.
    fn send_one_by_one(&self, descriptor: RawFd, index: usize, connected: bool, unsent: &mut impl FnMut(Unsent)) {
        let slot = &self.slots[index];
        for bytes in self.bytes(index).chunks(usize::from(slot.segment).max(1)) {
            let mut headers = MaybeUninit::<Headers>::uninit();
            let headers = headers.as_mut_ptr();
            // SAFETY: as in `send_some`, of one message.
            let sent = unsafe {
                write_message(headers, 0, bytes, slot, 0, connected);
                let flags = (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _;
                libc::sendmmsg(descriptor, (&raw mut (*headers).messages).cast(), 1, flags)
            };
            if sent < 0 {
                unsent(Unsent { slot: index, datagrams: 1, error: io::Error::last_os_error() });
            }
        }
    }
}

/// Writes message `n` of a send.
///
/// # Safety
/// `headers` is writable and `n` < SLOTS. The message points into `headers` and `bytes`, which must outlive its use.
unsafe fn write_message(headers: *mut Headers, n: usize, bytes: &[u8], slot: &Slot, segment: u16, connected: bool) {
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
unsafe fn read_control(header: &libc::msghdr) -> (Option<IpAddr>, u16) {
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
unsafe fn read_name(name: *const libc::sockaddr_storage, length: libc::socklen_t) -> Option<SocketAddr> {
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
