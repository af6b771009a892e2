//! A client's HTTP/2 stream of bytes, its frames counted on their way: who floods is told to calm down and given up.
//!
//! hyper and h2 read and write as always; what passes is only looked at, frame by frame (`net::h2_frames`), and charged
//! to the budget of `calm`. When it is spent, nothing more is read: a GOAWAY with ENHANCE_YOUR_CALM is written, if no
//! frame of ours is half out, and hyper is given an error that ends the connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Transport;
use super::calm::{Budget, cost, earned};
use super::gathered::Gathered;
use super::session::Session;
use super::watched::Watched;
use crate::net::h2_frames::{ENHANCE_YOUR_CALM, Frames, HEADERS, go_away};

/// A stream whose frames are counted.
#[derive(Debug)]
pub(super) struct Guarded<S> {
    stream: Gathered<Watched<S>>,
    session: Rc<Session>,
    incoming: Frames,
    outgoing: Frames,
    control: Budget,
    // The highest stream that the client opened.
    last: u32,
}

impl<S: Transport> Guarded<S> {
    /// Guards a connection from its first byte.
    pub(super) fn new(stream: Gathered<Watched<S>>, session: Rc<Session>) -> Self {
        let (incoming, outgoing) = (Frames::of_client(), Frames::of_server());
        Self { stream, session, incoming, outgoing, control: Budget::CONTROL, last: 0 }
    }

    /// Ends the connection, and says so where that can be said at once.
    fn end(&mut self, cx: &mut Context<'_>) -> io::Error {
        if self.outgoing.is_between() {
            let farewell = go_away(self.last, ENHANCE_YOUR_CALM);
            // Who takes nothing is not waited for.
            if Pin::new(&mut self.stream).poll_write(cx, &farewell).is_ready() {
                let _ = Pin::new(&mut self.stream).poll_flush(cx);
            }
        }
        io::Error::other("the client causes work that leads nowhere")
    }

    fn wrote(&mut self, bytes: &[u8]) {
        let control = &mut self.control;
        self.outgoing.take(bytes, |head| control.earn(earned(head)));
    }
}

impl<S: Transport> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.session.is_flooded() {
            return Poll::Ready(Err(this.end(cx)));
        }
        let before = into.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, into))?;
        let Self { session, incoming, control, last, .. } = this;
        let mut is_calm = true;
        incoming.take(into.filled().get(before..).unwrap_or_default(), |head| {
            if head.kind == HEADERS {
                *last = head.stream.max(*last);
            }
            let cost = cost(head);
            is_calm &= cost == 0 || control.spend(cost, || session.clock());
        });
        if is_calm {
            return Poll::Ready(Ok(()));
        }
        session.flood();
        Poll::Ready(Err(this.end(cx)))
    }
}

impl<S: Transport> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
        this.wrote(bytes.get(..written).unwrap_or_default());
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, slices))?;
        let mut rest = written;
        for slice in slices {
            let taken = rest.min(slice.len());
            this.wrote(slice.get(..taken).unwrap_or_default());
            rest -= taken;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
