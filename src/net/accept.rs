//! A listening socket of one thread, which gives connections that nobody watches yet.
//!
//! tokio's own listener has the runtime watch every connection as it is accepted. For one that carries a single request,
//! which mostly is there already, watching and letting go again are two of its dozen system calls; see [`Late`].
#![allow(unsafe_code, reason = "the runtime asks for a promise that the descriptor stays open")]

use std::io;
use std::net::SocketAddr;
use std::net::{TcpListener, TcpStream};

use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::late::Late;

/// A socket that connections are accepted from.
#[derive(Debug)]
pub struct Listening(AsyncFd<TcpListener>);

impl Listening {
    /// Watches a listening socket, which does not block.
    ///
    /// # Errors
    /// The runtime cannot watch it: what `epoll_ctl` says.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(socket: TcpListener) -> io::Result<Self> {
        // SAFETY: the descriptor is open, always the same one, and owned by what is made here until that is dropped.
        let watched =
            unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }.map_err(io::Error::from)?;
        Ok(Self(watched))
    }

    /// The next connection, which does not block, and its peer. It inherits the options of this socket. Dropped while it
    /// waits, it has taken none.
    ///
    /// # Errors
    /// What `accept4` says: the client went away, or descriptors or memory lack.
    pub async fn accept(&self) -> io::Result<(Late, SocketAddr)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let accept = |socket: &TcpListener| Ok(acceptfrom_with(socket, flags)?);
        let (socket, peer) = self.0.async_io(Interest::READABLE, accept).await?;
        let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok()).ok_or(io::ErrorKind::NotConnected)?;
        Ok((Late::from(TcpStream::from(socket)), peer))
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What `getsockname` says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().local_addr()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::net::socket;

    #[tokio::test]
    async fn connections_come_one_after_another_and_speak_both_ways() {
        let socket = socket::listen("[::1]:0".parse().unwrap(), 1).unwrap().remove(0);
        let listening = Listening::new(socket).unwrap();
        for _ in 0..3 {
            let connecting = tokio::net::TcpStream::connect(listening.local_addr().unwrap());
            let (client, accepted) = tokio::join!(connecting, listening.accept());
            let (mut client, (mut ours, peer)) = (client.unwrap(), accepted.unwrap());
            assert_eq!(peer, client.local_addr().unwrap());
            client.write_all(b"ping").await.unwrap();
            let mut read = [0; 4];
            ours.read_exact(&mut read).await.unwrap();
            ours.write_all(&read).await.unwrap();
            client.read_exact(&mut read).await.unwrap();
            assert_eq!(&read, b"ping");
        }
    }
}
