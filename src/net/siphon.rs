//! Bytes that pass by a writer without being seen: they lie in a pipe, and the writer is given *stand-ins* of the same
//! length, which the stream below it exchanges for the bytes themselves.
//!
//! Theory. A body may flow from socket to socket within the kernel although another's code frames it and owns the sink:
//! whoever reads it fills a pipe from the source and hands on stand-ins, parts of one static region that are known by
//! their address. The stream that the writer writes to looks at the addresses of what it is given; where they are in that
//! region it pours the pipe into the socket instead. Once it pours it goes on, for a turn, with what comes after: those
//! bytes are *ahead*, and their stand-ins, given next, are exchanged without a call. There are never more stand-ins under
//! way than bytes went in; who writes more of them fails, and nothing is sent. Who copies stand-ins instead of handing
//! them on would defeat all this; that hyper does not is shown by every test of a large body.
//!
//! A siphon at rest holds no pipe. A pipe is filled only while it is empty (see `splice`), and what cannot be spliced is
//! read, once all that was has gone.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

use super::pipe::Pipe;
use super::splice;

/// The stand-ins that are given at once at the most, and what a splice asks for, in bytes.
const REGION: usize = 64 * 1024;
/// The most that is copied at once, in bytes.
const COPY: usize = 16 * 1024;
/// The most that one call moves, in bytes, give or take a pipe: then the thread's other connections have their turn.
const TURN: usize = 256 * 1024;
/// What a copy of a stand-in would show.
const MARK: u8 = 0xdb;

static STAND_INS: [u8; REGION] = [MARK; REGION];

/// Whether these bytes stand for others. By their address alone.
pub fn is_stand_in(bytes: &[u8]) -> bool {
    let begin = ptr::from_ref(&STAND_INS).addr();
    (begin..begin + REGION).contains(&bytes.as_ptr().addr())
}

