//! Many datagrams a call: `recvmmsg(2)` into a batch, `sendmmsg(2)` out of it.
//!
//! A batch is a row of slots. Receiving fills free slots; sending reads filled ones where they lie, so that nothing is
//! copied between. A slot holds one datagram, or several of one sender and of one length that the kernel coalesced
//! (`UDP_GRO`); these are sent the same way (`UDP_SEGMENT`), or one by one where the way out does not take them
//! together. The headers the kernel wants are built anew for each call, so nothing points into anything for longer.
#![allow(unsafe_code, reason = "recvmmsg, sendmmsg and their control messages")]

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::ptr;

use super::header::{Headers, read_control, read_name, write_message, write_room};

/// Slots of a batch.
pub const SLOTS: usize = 32;
/// Bytes of a slot: more than any datagram has, coalesced or not.
const SLOT: usize = 1 << 16;

/// [`SLOTS`] slots of 64 KiB. The 2 MiB are asked of the system with the first receive, and it gives the pages that
/// datagrams reach.
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
    /// The length of each of several datagrams (the last may be shorter); 0: there is but one.
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

impl Default for Batch {
    fn default() -> Self {
        Self { bytes: Vec::new(), slots: [Slot::EMPTY; SLOTS], filled: 0 }
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
        if self.bytes.is_empty() {
            self.bytes = vec![0; SLOTS * SLOT];
        }
        let mut headers = MaybeUninit::<Headers>::uninit();
        let headers = headers.as_mut_ptr();
        let start = self.bytes.as_mut_ptr();
        for n in 0..count {
            // SAFETY: `n` < SLOTS. The piece is the n-th free slot, inside `bytes`, which nobody else touches during
            // the call.
            unsafe { write_room(headers, n, start.add((self.filled + n) * SLOT), SLOT, connected) };
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
            let is_last = error.kind() == io::ErrorKind::WouldBlock || (connected && super::is_unreachable(&error));
            let last = if is_last {
                Some(error)
            } else if self.slots[slot].segment > 0 {
                self.send_one_by_one(descriptor, slot, connected, &mut unsent)
            } else {
                unsent(Unsent { slot, datagrams: 1, error });
                None
            };
            if let Some(last) = last {
                for slot in rest {
                    let error = io::Error::from(last.kind());
                    unsent(Unsent { slot: *slot, datagrams: self.slots[*slot].datagrams(), error });
                }
                return;
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
    /// Gives the error of a peer that is gone from a connected socket, which what was sent before has not reached either;
    /// the slot is not told then.
    fn send_one_by_one(
        &self,
        descriptor: RawFd,
        index: usize,
        connected: bool,
        unsent: &mut impl FnMut(Unsent),
    ) -> Option<io::Error> {
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
                let error = io::Error::last_os_error();
                if connected && super::is_unreachable(&error) {
                    return Some(error);
                }
                unsent(Unsent { slot: index, datagrams: 1, error });
            }
        }
        None
    }
}
