//! TCP sockets with the options an edge wants, to listen and to dial; what their errors say of the peer; how many
//! descriptors there may be. Those of UDP are in `datagram`.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Connections the kernel completes ahead of accept, per socket; it cuts this to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// A silent peer is asked after this long …
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// … then this often …
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
/// … and given up after so many questions without an answer.
const KEEPALIVE_TRIES: u32 = 3;

/// Opens `count` listening sockets on one address, for one thread each; the kernel spreads connections over them
/// (`SO_REUSEPORT`). Port 0 lets the kernel choose one port for all. IPv6 sockets take IPv6 alone.
///
/// Accepted connections inherit keepalive and `TCP_NODELAY`, so they cost no calls of their own.
///
/// # Errors
/// What `bind` and `listen` say. Another process that listens there gives `AddrInUse`, even one that would share.
pub fn listen(address: SocketAddr, count: usize) -> io::Result<Vec<std::net::TcpListener>> {
    let first = stream_socket(address)?;
    first.set_reuse_address(true)?;
    // Sharing is allowed only after the first bind: with it before, a second process of the same user would get half
    // of our connections instead of an error.
    first.bind(&address.into())?;
    first.set_reuse_port(true)?;
    let bound = first.local_addr()?.as_socket().unwrap_or(address);
    let mut sockets = vec![first];
    for _ in 1..count {
        let next = stream_socket(address)?;
        next.set_reuse_address(true)?;
        next.set_reuse_port(true)?;
        next.bind(&bound.into())?;
        sockets.push(next);
    }
    for socket in &sockets {
        socket.listen(BACKLOG)?;
    }
    Ok(sockets.into_iter().map(Into::into).collect())
}

fn stream_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&keepalive())?;
    Ok(socket)
}

fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_EVERY).with_retries(KEEPALIVE_TRIES)
}

/// Opens a connection within `timeout`, without Nagle's delay; for checks, which need no keepalive. Data threads have
/// [`dial`](super::dial::dial).
///
/// # Errors
/// What `connect` says; `TimedOut` when the time is over.
pub async fn dial(address: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let stream = match tokio::time::timeout(timeout, TcpStream::connect(address)).await {
        Ok(connected) => connected?,
        Err(_) => return Err(too_late(timeout)),
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Nobody answered in time.
pub(super) fn too_late(timeout: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {timeout:?}"))
}

/// Has the kernel ask now and then whether the peer of a silent connection is still there. Four system calls, which a
/// short connection is spared; accepted ones inherit it.
pub fn keep_alive(stream: &TcpStream) {
    // Where the kernel refuses, the idle time ends it.
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive());
}

/// What a failed connect says of its peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unreached {
    /// Nobody answered: the machine may be off.
    Silent,
    /// A machine that is there did not want it.
    Refused,
    /// It is not to be reached from here: no route, or a rule of this host against it.
    NoWay,
    /// Nothing: this process or host lacks descriptors, ports or memory.
    Ours,
}

impl Unreached {
    /// What this error of [`dial`] says.
    pub fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable => Self::Silent,
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Self::Refused,
            io::ErrorKind::AddrNotAvailable => Self::Ours,
            _ if is_exhausted(error) => Self::Ours,
            _ => Self::NoWay,
        }
    }
}

/// Words for a failed connect, for the log and for whoever asks why a backend is down.
pub fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused: nothing listens there".into(),
        io::ErrorKind::HostUnreachable => "unreachable: no route to the host, or it is off".into(),
        io::ErrorKind::NetworkUnreachable => "unreachable: this host has no route to that network".into(),
        _ => error.to_string(),
    }
}

/// Makes the coming close a reset, so that the peer cannot take a stream that broke off for one that ended.
pub fn abort_on_close(stream: &impl AsFd) {
    // A socket that is already dead needs no reset.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// The most that waits in the kernel for a peer to make room, in bytes, beside what is on its way. Measured on
/// loopback and Ethernet, with the pipes as they are: four times as much saves a stream no CPU time.
const UNSENT: u32 = 256 * 1024;

/// Lets a socket take only so much more than it can send, so that a slow reader costs a bounded amount of the kernel's
/// memory (`TCP_NOTSENT_LOWAT`). One system call.
pub fn bound_unsent(stream: &impl AsFd) {
    // Where the kernel refuses, its own bound (`tcp_wmem`) holds.
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
}

/// What became of a peer that is not being read from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Presence {
    /// It is there.
    There,
    /// It sends nothing more; it may still take what we send.
    HalfClosed,
    /// The connection is dead.
    Gone,
}

