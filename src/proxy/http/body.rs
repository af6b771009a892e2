//! Bodies on their way: counted as they flow, never gathered. The answer's body is also what the request still holds —
//! its lease, its place at the client and the backend's connection — and gives all of it back when it ends.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Instant;

use super::clients::Borrowed;
use crate::model::live::{BackendState, Lease, ListenerState, PoolState};
use crate::model::outcome::Outcome;

/// The body of a request on its way to a backend.
#[derive(Debug, Default)]
pub(super) struct RequestBody(Option<Flow>);

#[derive(Debug)]
struct Flow {
    incoming: Incoming,
    listener: Arc<ListenerState>,
    backend: Option<Arc<BackendState>>,
    moved: Rc<Cell<u64>>,
}

impl RequestBody {
    /// The body that came in on `listener`.
    pub(super) fn new(incoming: Incoming, listener: &Arc<ListenerState>) -> Self {
        if incoming.is_end_stream() {
            return Self(None);
        }
        Self(Some(Flow { incoming, listener: listener.clone(), backend: None, moved: Rc::default() }))
    }

    /// A request without a body.
    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Says to which backend it goes, to be counted there.
    pub(super) fn goes_to(&mut self, backend: &Arc<BackendState>) {
        if let Some(flow) = &mut self.0 {
            flow.backend = Some(backend.clone());
        }
    }

    /// Bytes passed on so far, to be looked at while it is under way elsewhere. `None` when there is no body.
    pub(super) fn moved(&self) -> Option<Rc<Cell<u64>>> {
        self.0.as_ref().map(|flow| flow.moved.clone())
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(flow) = &mut self.0 else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut flow.incoming).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let bytes = length(frame);
            flow.moved.set(flow.moved.get() + bytes);
            flow.listener.moved(bytes, 0);
            if let Some(backend) = &flow.backend {
                backend.sent(bytes);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|flow| flow.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |flow| flow.incoming.size_hint())
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(super) enum ResponseBody {
    /// Made here.
    Own(Option<Bytes>),
    /// A backend's.
    Passed(Passed),
}

/// A backend's body and what its request holds until it ends.
#[derive(Debug)]
pub(super) struct Passed {
    incoming: Incoming,
    ended: bool,
    serving: Serving,
}

/// What a request holds while its answer is under way.
#[derive(Debug)]
pub(super) struct Serving {
    /// Counts bytes to the client.
    pub(super) listener: Arc<ListenerState>,
    /// How the client's connection ended, should the backend break off.
    pub(super) outcome: Rc<Cell<Outcome>>,
    /// Counts the request at its backend.
    pub(super) lease: Lease,
    /// Takes the duration.
    pub(super) pool: Arc<PoolState>,
    /// When the request's head was read.
    pub(super) started: Instant,
    /// The backend's connection; `None` when it became a tunnel.
    pub(super) connection: Option<Borrowed>,
}

impl ResponseBody {
    /// A backend's body.
    pub(super) fn passed(incoming: Incoming, serving: Serving) -> Self {
        Self::Passed(Passed { incoming, ended: false, serving })
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Passed(passed) => passed.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::Passed(passed) => passed.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Passed(passed) => passed.incoming.size_hint(),
        }
    }
}

impl Passed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                let bytes = length(frame);
                self.serving.listener.moved(0, bytes);
                self.serving.lease.state().received(bytes);
            }
            Some(Err(_)) => self.serving.outcome.set(Outcome::BackendBroke),
            None => self.ended = true,
        }
        Poll::Ready(frame)
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        let now = Instant::now();
        self.serving.pool.took(now - self.serving.started);
        if (self.ended || self.incoming.is_end_stream())
            && let Some(connection) = self.serving.connection.take()
        {
            connection.give_back(now);
        }
    }
}

fn length(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| data.len() as u64)
}
