//! One direction of a relay through the thread's one shared buffer. A connection at rest holds no buffer: only what
//! the other side did not take yet is kept, in a buffer of its own, until it is taken.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::relay::{Pace, Side};

/// The shared buffer: one read from a socket at full speed.
const BUFFER: usize = 64 * 1024;

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

/// One direction: what is left to write and how far it has come.
#[derive(Debug)]
pub(super) struct Direction {
    from: Side,
    left: Vec<u8>,
    written: usize,
    source_ended: bool,
    finished: bool,
    moved: u64,
}

impl Direction {
    /// Bytes from this side; those read already go first.
    pub(super) fn new(from: Side, first: Vec<u8>) -> Self {
        Self { from, left: first, written: 0, source_ended: false, finished: false, moved: 0 }
    }

    /// Bytes written since last asked.
    pub(super) fn take_moved(&mut self) -> u64 {
        std::mem::take(&mut self.moved)
    }

    /// Whether the source ended and the sink was told.
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Moves what can be moved. Ready when the source ended, everything was written and the sink's end was closed.
    pub(super) fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        mut source: Pin<&mut R>,
        mut sink: Pin<&mut W>,
        mut pace: Option<&mut (dyn Pace + 'static)>,
    ) -> Poll<Result<(), Fault>>
    where
        R: AsyncRead,
        W: AsyncWrite,
    {
        if self.finished {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.write_left(cx, sink.as_mut())).map_err(Fault::Sink)?;
            if self.source_ended {
                ready!(sink.as_mut().poll_shutdown(cx)).map_err(Fault::Sink)?;
                self.finished = true;
                return Poll::Ready(Ok(()));
            }
            let most = match &mut pace {
                Some(pace) => ready!(pace.allowance(self.from, cx)).clamp(1, BUFFER),
                None => BUFFER,
            };
            let step = SHARED.with_borrow_mut(|buffer| {
                let mut read = ReadBuf::new(&mut buffer[..most]);
                match source.as_mut().poll_read(cx, &mut read) {
                    Poll::Pending => Step::Wait,
                    Poll::Ready(Err(error)) => Step::Failed(Fault::Source(error)),
                    Poll::Ready(Ok(())) if read.filled().is_empty() => Step::Ended,
                    Poll::Ready(Ok(())) => {
                        if let Some(pace) = &mut pace {
                            pace.spent(self.from, read.filled().len());
                        }
                        self.write_fresh(cx, sink.as_mut(), read.filled())
                    }
                }
            });
            match step {
                Step::On => {}
                Step::Ended => self.source_ended = true,
                Step::Failed(fault) => return Poll::Ready(Err(fault)),
                Step::Wait => {
                    // Sinks that buffer (TLS) must not sit on bytes while we wait for more.
                    return match sink.as_mut().poll_flush(cx) {
                        Poll::Ready(Err(error)) => Poll::Ready(Err(Fault::Sink(error))),
                        _ => Poll::Pending,
                    };
                }
            }
        }
    }

    /// Writes straight from the shared buffer and keeps what the sink does not take now.
    fn write_fresh<W: AsyncWrite>(&mut self, cx: &mut Context<'_>, mut sink: Pin<&mut W>, mut bytes: &[u8]) -> Step {
        while !bytes.is_empty() {
            match sink.as_mut().poll_write(cx, bytes) {
                Poll::Ready(Ok(0)) => return Step::Failed(Fault::Sink(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    self.moved += n as u64;
                    bytes = &bytes[n..];
                }
                Poll::Ready(Err(error)) => return Step::Failed(Fault::Sink(error)),
                Poll::Pending => {
                    self.left.extend_from_slice(bytes);
                    break;
                }
            }
        }
        Step::On
    }

    fn write_left<W: AsyncWrite>(&mut self, cx: &mut Context<'_>, mut sink: Pin<&mut W>) -> Poll<io::Result<()>> {
        while self.written < self.left.len() {
            let n = ready!(sink.as_mut().poll_write(cx, &self.left[self.written..]))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.moved += n as u64;
            self.written += n;
        }
        if !self.left.is_empty() {
            (self.left, self.written) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

enum Step {
    On,
    Wait,
    Ended,
    Failed(Fault),
}
