//! What a stream still holds for its peer.
#![allow(unsafe_code, reason = "ioctl")]

use std::os::fd::{AsFd, AsRawFd};

/// Bytes that were written and that the peer has not acknowledged (`SIOCOUTQ`, tcp(7)); `None` where the kernel does not
/// say. Does not block.
///
/// A socket with a large buffer takes nothing more for a long while although its peer reads: this shows that it does.
pub fn unacknowledged(socket: &impl AsFd) -> Option<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open while it is borrowed, and the kernel writes one `c_int`, which lives.
    let done = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if done == 0 { usize::try_from(bytes).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn what_a_peer_takes_is_no_longer_held() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut ours, _) = listener.accept().await.unwrap();
        assert_eq!(unacknowledged(&ours), Some(0));
        // More than the peer's window takes unread.
        let bytes = vec![0; 64 * 1024 * 1024];
        let written = tokio::time::timeout(std::time::Duration::from_millis(300), ours.write_all(&bytes)).await;
        assert!(written.is_err(), "it takes only so much");
        let held = unacknowledged(&ours).unwrap();
        assert!(held > 0);
        let reading = async {
            let mut into = vec![0; 1024 * 1024];
            while unacknowledged(&ours).unwrap() > 0 {
                assert!(peer.read(&mut into).await.unwrap() > 0);
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), reading).await.unwrap();
    }
}
