//! The body of an answer on its way to a client: paced, compressed where that was asked for, counted.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::content::{Content, SHORT};
use super::shrinking::Shrinking;
use super::underway::Underway;
use super::{Cut, length};
use crate::model::live::listener::Path;
use crate::model::outcome::Outcome;
use crate::net::relay::{Pace, Side};
use crate::net::siphon::is_stand_in;
use crate::proxy::http::direct::Theirs;
use crate::proxy::http::streams::Turn;
use crate::proxy::http::watched::Traffic;
use crate::proxy::limit::speed::Speed;

/// The body of an answer.
#[derive(Debug)]
pub(in crate::proxy::http) struct ResponseBody {
    content: Content,
    /// Compresses it on its way.
    shrinking: Option<Box<Shrinking>>,
    ended: bool,
    /// The last piece, for a stream of HTTP/2, was a short one.
    short: bool,
    underway: Underway,
    pace: Option<Box<dyn Pace>>,
    /// To whom it may flow within the kernel.
    siphon: Option<Arc<Traffic>>,
}

/// A body shorter than this gains nothing by being spliced: see docs/decisions/016-large-answers-are-siphoned.md.
const LARGE: u64 = 256 * 1024;

impl ResponseBody {
    /// A body made here, or none.
    pub(in crate::proxy::http) fn own(bytes: Option<Bytes>, underway: Underway) -> Self {
        Self {
            content: Content::Own(bytes),
            shrinking: None,
            ended: false,
            short: false,
            underway,
            pace: None,
            siphon: None,
        }
    }

    /// A backend's body.
    pub(in crate::proxy::http) fn passed(theirs: Theirs, underway: Underway) -> Self {
        let pace = underway.session.speed.as_ref().map(Speed::pace);
        let is_large = theirs.size_hint().exact().is_some_and(|bytes| bytes >= LARGE);
        let siphon = if is_large && pace.is_none() { underway.session.bare() } else { None };
        let content = Content::Passed(theirs, Bytes::new());
        Self { content, shrinking: None, ended: false, short: false, underway, pace, siphon }
    }

    /// Whether it was made here.
    pub(in crate::proxy::http) fn is_own(&self) -> bool {
        matches!(self.content, Content::Own(_))
    }

    /// Makes it another one. What the backend still sends is not read, and so its connection is closed.
    pub(in crate::proxy::http) fn replace(&mut self, bytes: Option<Bytes>) {
        if !self.content.is_end() {
            self.underway.connection = None;
        }
        self.content = Content::Own(bytes);
        self.shrinking = None;
        self.siphon = None;
    }

    /// Compresses it from now on.
    pub(in crate::proxy::http) fn shrink(&mut self, shrinking: Shrinking) {
        self.shrinking = Some(Box::new(shrinking));
        self.siphon = None;
    }

    /// Makes it the answer to another request, which holds from now on what this one held.
    pub(in crate::proxy::http) fn answers(mut self, mut underway: Underway) -> Self {
        (underway.lease, underway.connection) = (self.underway.lease.take(), self.underway.connection.take());
        self.pace = underway.session.speed.as_ref().map(Speed::pace);
        self.underway = underway;
        self.siphon = None;
        self
    }

    /// Reads it to nowhere, so that its connection may be used again; of a body that is longer than `most` bytes the
    /// connection is closed.
    pub(in crate::proxy::http) async fn skip(mut self, most: usize) {
        let mut seen = 0;
        while seen <= most {
            match poll_fn(|cx| self.content.poll(cx, false, self.underway.lease.as_ref())).await {
                Some(Ok(frame)) => seen += length(&frame) as usize,
                Some(Err(_)) => return,
                None => {
                    self.ended = true;
                    return;
                }
            }
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = &mut *self;
        let session = &this.underway.session;
        if let Some(shut) = session.shut.get().filter(|_| this.short) {
            ready!(shut.poll(cx));
        }
        session.turn.set(Turn::Asked);
        if let Some(pace) = &mut this.pace {
            ready!(pace.allowance(Side::Backend, cx));
        }
        if let Some(client) = this.siphon.take()
            && let Content::Passed(theirs, _) = &this.content
        {
            theirs.siphon(client);
        }
        let (content, lease, h2) = (&mut this.content, this.underway.lease.as_ref(), session.h2.get());
        let frame = match &mut this.shrinking {
            None => ready!(content.poll(cx, h2, lease)),
            Some(shrinking) => ready!(shrinking.poll(cx, |cx| content.poll(cx, false, lease))),
        };
        session.turn.set(Turn::Gave);
        match &frame {
            Some(Ok(frame)) => {
                let bytes = length(frame);
                this.short = h2 && bytes < SHORT as u64;
                let is_spliced = frame.data_ref().is_some_and(|data| is_stand_in(data));
                session.listener.moved_by(if is_spliced { Path::Splice } else { Path::Copy }, 0, bytes);
                if let Some(pace) = &mut this.pace {
                    pace.spent(Side::Backend, bytes as usize);
                }
            }
            Some(Err(_)) => {
                session.outcome.set(Outcome::BackendBroke);
                this.underway.is_whole = true;
            }
            None => this.ended = true,
        }
        if this.ended || this.is_end_stream() {
            this.underway.release();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.shrinking {
            None => self.content.is_end(),
            Some(shrinking) => shrinking.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        if self.shrinking.is_some() { SizeHint::default() } else { self.content.size_hint() }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if self.ended || self.is_end_stream() {
            self.underway.is_whole = true;
        }
        if !self.ended && !self.content.is_end() {
            // The rest of the answer is still on it.
            self.underway.connection = None;
        }
    }
}
