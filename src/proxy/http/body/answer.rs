//! The body of an answer on its way to a client: paced, compressed where that was asked for, counted.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::content::Content;
use super::shrinking::Shrinking;
use super::underway::Underway;
use super::{Cut, length};
use crate::model::outcome::Outcome;
use crate::net::relay::{Pace, Side};
use crate::proxy::http::direct::Theirs;
use crate::proxy::http::streams::Turn;
use crate::proxy::limit::speed::Speed;

/// The body of an answer.
#[derive(Debug)]
pub(in crate::proxy::http) struct ResponseBody {
    content: Content,
    /// Compresses it on its way.
    shrinking: Option<Box<Shrinking>>,
    ended: bool,
    underway: Underway,
    pace: Option<Box<dyn Pace>>,
}

impl ResponseBody {
    /// A body made here, or none.
    pub(in crate::proxy::http) fn own(bytes: Option<Bytes>, underway: Underway) -> Self {
        Self { content: Content::Own(bytes), shrinking: None, ended: false, underway, pace: None }
    }

    /// A backend's body.
    pub(in crate::proxy::http) fn passed(theirs: Theirs, underway: Underway) -> Self {
        let pace = underway.session.speed.as_ref().map(Speed::pace);
        Self { content: Content::Passed(theirs, Bytes::new()), shrinking: None, ended: false, underway, pace }
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
    }

    /// Compresses it from now on.
    pub(in crate::proxy::http) fn shrink(&mut self, shrinking: Shrinking) {
        self.shrinking = Some(Box::new(shrinking));
    }

    /// Makes it the answer to another request, which holds from now on what this one held.
    pub(in crate::proxy::http) fn answers(mut self, mut underway: Underway) -> Self {
        (underway.lease, underway.connection) = (self.underway.lease.take(), self.underway.connection.take());
        self.pace = underway.session.speed.as_ref().map(Speed::pace);
        self.underway = underway;
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
        session.turn.set(Turn::Asked);
        if let Some(pace) = &mut this.pace {
            ready!(pace.allowance(Side::Backend, cx));
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
                session.listener.moved(0, bytes);
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
