//! A connection of HTTP/1 that rests: between requests it is its socket and a timer, and nothing of hyper.
//!
//! Theory: hyper keeps two buffers of 8 KiB and room for a request under way for as long as its connection lives, and
//! most connections wait most of the time. So hyper's part is begun when bytes come, and taken down when the connection
//! has been quiet for a while (`patience` says when, by the timer it has anyway). Who asks again and again never rests
//! and pays nothing; who does pays about a dozen allocations when it asks again. A connection that has not said anything
//! yet rests from its beginning.
//!
//! It rests only between two requests: all that came was understood, all that was answered is with the kernel. What hyper
//! had read beyond that, which should be nothing, is kept and comes first when it wakes.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::Transport;
use super::begun::Begun;
use super::watched::Watched;

/// What hyper is given of a client: its stream, after what was read of it already.
pub(super) type Line<S> = Begun<Watched<S>>;

/// A connection that is awake, with hyper's part, or at rest without.
pub(super) struct Resting<B, C, S> {
    at: At<C, S>,
    begin: B,
    finish: fn(Pin<&mut C>),
    end: fn(C) -> Option<Line<S>>,
}

enum At<C, S> {
    Rest(Line<S>),
    Awake(Box<C>),
    /// The stream was given away.
    Gone,
}

impl<B, C, S> Resting<B, C, S>
where
    B: FnMut(Line<S>) -> C,
    C: Unpin,
{
    /// Begins at rest. `begin` begins hyper's part on a stream; `finish` asks it to take nothing more; `end` takes the
    /// stream out of it, if it was not given away.
    pub(super) fn new(stream: Watched<S>, begin: B, finish: fn(Pin<&mut C>), end: fn(C) -> Option<Line<S>>) -> Self {
        Self { at: At::Rest(Begun::new(Bytes::new(), stream)), begin, finish, end }
    }

    /// Whether hyper has its part.
    pub(super) fn is_awake(&self) -> bool {
        matches!(self.at, At::Awake(_))
    }

    /// Takes hyper's part down. The connection must be between two requests, and polled afterwards.
    pub(super) fn rest(&mut self) {
        if let At::Awake(awake) = std::mem::replace(&mut self.at, At::Gone) {
            self.at = (self.end)(*awake).map_or(At::Gone, At::Rest);
        }
    }

    /// Asks it to take nothing more. At rest that is its end.
    pub(super) fn finish(&mut self) {
        self.wake();
        if let At::Awake(awake) = &mut self.at {
            (self.finish)(Pin::new(&mut **awake));
        }
    }

    /// The client's stream, and what was read of it and not used; `None` when it was given away.
    pub(super) fn into_stream(self) -> Option<(Bytes, Watched<S>)> {
        let line = match self.at {
            At::Rest(line) => Some(line),
            At::Awake(awake) => (self.end)(*awake),
            At::Gone => None,
        };
        line.map(Begun::into_parts)
    }

    fn wake(&mut self) {
        self.at = match std::mem::replace(&mut self.at, At::Gone) {
            At::Rest(line) => At::Awake(Box::new((self.begin)(line))),
            other => other,
        };
    }
}

impl<B, C, S> Future for Resting<B, C, S>
where
    B: FnMut(Line<S>) -> C + Unpin,
    C: Future<Output = hyper::Result<()>> + Unpin,
    S: Transport,
{
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let At::Rest(line) = &self.at {
            // An end of the stream or an error is hyper's to find.
            if line.rest_of(|watched| watched.stream.poll_readable(cx)).is_pending() {
                return Poll::Pending;
            }
            self.wake();
        }
        match &mut self.at {
            At::Awake(awake) => Pin::new(&mut **awake).poll(cx),
            At::Rest(_) => Poll::Pending,
            At::Gone => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests;
