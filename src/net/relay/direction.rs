//! One direction of a relay: from its source's first byte until the sink's end is closed.
//!
//! Theory. What was read is *held* until the sink has taken it, and nothing is read while something is held or, where
//! both sides are bare sockets, while the sink takes nothing: a slow reader costs one bounded buffer or pipe, and its
//! peer is slowed down by TCP. A direction walks (copies through the thread's shared buffer) or streams (splices
//! through a pipe). Two full reads in a row make it stream, a few small splices in a row make it walk again. Both hold
//! their buffer or pipe only while bytes are in it.
//!
//! A turn moves a bounded number of bytes, then the thread looks for what came for its other connections: the runtime's
//! own budget counts calls, whatever they move.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::net::TcpStream;
use tokio::task::yield_now;

use super::{Leg, Pace, Side};
use crate::net::copy::{BUFFER, Copied, Fault, Left, poll_copy};
use crate::net::pipe::Pipe;
use crate::net::{socket, splice};

/// The most a direction moves in one turn, in bytes, give or take a pipe.
const TURN: usize = 512 * 1024;
/// The most that one copy between bare sockets reads: what a slow sink leaves of it is all the memory it costs.
const STEP: usize = 16 * 1024;
/// Reads in a row of all that was asked for make a stream.
const FULL: u8 = 2;
/// A splice of fewer bytes is not worth its calls …
const SMALL: usize = 16 * 1024;
/// … and so many in a row end the stream.
const SMALLS: u8 = 3;

/// One direction.
#[derive(Debug)]
pub(super) struct Direction {
    from: Side,
    phase: Phase,
    gait: Gait,
    held: Held,
    // Whether the kernel was told to hold little for the sink.
    bounded: bool,
    waits: bool,
    paced: bool,
    copied: u64,
    spliced: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Open,
    // The source has sent all; the sink shall be told.
    SourceEnded,
    Finished,
}

#[derive(Clone, Copy, Debug)]
enum Gait {
    // Copies; so many full reads in a row.
    Walk(u8),
    // Splices; so many small ones in a row.
    Stream(u8),
    // Copies to the end: the kernel cannot splice these sockets.
    WalkOnly,
}

#[derive(Debug)]
enum Held {
    Nothing,
    Bytes(Left),
    Piped(Pipe),
}

impl Direction {
    /// Bytes from this side; those that were read already go first.
    pub(super) fn new(from: Side, first: Vec<u8>) -> Self {
        Self {
            from,
            phase: Phase::Open,
            gait: Gait::Walk(0),
            held: Left::of(first).map_or(Held::Nothing, Held::Bytes),
            bounded: false,
            waits: false,
            paced: false,
            copied: 0,
            spliced: 0,
        }
    }

    /// Bytes written since last asked: copied, spliced.
    pub(super) fn take_moved(&mut self) -> (u64, u64) {
        (std::mem::take(&mut self.copied), std::mem::take(&mut self.spliced))
    }

    /// Whether the source has sent all.
    pub(super) fn has_ended(&self) -> bool {
        self.phase != Phase::Open
    }

    /// Whether the source ended, all was written and the sink was told.
    pub(super) fn is_finished(&self) -> bool {
        self.phase == Phase::Finished
    }

    /// Whether bytes wait for the sink to take them.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// Whether nothing is read because the pace allows none now.
    pub(super) fn is_paced(&self) -> bool {
        self.paced
    }