/// How many slices come before the first stand-in: all, mostly.
pub fn before_stand_ins(slices: &[IoSlice<'_>]) -> usize {
    slices.iter().take_while(|slice| !is_stand_in(slice)).count()
}

/// What flows from one source at a time to one sink.
#[derive(Debug, Default)]
pub struct Siphon(Mutex<Inside>);

#[derive(Debug, Default)]
struct Inside {
    source: Option<TcpStream>,
    // Bytes that it is still to give.
    to_come: u64,
    // Nothing could be spliced when it was asked last: a read says why.
    dry: bool,
    // Holds bytes wherever it is there.
    pipe: Option<Pipe>,
    // Bytes that went into the pipe and that nothing stands for yet.
    unannounced: usize,
    // Stand-ins that were given and not exchanged yet.
    announced: usize,
    // Bytes that the sink took before it was given their stand-ins.
    ahead: usize,
    // Who waits until the pipe is empty.
    waker: Option<Waker>,
}

/// What comes of a source next.
#[derive(Debug)]
pub enum Next {
    /// Stand-ins.
    StandIns(Bytes),
    /// The bytes themselves, which could not be spliced.
    Bytes(Bytes),
}

impl Siphon {
    /// Lets the next `length` bytes of a source flow. What flowed of another one before was given whole.
    pub fn begin(&self, source: TcpStream, length: u64) {
        let mut inside = self.inside();
        (inside.source, inside.to_come, inside.dry) = (Some(source), length, false);
    }

    /// Lets go of the source: what has not come of it does not flow.
    pub fn end(&self) -> Option<TcpStream> {
        self.inside().source.take()
    }

    /// The next bytes, of which there are some to come. Pending: nothing is there, or the sink takes no more; the task is
    /// woken.
    ///
    /// # Errors
    /// What the source says; `UnexpectedEof` when it ends before all has come; `NotConnected` when there is none.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<io::Result<Next>> {
        let inside = &mut *self.inside();
        if inside.unannounced == 0 && inside.pipe.is_none() {
            match ready!(inside.poll_fill(cx)) {
                Ok(true) => {}
                // The order is kept: all that was spliced has gone.
                Ok(false) => return inside.poll_copy(cx).map_ok(Next::Bytes),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        if inside.unannounced == 0 {
            inside.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let stand_ins = STAND_INS.get(..inside.unannounced).unwrap_or(&STAND_INS);
        inside.unannounced -= stand_ins.len();
        inside.announced += stand_ins.len();
        Poll::Ready(Ok(Next::StandIns(Bytes::from_static(stand_ins))))
    }

    /// Pours into the sink what the stand-ins that `slices` begin with stand for, and goes on with what comes after it as
    /// long as the sink takes it, for one turn: how many of the stand-ins were exchanged. Pending: the sink takes nothing
    /// now, and the task is woken when it does.
    ///
    /// # Errors
    /// What `splice` says of the sink; `InvalidData` when there are more stand-ins than were given.
    pub fn poll_pour(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>], sink: &TcpStream) -> Poll<io::Result<usize>> {
        let inside = &mut *self.inside();
        let stand_ins: usize = slices.iter().take_while(|slice| is_stand_in(slice)).map(|slice| slice.len()).sum();
        if stand_ins == 0 || stand_ins > inside.announced {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        if inside.ahead < stand_ins {
            let poured = inside.poll_turn(cx, sink);
            if inside.ahead == 0 {
                ready!(poured)?;
            }
        }
        let exchanged = stand_ins.min(inside.ahead);
        inside.ahead -= exchanged;
        inside.announced -= exchanged;
        Poll::Ready(if exchanged == 0 { Err(io::ErrorKind::InvalidData.into()) } else { Ok(exchanged) })
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// Fills the pipe, which is empty. False where nothing can be spliced now: a read tells what there is.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let source = self.source.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        if std::mem::take(&mut self.dry) {
            return Poll::Ready(Ok(false));
        }
        // No pipe is asked for as long as nothing is there.
        ready!(source.poll_read_ready(cx))?;
        let Some(mut pipe) = Pipe::borrow() else { return Poll::Ready(Ok(false)) };
        let most = usize::try_from(self.to_come).unwrap_or(REGION).min(REGION);
        match ready!(splice::poll_in(cx, source, &mut pipe, most)) {
            Ok(0) => Poll::Ready(Ok(false)),
            Ok(filled) => {
                self.to_come = self.to_come.saturating_sub(filled as u64);
                self.unannounced += filled;
                self.pipe = Some(pipe);
                Poll::Ready(Ok(true))
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Poll::Ready(Ok(false)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_copy(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let source = self.source.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let mut room = [0; COPY];
        let most = usize::try_from(self.to_come).unwrap_or(COPY).min(COPY);
        let mut into = ReadBuf::new(room.get_mut(..most).unwrap_or_default());
        ready!(Pin::new(source).poll_read(cx, &mut into))?;
        let bytes = into.filled();
        self.to_come = self.to_come.saturating_sub(bytes.len() as u64);
        Poll::Ready(if bytes.is_empty() {
            Err(io::ErrorKind::UnexpectedEof.into())
        } else {
            Ok(Bytes::copy_from_slice(bytes))
        })
    }

    /// Empties the pipe into the sink and fills it again, until one of them has no more or the turn is over.
    fn poll_turn(&mut self, cx: &mut Context<'_>, sink: &TcpStream) -> Poll<io::Result<()>> {
        let mut turn = TURN;
        while let Some(pipe) = &mut self.pipe {
            let poured = ready!(splice::poll_out(cx, pipe, sink))?;
            self.ahead += poured;
            turn = turn.saturating_sub(poured);
            if pipe.held() > 0 {
                continue;
            }
            // It goes back to its thread.
            self.pipe = None;
            if turn > 0 && self.to_come > 0 {
                // Whatever else it says is said again in the next read.
                self.dry = !matches!(self.poll_fill(cx), Poll::Ready(Ok(true)));
            }
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
