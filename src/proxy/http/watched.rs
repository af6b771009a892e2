//! A client's stream whose traffic is noted, to be looked at while hyper owns the stream.
//!
//! While an answer is silent hyper reads nothing, and so would never learn that its client has left: when it is told to
//! (`patience`), the stream looks by itself, in the flush that hyper makes in every turn. A client that only closed its
//! sending side gets one more round to take its answer.
//!
//! Where HTTP/1 is spoken the bytes of heads are followed (`raw`), and stand-ins are exchanged for what they stand for.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Transport;
use super::raw::RawHeads;
use crate::net::siphon::{Siphon, before_stand_ins, is_stand_in};
use crate::net::socket::Presence;

/// What moved on a stream. One thread alone writes it; it is shared because hyper wants its streams movable.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// Reads that brought something.
    pub(super) reads: AtomicU64,
    /// Writes that took something.
    pub(super) writes: AtomicU64,
    /// The socket takes nothing more.
    pub(super) blocked: AtomicBool,
    /// What the client had acknowledged when it was looked after last, in bytes.
    pub(super) taken: AtomicU64,
    /// The stream shall look whether its client is still there.
    pub(super) look: AtomicBool,
    // A head came that could mean something else to others.
    ambiguous: AtomicBool,
    /// The middle of a request came last.
    pub(super) within: AtomicBool,
    /// Something that was written is not with the kernel yet, or the stream is being shut down.
    pub(super) leaving: AtomicBool,
    /// Nothing more comes from the client: it said so, or ended its side.
    pub(super) ended: AtomicBool,
    // The stream is a socket in the clear.
    bare: bool,
    // Made for the first body that flows by it.
    siphon: OnceLock<Box<Siphon>>,
}

impl Traffic {
    /// Whether the socket takes nothing more.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Relaxed)
    }

    /// Whether it is a socket in the clear.
    pub(super) fn is_bare(&self) -> bool {
        self.bare
    }

    /// What bodies flow through that are not seen on the stream.
    pub(super) fn siphon(&self) -> &Siphon {
        self.siphon.get_or_init(Box::default)
    }

    /// Whether a head came that could mean something else to others.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.ambiguous.load(Relaxed)
    }
}

/// A stream whose traffic is noted.
#[derive(Debug)]
pub(super) struct Watched<S> {
    /// The stream itself.
    pub(super) stream: S,
    traffic: Arc<Traffic>,
    half_closed: bool,
    // Bytes that came, and that the socket took, in all.
    read: u64,
    written: u64,
    // The kernel was told to let only so much wait.
    bounded: bool,
    // Where HTTP/1 is spoken.
    heads: Option<RawHeads>,
}

impl<S: Transport> Watched<S> {
    /// Watches a stream.
    pub(super) fn new(stream: S) -> Self {
        let traffic = Traffic { bare: stream.is_bare(), ..Traffic::default() };
        Self {
            stream,
            traffic: Arc::new(traffic),
            half_closed: false,
            read: 0,
            written: 0,
            bounded: false,
            heads: None,
        }
    }

    /// Watches a stream of HTTP/1 and looks at the heads that come on it.
    pub(super) fn following_heads(stream: S) -> Self {
        Self { heads: Some(RawHeads::default()), ..Self::new(stream) }
    }

    /// Bytes that came on it so far.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// What moved, to be looked at while hyper owns the stream.
    pub(super) fn traffic(&self) -> Arc<Traffic> {
        self.traffic.clone()
    }
}

fn bump(count: &AtomicU64) {
    count.store(count.load(Relaxed).wrapping_add(1), Relaxed);
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = into.filled().len();
        let has_room = into.remaining() > 0;
        ready!(Pin::new(&mut this.stream).poll_read(cx, into))?;
        let new = into.filled().get(before..).unwrap_or_default();
        if new.is_empty() {
            this.traffic.ended.fetch_or(has_room, Relaxed);
        } else {
            this.read += new.len() as u64;
            bump(&this.traffic.reads);
            if let Some(heads) = &mut this.heads {
                let in_body = heads.is_in_body();
                if !heads.follow(new) {
                    this.traffic.ambiguous.store(true, Relaxed);
                    // Its head was taken, so all that is left to refuse is its end.
                    if in_body {
                        return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                    }
                }
                this.traffic.within.store(!heads.are_whole(), Relaxed);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Transport> Watched<S> {
    fn wrote(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Pending => {
                self.traffic.blocked.store(true, Relaxed);
                if !std::mem::replace(&mut self.bounded, true) {
                    self.stream.bound_unsent();
                }
                self.look()?;
            }
            Poll::Ready(Ok(bytes)) => {
                self.written += *bytes as u64;
                self.traffic.blocked.store(false, Relaxed);
                bump(&self.traffic.writes);
            }
            Poll::Ready(Err(_)) => {}
        }
        written
    }

    /// Writes the bytes that these slices begin with stand-ins for.
    fn pour(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        // Nobody may see a stand-in.
        let Some(socket) = self.stream.bare() else { return Poll::Ready(Err(io::ErrorKind::InvalidData.into())) };
        let poured = self.traffic.siphon().poll_pour(cx, slices, socket);
        self.wrote(poured)
    }

    /// Looks whether the client is still there and what it took, if it was told to.
    fn look(&mut self) -> io::Result<()> {
        if !self.traffic.look.load(Relaxed) {
            return Ok(());
        }
        self.traffic.look.store(false, Relaxed);
        if let Some(held) = self.stream.unacknowledged() {
            self.traffic.taken.store(self.written.saturating_sub(held as u64), Relaxed);
        }
        let presence = self.stream.presence();
        let waited = std::mem::replace(&mut self.half_closed, presence == Presence::HalfClosed);
        match presence {
            Presence::Gone => Err(io::ErrorKind::ConnectionReset.into()),
            Presence::HalfClosed if waited => Err(io::ErrorKind::ConnectionReset.into()),
            Presence::HalfClosed | Presence::There => Ok(()),
        }
    }
}

impl<S: Transport> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if is_stand_in(bytes) {
            return self.pour(cx, &[IoSlice::new(bytes)]);
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let slices = match before_stand_ins(slices) {
            0 if !slices.is_empty() => return self.pour(cx, slices),
            count => slices.get(..count).unwrap_or_default(),
        };
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.look()?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.traffic.leaving.store(flushed.is_pending(), Relaxed);
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.traffic.leaving.store(true, Relaxed);
        // Of HTTP/1 the stream is closed next, which says the same; unless there is something unread, when closing would be
        // a reset, which takes away from the client what it has not read yet.
        if self.heads.is_some() && self.traffic.bare && self.traffic.ended.load(Relaxed) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
