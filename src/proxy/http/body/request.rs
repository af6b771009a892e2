//! The body of a request on its way to a backend: limited, paced, watched for slowness, and kept where it may have to be
//! sent again.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::CONTENT_TYPE;

use super::length;
use crate::model::intent::Filters;
use crate::model::live::{BackendState, ListenerState};
use crate::net::relay::{Pace, Side};
use crate::net::wheel::{self, Watch};
use crate::proxy::http::fields::clean_trailers;
use crate::proxy::http::filter::{Copying, take_away};
use crate::proxy::http::rewind::{self, Rewind};
use crate::proxy::http::session::Session;
use crate::proxy::http::upload::Upload;
use crate::proxy::limit::speed::Speed;

/// The body of a request on its way to a backend.
#[derive(Debug, Default)]
pub(in crate::proxy::http) struct RequestBody {
    flow: Option<Flow>,
    /// All of it, where it is a copy.
    kept: Option<Bytes>,
}

#[derive(Debug)]
struct Flow {
    source: Source,
    listener: Arc<ListenerState>,
    backend: Option<Arc<BackendState>>,
    upload: Rc<Upload>,
    watch: Option<Watch>,
    flows: Rc<Cell<bool>>,
    pace: Option<Box<dyn Pace>>,
    /// Hears it too.
    copying: Option<Box<Copying>>,
    limit: Option<Limit>,
    /// Whose fields of forward auth its trailers may not have.
    withheld: Option<Arc<Filters>>,
}

/// How large a body may be.
#[derive(Clone, Debug)]
pub(in crate::proxy::http) struct Limit {
    left: u64,
    // Whether it was larger.
    over: Rc<Cell<bool>>,
}

impl Limit {
    fn takes(&mut self, bytes: u64) -> bool {
        let left = self.left.checked_sub(bytes);
        self.over.set(left.is_none());
        self.left = left.unwrap_or_default();
        left.is_some()
    }
}

/// Why a request's body ends before its end.
#[derive(Debug, thiserror::Error)]
pub(in crate::proxy::http) enum BodyError {
    /// The client's connection broke, or what came on it was wrong.
    #[error(transparent)]
    Broken(#[from] hyper::Error),
    /// It is larger than its route takes.
    #[error("the request's body is too large")]
    TooLarge,
    /// It came too slowly.
    #[error("the request's body came too slowly")]
    Slow,
}

/// Where the bytes come from.
#[derive(Debug)]
enum Source {
    /// The client.
    Client(Incoming),
    /// The client, or what is kept of what it sent before.
    Kept(rewind::Reader),
    /// Nowhere.
    Nothing,
}

impl Source {
    /// The next frame, and whether it came of the client just now.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<rewind::Read> {
        match self {
            Self::Client(incoming) => {
                Pin::new(incoming).poll_frame(cx).map(|frame| frame.map(|frame| frame.map(|frame| (frame, true))))
            }
            Self::Kept(reader) => reader.poll(cx),
            Self::Nothing => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Client(incoming) => incoming.size_hint(),
            Self::Kept(reader) => reader.size_hint(),
            Self::Nothing => SizeHint::with_exact(0),
        }
    }

    /// It is wrong, and so the client's doing that it ends.
    fn give_up(&self) {
        if let Self::Kept(reader) = self {
            reader.give_up();
        }
    }

    /// Whether it is read from its beginning again, elsewhere.
    fn is_superseded(&self) -> bool {
        matches!(self, Self::Kept(reader) if reader.is_superseded())
    }

    fn is_end(&self) -> bool {
        match self {
            Self::Client(incoming) => incoming.is_end_stream(),
            Self::Kept(reader) => reader.is_end(),
            Self::Nothing => true,
        }
    }
}

impl Flow {
    fn of(source: Source, upload: Rc<Upload>, session: &Session) -> Self {
        let flows = Rc::new(Cell::new(true));
        session.upload(flows.clone());
        let listener = session.listener.clone();
        let pace = session.speed.as_ref().map(Speed::pace);
        Self {
            source,
            listener,
            backend: None,
            upload,
            watch: None,
            flows,
            pace,
            limit: None,
            copying: None,
            withheld: None,
        }
    }
}

