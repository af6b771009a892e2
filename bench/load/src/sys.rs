//! The system calls std does not have: epoll, several datagrams at once, a socket bound to a source; and the page that
//! tells counts.

use std::io::{self, Read, Write};
use std::mem;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

/// Turns -1 into the error.
pub fn checked(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A set of descriptors, each with a number, told when readable.
pub struct Epoll(OwnedFd);

impl Epoll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer; the descriptor is fresh and ours.
        checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).map(|fd| Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub fn add(&self, fd: &impl AsRawFd, number: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: number };
        // SAFETY: `event` lives through the call.
        checked(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event) })?;
        Ok(())
    }

    /// Waits at most so many milliseconds and gives the numbers of those that are readable.
    pub fn wait<'e>(
        &self,
        events: &'e mut [libc::epoll_event],
        most: i32,
    ) -> io::Result<impl Iterator<Item = u64> + 'e> {
        // SAFETY: the pointer and length are those of `events`.
        let n = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), events.len() as i32, most) };
        numbers(events, n)
    }

    /// The same to the nanosecond, as far as the kernel's timers go.
    pub fn wait_exactly<'e>(
        &self,
        events: &'e mut [libc::epoll_event],
        most: Duration,
    ) -> io::Result<impl Iterator<Item = u64> + 'e> {
        let most = libc::timespec { tv_sec: most.as_secs() as i64, tv_nsec: i64::from(most.subsec_nanos()) };
        let (at, room) = (events.as_mut_ptr(), events.len() as i32);
        // SAFETY: the pointer and length are those of `events`; `most` lives through the call; no signal mask is given.
        let n = unsafe { libc::epoll_pwait2(self.0.as_raw_fd(), at, room, &raw const most, ptr::null()) };
        numbers(events, n)
    }
}

fn numbers(events: &[libc::epoll_event], result: i32) -> io::Result<impl Iterator<Item = u64>> {
    let n = match checked(result) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
        other => other?,
    };
    Ok(events[..n as usize].iter().map(|event| event.u64))
}

/// Asks that this thread runs as soon as it is woken, before others of its core. Whether it was granted: it needs
/// CAP_SYS_NICE.
pub fn be_punctual() -> bool {
    let first = libc::sched_param { sched_priority: 1 };
    // SAFETY: takes numbers and a pointer to a local.
    unsafe {
        // The shortest slack, should the real-time class be refused.
        libc::prctl(libc::PR_SET_TIMERSLACK, 1);
        libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const first) == 0
    }
}

/// Room for what epoll tells at once.
pub fn events() -> Vec<libc::epoll_event> {
    vec![libc::epoll_event { events: 0, u64: 0 }; 512]
}

/// A connection from this source address; std cannot choose one.
pub fn connect_from(source: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    // SAFETY: takes no pointer; the descriptor is fresh and ours.
    let stream = unsafe {
        let fd = checked(libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0))?;
        TcpStream::from_raw_fd(fd)
    };
    let fd = stream.as_raw_fd();
    let SocketAddr::V4(to) = to else { return Err(io::Error::other("IPv4 addresses only")) };
    let (source, to) = (raw(SocketAddrV4::new(source, 0)), raw(to));
    let length = mem::size_of::<libc::sockaddr_in>() as u32;
    let on = 1i32;
    // SAFETY: every pointer is to a local that outlives the call, with its own size.
    unsafe {
        let late = (&raw const on).cast();
        checked(libc::setsockopt(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, late, 4))?;
        checked(libc::bind(fd, (&raw const source).cast(), length))?;
        checked(libc::connect(fd, (&raw const to).cast(), length))?;
    }
    Ok(stream)
}

fn raw(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    }
}

/// A large queue for a datagram socket.
pub fn large_queue(fd: RawFd) {
    for option in [libc::SO_RCVBUF, libc::SO_SNDBUF] {
        let size = 4i32 << 20;
        // SAFETY: the pointer is to a local of that size. The kernel may give less.
        unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, option, (&raw const size).cast(), 4) };
    }
}