/// Asks the kernel what became of the peer, without reading. Does not block.
pub fn presence(stream: &impl AsFd) -> Presence {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut asked = [PollFd::new(stream, PollFlags::RDHUP)];
    let at_once = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut asked, Some(&at_once)) {
        Ok(0) | Err(_) => Presence::There,
        Ok(_) if asked[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) => Presence::Gone,
        Ok(_) => Presence::HalfClosed,
    }
}

/// Waits until the connection is dead: a peer that reset it, or that answers nothing any more. One that sends nothing
/// more may still take an answer, and is there. Costs no call while it waits.
pub async fn gone(stream: &TcpStream) {
    while stream.ready(Interest::ERROR).await.is_ok() {
        let look = || match presence(stream) {
            Presence::Gone => Ok(()),
            Presence::There | Presence::HalfClosed => Err(io::ErrorKind::WouldBlock.into()),
        };
        if stream.try_io(Interest::ERROR, look).is_ok() {
            return;
        }
    }
}

/// Whether the error is the peer's own going away, which is no fault of anyone here.
pub fn is_peer_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected
            | io::ErrorKind::UnexpectedEof
    )
}

/// Whether accept failed for want of descriptors or memory, which time may heal.
pub fn is_exhausted(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        .iter()
        .any(|e| error.raw_os_error() == Some(e.raw_os_error()))
}

/// How many descriptors this process may have open.
pub fn descriptors() -> usize {
    use rustix::process::{Resource, getrlimit};
    getrlimit(Resource::Nofile).current.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An address whose accept queue is full, so that connects to it stay without an answer; and what holds it so.
    pub(in crate::net) async fn full_queue() -> (SocketAddr, (Socket, TcpStream)) {
        let socket = stream_socket("127.0.0.1:0".parse().unwrap()).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let first = dial(address, Duration::from_secs(1)).await.unwrap();
        (address, (socket, first))
    }

    #[test]
    fn sockets_share_one_port_among_themselves_and_with_nobody_else() {
        let ours = listen("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let address = ours[0].local_addr().unwrap();
        assert!(ours.iter().all(|s| s.local_addr().unwrap() == address));
        let taken = listen(address, 1).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        drop(ours);
        listen(address, 2).unwrap();
    }

    #[tokio::test]
    async fn every_socket_of_a_port_gets_connections() {
        let sockets = listen("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let address = sockets[0].local_addr().unwrap();
        let mut held = Vec::new();
        for _ in 0..64 {
            held.push(dial(address, Duration::from_secs(1)).await.unwrap());
        }
        for socket in sockets {
            socket.accept().unwrap();
        }
    }

    #[tokio::test]
    async fn a_peer_is_seen_to_leave_without_reading() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut peer = dial(address, Duration::from_secs(1)).await.unwrap();
        let (ours, _) = listener.accept().await.unwrap();
        assert_eq!(presence(&ours), Presence::There);
        tokio::io::AsyncWriteExt::write_all(&mut peer, b"unread").await.unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut peer).await.unwrap();
        let until = |wanted| {
            let ours = &ours;
            async move {
                while presence(ours) != wanted {
                    tokio::task::yield_now().await;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(5), until(Presence::HalfClosed)).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(20), gone(&ours)).await.is_err(), "it may still listen");
        abort_on_close(&peer);
        drop(peer);
        tokio::time::timeout(Duration::from_secs(5), gone(&ours)).await.unwrap();
        tokio::time::timeout(Duration::from_secs(5), until(Presence::Gone)).await.unwrap();
    }

    #[tokio::test]
    async fn a_dial_ends_in_time() {
        // The kernel drops further handshakes, so the dial waits.
        let (address, _held) = full_queue().await;
        let error = dial(address, Duration::from_millis(200)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
