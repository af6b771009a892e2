//! Bytes through user space: the thread's one shared buffer, and what a sink did not take of it.
//!
//! A connection at rest holds no buffer. A short read is taken as drained (tokio clears the readiness of its sockets
//! then), so a message costs one read and one write and no call that finds nothing.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The shared buffer, in bytes: one read from a socket at full speed. What a slow sink makes us keep is never more.
pub(super) const BUFFER: usize = 64 * 1024;

thread_local! {
    static SHARED: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into());
}

/// The side that failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// Reading failed.
    Source(io::Error),
    /// Writing failed.
    Sink(io::Error),
}

/// What was read and not yet written.
#[derive(Debug)]
pub(super) struct Left {
    bytes: Vec<u8>,
    written: usize,
}

impl Left {
    /// Bytes to be written; `None` when there are none.
    pub(super) fn of(bytes: Vec<u8>) -> Option<Self> {
        (!bytes.is_empty()).then_some(Self { bytes, written: 0 })
    }

    /// Writes what can be written and adds it to `moved`. Ready when all was.
    pub(super) fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
        moved: &mut u64,
    ) -> Poll<io::Result<()>> {
        while let Some(bytes @ [_, ..]) = self.bytes.get(self.written..) {
            let taken = ready!(poll_write(cx, sink, bytes))?;
            self.written += taken;
            *moved += taken as u64;
        }
        Poll::Ready(Ok(()))
    }
}

/// What one copy did.
#[derive(Debug)]
pub(super) enum Copied {
    /// The source has sent all.
    Ended,
    /// So many bytes were read; some may be left.
    Read(usize, Option<Left>),
}

/// Reads at most `most` bytes, once, and writes them; adds what was written to `moved`. Pending: nothing was there.
pub(super) fn poll_copy<R, W>(
    cx: &mut Context<'_>,
    source: &mut R,
    sink: &mut W,
    most: usize,
    moved: &mut u64,
) -> Poll<Result<Copied, Fault>>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    SHARED.with_borrow_mut(|buffer| {
        let most = most.clamp(1, buffer.len());
        let mut read = ReadBuf::new(&mut buffer[..most]);
        ready!(Pin::new(source).poll_read(cx, &mut read)).map_err(Fault::Source)?;
        let mut bytes: &[u8] = read.filled();
        let count = bytes.len();
        if count == 0 {
            return Poll::Ready(Ok(Copied::Ended));
        }
        while !bytes.is_empty() {
            match poll_write(cx, sink, bytes) {
                Poll::Ready(taken) => {
                    let taken = taken.map_err(Fault::Sink)?;
                    *moved += taken as u64;
                    bytes = bytes.get(taken..).unwrap_or_default();
                }
                Poll::Pending => return Poll::Ready(Ok(Copied::Read(count, Left::of(bytes.to_vec())))),
            }
        }
        Poll::Ready(Ok(Copied::Read(count, None)))
    })
}

fn poll_write<W: AsyncWrite + Unpin>(cx: &mut Context<'_>, sink: &mut W, bytes: &[u8]) -> Poll<io::Result<usize>> {
    match ready!(Pin::new(sink).poll_write(cx, bytes)) {
        Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        taken => Poll::Ready(taken),
    }
}