    /// Moves what can be moved. Ready when all is done. `is_last`: the other direction is finished, so both sides will be
    /// closed when this one is.
    pub(super) fn poll<R: Leg, W: Leg>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        sink: &mut W,
        mut pace: Option<&mut (dyn Pace + 'static)>,
        is_last: bool,
    ) -> Poll<Result<(), Fault>> {
        let mut turn = TURN;
        (self.waits, self.paced) = (false, false);
        while self.phase != Phase::Finished {
            if self.poll_held(cx, sink)?.is_pending() {
                self.waits = true;
                self.bound(sink);
                return Poll::Pending;
            }
            if self.phase == Phase::SourceEnded {
                // A bare socket that both directions are done with is closed at once, which tells its peer as well.
                if !is_last || sink.bare().is_none() {
                    self.waits = true;
                    ready!(Pin::new(&mut *sink).poll_shutdown(cx)).map_err(Fault::Sink)?;
                }
                (self.phase, self.waits) = (Phase::Finished, false);
                break;
            }
            if turn == 0 {
                // Not by the waker itself, which would come up again before the thread asked for events.
                let _ = pin!(yield_now()).poll(cx);
                return self.rest(cx, sink);
            }
            // A buffer of the sink's own (TLS) is its own business; a socket is asked, which costs no call.
            if let Some(socket) = sink.bare()
                && socket.poll_write_ready(cx).map_err(Fault::Sink)?.is_pending()
            {
                self.waits = true;
                self.bound(sink);
                return Poll::Pending;
            }
            let most = match pace.as_mut().map(|pace| pace.allowance(self.from, cx)) {
                Some(Poll::Pending) => {
                    self.paced = true;
                    return self.rest(cx, sink);
                }
                Some(Poll::Ready(most)) => most.max(1),
                None => usize::MAX,
            };
            let Poll::Ready(read) = self.poll_read(cx, source, sink, most)? else { return self.rest(cx, sink) };
            turn = turn.saturating_sub(read);
            if let Some(pace) = &mut pace
                && read > 0
            {
                pace.spent(self.from, read);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// There is nothing to do for now. Sinks that buffer (TLS) must not sit on bytes meanwhile.
    fn rest<W: Leg>(&mut self, cx: &mut Context<'_>, sink: &mut W) -> Poll<Result<(), Fault>> {
        if sink.bare().is_none() {
            self.waits = Pin::new(sink).poll_flush(cx).map_err(Fault::Sink)?.is_pending();
        }
        Poll::Pending
    }

    /// Writes what is held. Ready when nothing is held any more.
    fn poll_held<W: Leg>(&mut self, cx: &mut Context<'_>, sink: &mut W) -> Poll<Result<(), Fault>> {
        match &mut self.held {
            Held::Nothing => return Poll::Ready(Ok(())),
            Held::Bytes(left) => ready!(left.poll_write(cx, sink, &mut self.copied)).map_err(Fault::Sink)?,
            Held::Piped(pipe) => {
                let Some(sink) = sink.bare() else { return Poll::Ready(Ok(())) };
                while pipe.held() > 0 {
                    self.spliced += ready!(splice::poll_out(cx, pipe, sink)).map_err(Fault::Sink)? as u64;
                }
            }
        }
        // The buffer is freed, the pipe goes back to its thread.
        self.held = Held::Nothing;
        Poll::Ready(Ok(()))
    }

    /// Reads at most `most` bytes, by the present gait: how many they were. Of copied ones what the sink takes at once
    /// is written, too. Pending: nothing is there.
    fn poll_read<R: Leg, W: Leg>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        sink: &mut W,
        most: usize,
    ) -> Poll<Result<usize, Fault>> {
        if let Gait::Stream(smalls) = self.gait {
            let socket = source.bare().filter(|_| sink.bare().is_some());
            if let Some(socket) = socket {
                // No pipe is asked for as long as nothing is there.
                ready!(socket.poll_read_ready(cx)).map_err(Fault::Source)?;
            }
            match socket.zip(Pipe::borrow()) {
                Some((socket, pipe)) => {
                    self.bound(sink);
                    if let Some(read) = ready!(self.poll_splice(cx, socket, pipe, most, smalls))? {
                        return Poll::Ready(Ok(read));
                    }
                }
                // It is tried again when two more reads were full.
                None => self.gait = Gait::Walk(0),
            }
        }
        self.poll_walk(cx, source, sink, most)
    }

    fn poll_walk<R: Leg, W: Leg>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        sink: &mut W,
        most: usize,
    ) -> Poll<Result<usize, Fault>> {
        let bare = source.bare().is_some() && sink.bare().is_some();
        let most = most.min(if bare { STEP } else { BUFFER });
        match ready!(poll_copy(cx, source, sink, most, &mut self.copied))? {
            Copied::Ended => {
                self.phase = Phase::SourceEnded;
                Poll::Ready(Ok(0))
            }
            Copied::Read(read, left) => {
                self.held = left.map_or(Held::Nothing, Held::Bytes);
                if let Gait::Walk(full) = self.gait {
                    self.gait = match if read == STEP && bare { full + 1 } else { 0 } {
                        FULL.. => Gait::Stream(0),
                        full => Gait::Walk(full),
                    };
                }
                Poll::Ready(Ok(read))
            }
        }
    }

    /// Fills the pipe: with how many bytes. `None`: there are none to be spliced, and a copy shows what there is; for
    /// good where the kernel cannot splice this socket.
    fn poll_splice(
        &mut self,
        cx: &mut Context<'_>,
        source: &TcpStream,
        mut pipe: Pipe,
        most: usize,
        smalls: u8,
    ) -> Poll<Result<Option<usize>, Fault>> {
        match ready!(splice::poll_in(cx, source, &mut pipe, most)) {
            Ok(0) => Poll::Ready(Ok(None)),
            Ok(read) => {
                self.held = Held::Piped(pipe);
                self.gait = match if read < SMALL { smalls + 1 } else { 0 } {
                    SMALLS.. => Gait::Walk(0),
                    smalls => Gait::Stream(smalls),
                };
                Poll::Ready(Ok(Some(read)))
            }
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
                self.gait = Gait::WalkOnly;
                Poll::Ready(Ok(None))
            }
            Err(error) => Poll::Ready(Err(Fault::Source(error))),
        }
    }

    /// Lets the kernel hold little for the sink. Only for those where it matters, so that a short connection costs no
    /// call.
    fn bound<W: Leg>(&mut self, sink: &W) {
        if let Some(socket) = sink.bare()
            && !self.bounded
        {
            self.bounded = true;
            socket::bound_unsent(socket);
        }
    }
}