impl RequestBody {
    /// The body of a request of this client.
    pub(in crate::proxy::http) fn new(incoming: Incoming, session: &Session, headers: &HeaderMap) -> Self {
        if incoming.is_end_stream() {
            return Self::default();
        }
        let upload = Rc::new(Upload::new(session.limits.body));
        if headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
            upload.unhurried();
        }
        Self { flow: Some(Flow::of(Source::Client(incoming), upload, session)), kept: None }
    }

    /// A body that is here already.
    pub(in crate::proxy::http) fn kept(bytes: Bytes) -> Self {
        Self { flow: None, kept: Some(bytes).filter(|bytes| !bytes.is_empty()) }
    }

    /// Lets somebody else hear it as it goes on.
    pub(in crate::proxy::http) fn is_heard_by(&mut self, copying: Copying) {
        if let Some(flow) = &mut self.flow {
            flow.copying = Some(Box::new(copying));
        }
    }

    /// A body from its beginning again; `None` when it cannot be had any more.
    pub(in crate::proxy::http) fn again(rewind: &Rewind, session: &Session) -> Option<Self> {
        let mut flow = Flow::of(Source::Kept(rewind.again()?), rewind.upload.clone(), session);
        flow.limit = rewind.limit.clone();
        flow.withheld = rewind.withheld.clone();
        Some(Self { flow: Some(flow), kept: None })
    }

    /// Keeps what will be read of it, so that it can be sent again. Before it is sent; `None` when there is no body.
    pub(in crate::proxy::http) fn keep(&mut self) -> Option<Rewind> {
        let flow = self.flow.as_mut()?;
        match std::mem::replace(&mut flow.source, Source::Nothing) {
            Source::Client(incoming) => {
                let (mut rewind, reader) = Rewind::of(incoming, flow.limit.clone(), flow.upload.clone());
                flow.source = Source::Kept(reader);
                rewind.withheld = flow.withheld.clone();
                Some(rewind)
            }
            other => {
                flow.source = other;
                None
            }
        }
    }

    /// A request without a body.
    pub(in crate::proxy::http) fn is_none(&self) -> bool {
        self.flow.is_none() && self.kept.is_none()
    }

    /// Breaks it off when it is larger than `most` bytes; the cell says whether it was. `None` when there is no body.
    pub(in crate::proxy::http) fn limit(&mut self, most: u64) -> Option<Rc<Cell<bool>>> {
        let over: Rc<Cell<bool>> = Rc::default();
        self.flow.as_mut()?.limit = Some(Limit { left: most, over: over.clone() });
        Some(over)
    }

    /// Keeps from its trailers what forward auth may say of the client: a backend might merge them into its fields.
    pub(in crate::proxy::http) fn withhold(&mut self, filters: &Arc<Filters>) {
        if let Some(flow) = &mut self.flow {
            flow.withheld = Some(filters.clone());
        }
    }

    /// Says to which backend it goes, to be counted there.
    pub(in crate::proxy::http) fn goes_to(&mut self, backend: &Arc<BackendState>) {
        if let Some(flow) = &mut self.flow {
            flow.backend = Some(backend.clone());
        }
    }

    /// How it comes, to be looked at while it is under way elsewhere. `None` when there is no body.
    pub(in crate::proxy::http) fn upload(&self) -> Option<Rc<Upload>> {
        self.flow.as_ref().map(|flow| flow.upload.clone())
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Some(flow) = &mut this.flow else {
            return Poll::Ready(this.kept.take().map(|bytes| Ok(Frame::data(bytes))));
        };
        if let Some(pace) = &mut flow.pace {
            ready!(pace.allowance(Side::Client, cx));
        }
        let Poll::Ready(mut frame) = flow.source.poll(cx) else {
            return flow.awaits(cx);
        };
        if let Some(Ok((frame, is_new))) = &mut frame {
            if let Some(trailers) = frame.trailers_mut() {
                clean_trailers(trailers);
                if let Some(asked) = flow.withheld.as_ref().and_then(|filters| filters.forward_auth.as_ref()) {
                    take_away(asked, trailers);
                }
            }
            let bytes = length(frame);
            if flow.limit.as_mut().is_some_and(|limit| !limit.takes(bytes)) {
                flow.flows.set(false);
                flow.source.give_up();
                return Poll::Ready(Some(Err(BodyError::TooLarge)));
            }
            flow.upload.passed(bytes);
            if let Some(pace) = &mut flow.pace {
                pace.spent(Side::Client, bytes as usize);
            }
            if let (Some(copying), Some(data)) = (&mut flow.copying, frame.data_ref())
                && !copying.hears(data)
            {
                flow.copying = None;
            }
            if *is_new {
                flow.listener.moved(bytes, 0);
            }
            if let Some(backend) = &flow.backend {
                backend.sent(bytes);
            }
        }
        if frame.is_none() || flow.source.is_end() {
            flow.flows.set(false);
            // What somebody else reads now does not end here.
            let is_end = !matches!(frame, Some(Err(_))) && !flow.source.is_superseded();
            if let Some(copying) = flow.copying.take_if(|_| is_end) {
                copying.ends();
            }
        }
        Poll::Ready(frame.map(|frame| frame.map(|(frame, _)| frame).map_err(BodyError::Broken)))
    }

    fn is_end_stream(&self) -> bool {
        self.kept.is_none() && self.flow.as_ref().is_none_or(|flow| flow.source.is_end())
    }

    fn size_hint(&self) -> SizeHint {
        let kept = self.kept.as_ref().map_or(0, |bytes| bytes.len() as u64);
        self.flow.as_ref().map_or_else(|| SizeHint::with_exact(kept), |flow| flow.source.size_hint())
    }
}

impl Flow {
    /// The backend wants more than has come.
    fn awaits(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.upload.is_slow() {
            return Poll::Ready(Some(Err(BodyError::Slow)));
        }
        if self.upload.is_hurried() {
            self.upload.awaits(cx);
            if self.watch.is_none() {
                let now = wheel::now();
                self.watch = Some(wheel::watch(self.upload.clone(), now, self.upload.begin(now)));
            }
        }
        Poll::Pending
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.flows.set(false);
    }
}
