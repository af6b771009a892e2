//! Socket to pipe and pipe to socket, without a copy through user space (splice(2)).
//!
//! Theory: `EAGAIN` from a splice into a pipe cannot tell an empty socket from a full pipe, so bytes go in while the pipe
//! is empty and out while it is not. Going in, a splice that finds nothing still does not say why: it stops before urgent
//! data as it does at the end of a stream, with `EAGAIN` or 0 bytes, whatever lies behind (RFC 6093). So it is a read
//! that says: it passes urgent data over, knows the end, and is what clears the socket's readiness. A splice out that
//! takes less than the pipe holds has met a full socket, which saves the call that would say so.

use std::io;
use std::task::{Context, Poll, ready};

use rustix::pipe::{SpliceFlags, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::pipe::Pipe;

const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);

/// Fills an empty pipe from the socket with at most `most` bytes. 0: none that can be spliced; a read tells whether
/// there is something else, an end or nothing. Pending: nothing is there, and the task is woken when something is.
///
/// # Errors
/// What `splice` says; `InvalidInput` where the kernel cannot splice this socket.
pub(super) fn poll_in(
    cx: &mut Context<'_>,
    source: &TcpStream,
    pipe: &mut Pipe,
    most: usize,
) -> Poll<io::Result<usize>> {
    debug_assert_eq!(pipe.held(), 0, "into an empty pipe alone");
    ready!(source.poll_read_ready(cx))?;
    let most = most.min(pipe.room());
    let into = pipe.ends().ok_or(io::ErrorKind::BrokenPipe)?.1;
    // Not by the runtime, which would take `EAGAIN` for an empty socket.
    match splice(source, None, into, None, most, FLAGS).map_err(io::Error::from) {
        Ok(bytes) => {
            pipe.filled(bytes);
            Poll::Ready(Ok(bytes))
        }
        Err(error) if is_passing(&error) => Poll::Ready(Ok(0)),
        Err(error) => Poll::Ready(Err(error)),
    }
}

/// Sends what is in the pipe to the socket, as much as it takes: how much it was. Pending: it takes nothing now.
///
/// # Errors
/// What `splice` says; `BrokenPipe` when the peer takes nothing more.
pub(super) fn poll_out(cx: &mut Context<'_>, pipe: &mut Pipe, sink: &TcpStream) -> Poll<io::Result<usize>> {
    debug_assert_ne!(pipe.held(), 0, "out of a filled pipe alone");
    loop {
        ready!(sink.poll_write_ready(cx))?;
        let (held, from) = (pipe.held(), pipe.ends().ok_or(io::ErrorKind::BrokenPipe)?.0);
        let mut taken = 0;
        let sent = sink.try_io(Interest::WRITABLE, || {
            taken = splice(from, None, sink, None, held, FLAGS)?;
            // Less than it was offered: full.
            if taken < held { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        pipe.drained(taken);
        match sent {
            _ if taken > 0 => return Poll::Ready(Ok(taken)),
            Ok(()) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Err(error) if is_passing(&error) => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}

/// Not ready, which is waited for, or interrupted, which is tried again.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests;