/// The most datagrams of one call.
pub const BATCH: usize = 64;
/// Room for one datagram.
const ROOM: usize = 2048;

/// Room for a batch of datagrams and where they came from. It points into itself, so it stays in its boxes.
pub struct Batch {
    headers: Box<[libc::mmsghdr]>,
    room: Box<[[u8; ROOM]]>,
    _pieces: Box<[libc::iovec]>,
    _names: Box<[libc::sockaddr_storage]>,
}

impl Batch {
    /// With the addresses of the senders, or without on a connected socket.
    pub fn new(with_names: bool) -> Self {
        // SAFETY: all zeros is a valid value of these plain C structures.
        let zero = unsafe { (mem::zeroed::<libc::mmsghdr>(), mem::zeroed::<libc::sockaddr_storage>()) };
        let mut room = vec![[0u8; ROOM]; BATCH].into_boxed_slice();
        let mut names = vec![zero.1; BATCH].into_boxed_slice();
        let piece = |room: &mut [u8; ROOM]| libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: ROOM };
        let mut pieces: Box<[libc::iovec]> = room.iter_mut().map(piece).collect();
        let mut headers = vec![zero.0; BATCH].into_boxed_slice();
        for ((header, piece), name) in headers.iter_mut().zip(&mut pieces).zip(&mut names) {
            header.msg_hdr.msg_iov = piece;
            header.msg_hdr.msg_iovlen = 1;
            if with_names {
                header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            }
        }
        Self { headers, room, _pieces: pieces, _names: names }
    }

    /// Receives what is there, waiting for the first if the socket blocks. Gives how many.
    pub fn receive(&mut self, fd: RawFd) -> io::Result<usize> {
        for header in &mut self.headers {
            // SAFETY: the piece is in a box of ours, and nobody else looks at it now.
            unsafe { (*header.msg_hdr.msg_iov).iov_len = ROOM };
            if !header.msg_hdr.msg_name.is_null() {
                header.msg_hdr.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as u32;
            }
        }
        let flags = libc::MSG_WAITFORONE;
        // SAFETY: the headers point into boxes of this batch, each with its true length.
        let n = unsafe { libc::recvmmsg(fd, self.headers.as_mut_ptr(), BATCH as u32, flags, ptr::null_mut()) };
        let n = checked(n)? as usize;
        for header in &mut self.headers[..n] {
            // What is sent back is as long as what came.
            // SAFETY: as above.
            unsafe { (*header.msg_hdr.msg_iov).iov_len = header.msg_len as usize };
        }
        Ok(n)
    }

    /// Datagram `index` of those received.
    pub fn get(&self, index: usize) -> &[u8] {
        &self.room[index][..self.headers[index].msg_len as usize]
    }

    /// Sends the first `count` that were received back to where they came from; gives how many went.
    pub fn send_back(&mut self, fd: RawFd, count: usize) -> io::Result<usize> {
        // SAFETY: as in `receive`.
        checked(unsafe { libc::sendmmsg(fd, self.headers.as_mut_ptr(), count as u32, 0) }).map(|n| n as usize)
    }
}

/// Counts of an echo server.
#[derive(Default)]
pub struct Counts {
    pub accepted: AtomicU64,
    pub echoed: AtomicU64,
}

/// Answers every HTTP request at `at` with the counts, in the words of nginx's stub_status, on a thread of its own.
pub fn tell_counts(at: SocketAddr, counts: &'static Counts) -> io::Result<()> {
    let listener = TcpListener::bind(at)?;
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
            let _ = stream.read(&mut [0; 4096]);
            let (accepted, echoed) = (counts.accepted.load(Relaxed), counts.echoed.load(Relaxed));
            let body = format!("server accepts handled requests\n {accepted} {accepted} {echoed} \n");
            let length = body.len();
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        }
    });
    Ok(())
}
