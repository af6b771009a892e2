//! The first bytes of a connection: looked at without taking them, taken to the byte, or sent before anything else.
//!
//! Looking leaves the bytes in the kernel, so a client that waits costs no memory here and the connection stays bare for
//! whoever serves it. Each arrival of more bytes wakes once: a look that does not suffice says so to tokio as if nothing
//! had come, and the next arrival, or the end, wakes again.

use std::io;

use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// The most bytes that are looked at.
pub const MOST: usize = 4096;

/// Shows the first bytes to `judge` as they come, until it gives something. `None` when the stream ended, or [`MOST`]
/// bytes have come, and still it gives nothing. Nothing is taken. Waits for as long as the peer does: bound it.
///
/// # Errors
/// What `recv` says.
pub async fn look<T>(stream: &TcpStream, mut judge: impl FnMut(&[u8]) -> Option<T>) -> io::Result<Option<T>> {
    loop {
        // An end that is known now came behind all bytes, so the look sees the last of them.
        let has_ended = stream.ready(Interest::READABLE).await?.is_read_closed();
        let looked = stream.try_io(Interest::READABLE, || {
            let mut bytes = [0; MOST];
            let (count, _) = recv(stream, &mut bytes, RecvFlags::PEEK)?;
            match judge(&bytes[..count]) {
                None if !has_ended && count > 0 && count < MOST => Err(io::ErrorKind::WouldBlock.into()),
                judged => Ok(judged),
            }
        });
        match looked {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}

/// Takes bytes that were looked at off the stream, at most [`MOST`]. Does not wait.
///
/// # Errors
/// What `recv` says, and `UnexpectedEof` when there are fewer.
pub fn take(stream: &TcpStream, count: usize) -> io::Result<()> {
    let mut bytes = [0; MOST];
    let wanted = bytes.get_mut(..count).ok_or(io::ErrorKind::InvalidInput)?;
    let (taken, _) = stream.try_io(Interest::READABLE, || Ok(recv(stream, wanted, RecvFlags::empty())?))?;
    if taken < count { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// Sends bytes in one write, as the first on a fresh connection, whose send buffer is empty. `more`: they are to leave
/// together with what is written next. Does not wait.
///
/// # Errors
/// What `send` says, and `WriteZero` when not all of it was taken.
pub fn put(stream: &TcpStream, bytes: &[u8], more: bool) -> io::Result<()> {
    let flags = if more { SendFlags::NOSIGNAL | SendFlags::MORE } else { SendFlags::NOSIGNAL };
    let sent = stream.try_io(Interest::WRITABLE, || Ok(send(stream, bytes, flags)?))?;
    if sent < bytes.len() { Err(io::ErrorKind::WriteZero.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (theirs, _) = listener.accept().await.unwrap();
        theirs.set_nodelay(true).unwrap();
        (ours, theirs)
    }

    #[tokio::test]
    async fn a_drip_wakes_once_a_drop_and_nothing_is_taken() {
        let (mut ours, mut theirs) = pair().await;
        let mut looks = 0;
        let drip = async {
            for byte in b"header" {
                theirs.write_all(&[*byte]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let judge = |bytes: &[u8]| {
            looks += 1;
            (bytes.len() >= 6).then(|| bytes.to_vec())
        };
        let (found, ()) = tokio::join!(look(&ours, judge), drip);
        assert_eq!(found.unwrap().unwrap(), b"header");
        assert!(looks <= 6, "looked {looks} times: it spins");
        theirs.write_all(b"rest").await.unwrap();
        take(&ours, 6).unwrap();
        let mut rest = [0; 4];
        ours.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"rest");
    }

    #[tokio::test]
    async fn an_end_and_a_flood_are_told_at_once() {
        let never = |_: &[u8]| None::<()>;
        let soon = Duration::from_secs(5);
        let (ours, mut theirs) = pair().await;
        theirs.write_all(b"half").await.unwrap();
        theirs.shutdown().await.unwrap();
        assert_eq!(tokio::time::timeout(soon, look(&ours, never)).await.unwrap().unwrap(), None);
        let (ours, mut theirs) = pair().await;
        theirs.write_all(&[0; MOST + 1]).await.unwrap();
        assert_eq!(tokio::time::timeout(soon, look(&ours, never)).await.unwrap().unwrap(), None);
        assert!(take(&ours, MOST + 1).is_err());
        let (ours, _theirs) = pair().await;
        assert!(take(&ours, 1).is_err(), "nothing there, and not waited for");
    }
}
