//! Bodies on their way: counted as they flow, never gathered. The answer's body is also what the request still holds —
//! its lease, its place at the client and the backend's connection — and gives all of it back when it ends.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::CONTENT_TYPE;
use tokio::time::Instant;

use super::clients::Lent;
use super::fields::clean_trailers;
use super::filter::Copying;
use super::rewind::{self, Rewind};
use super::session::Session;
use super::streams::Turn;
use super::upload::Upload;
use crate::model::live::{BackendState, Lease, ListenerState, PoolState};
use crate::model::outcome::Outcome;
use crate::net::relay::{Pace, Side};
use crate::net::wheel::{self, Watch};
use crate::proxy::limit::speed::Speed;
use shrinking::Shrinking;

pub(super) mod shrinking;

/// Why the body of an answer broke off.
pub(super) type Cut = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request on its way to a backend.
#[derive(Debug, Default)]
pub(super) struct RequestBody {
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
}

/// How large a body may be.
#[derive(Clone, Debug)]
pub(super) struct Limit {
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
pub(super) enum BodyError {
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
        Self { source, listener, backend: None, upload, watch: None, flows, pace, limit: None, copying: None }
    }
}

impl RequestBody {
    /// The body of a request of this client.
    pub(super) fn new(incoming: Incoming, session: &Session, headers: &HeaderMap) -> Self {
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
    pub(super) fn kept(bytes: Bytes) -> Self {
        Self { flow: None, kept: Some(bytes).filter(|bytes| !bytes.is_empty()) }
    }

    /// Lets somebody else hear it as it goes on.
    pub(super) fn is_heard_by(&mut self, copying: Copying) {
        if let Some(flow) = &mut self.flow {
            flow.copying = Some(Box::new(copying));
        }
    }

    /// A body from its beginning again; `None` when it cannot be had any more.
    pub(super) fn again(rewind: &Rewind, session: &Session) -> Option<Self> {
        let mut flow = Flow::of(Source::Kept(rewind.again()?), rewind.upload.clone(), session);
        flow.limit = rewind.limit.clone();
        Some(Self { flow: Some(flow), kept: None })
    }

    /// Keeps what will be read of it, so that it can be sent again. Before it is sent; `None` when there is no body.
    pub(super) fn keep(&mut self) -> Option<Rewind> {
        let flow = self.flow.as_mut()?;
        match std::mem::replace(&mut flow.source, Source::Nothing) {
            Source::Client(incoming) => {
                let (rewind, reader) = Rewind::of(incoming, flow.limit.clone(), flow.upload.clone());
                flow.source = Source::Kept(reader);
                Some(rewind)
            }
            other => {
                flow.source = other;
                None
            }
        }
    }

    /// A request without a body.
    pub(super) fn is_none(&self) -> bool {
        self.flow.is_none() && self.kept.is_none()
    }

    /// Breaks it off when it is larger than `most` bytes; the cell says whether it was. `None` when there is no body.
    pub(super) fn limit(&mut self, most: u64) -> Option<Rc<Cell<bool>>> {
        let over: Rc<Cell<bool>> = Rc::default();
        self.flow.as_mut()?.limit = Some(Limit { left: most, over: over.clone() });
        Some(over)
    }

    /// Says to which backend it goes, to be counted there.
    pub(super) fn goes_to(&mut self, backend: &Arc<BackendState>) {
        if let Some(flow) = &mut self.flow {
            flow.backend = Some(backend.clone());
        }
    }

    /// How it comes, to be looked at while it is under way elsewhere. `None` when there is no body.
    pub(super) fn upload(&self) -> Option<Rc<Upload>> {
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

/// The body of an answer.
#[derive(Debug)]
pub(super) struct ResponseBody {
    content: Content,
    /// Compresses it on its way.
    shrinking: Option<Box<Shrinking>>,
    ended: bool,
    underway: Underway,
    pace: Option<Box<dyn Pace>>,
}

#[derive(Debug)]
enum Content {
    Own(Option<Bytes>),
    /// A backend's, and what was read of it and is not given yet.
    Passed(Incoming, Bytes),
}

/// The most that is given to a stream of HTTP/2 at once, in bytes: a client that takes less than this in its time is
/// given up. Frames are no longer than this unless clients ask for it.
const PIECE: usize = 16 * 1024;

/// What a request holds until its answer has ended. It is let go of when the answer's body is dropped, or before that
/// when the client goes away.
#[derive(Debug)]
pub(super) struct Underway {
    session: Rc<Session>,
    started: Instant,
    /// Takes the duration, once a pool was chosen.
    pub(super) pool: Option<Arc<PoolState>>,
    /// Counts the request at its backend.
    pub(super) lease: Option<Lease>,
    /// The backend's connection.
    pub(super) connection: Option<Lent>,
    /// The client got all that there was for it.
    is_whole: bool,
}

impl Underway {
    /// Begins with a request's head.
    pub(super) fn new(session: &Rc<Session>) -> Self {
        session.begin();
        Self {
            session: session.clone(),
            started: Instant::now(),
            pool: None,
            lease: None,
            connection: None,
            is_whole: false,
        }
    }

    /// When the request's head was read.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// The backend has said all: a stream that its client leaves waiting holds nothing of it. A connection of HTTP/1 ends
    /// its answer at once, and reads the clock once for all.
    fn release(&mut self) {
        if self.session.h2.get()
            && let Some(connection) = self.connection.take()
        {
            connection.give_back(Instant::now());
            self.lease = None;
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let now = Instant::now();
        self.session.end(now);
        self.session.judge(self.is_whole);
        if let Some(pool) = &self.pool {
            pool.took(now - self.started);
        }
        if let Some(connection) = self.connection.take() {
            connection.give_back(now);
        }
    }
}

impl ResponseBody {
    /// A body made here, or none.
    pub(super) fn own(bytes: Option<Bytes>, underway: Underway) -> Self {
        Self { content: Content::Own(bytes), shrinking: None, ended: false, underway, pace: None }
    }

    /// A backend's body.
    pub(super) fn passed(incoming: Incoming, underway: Underway) -> Self {
        let pace = underway.session.speed.as_ref().map(Speed::pace);
        Self { content: Content::Passed(incoming, Bytes::new()), shrinking: None, ended: false, underway, pace }
    }

    /// Whether it was made here.
    pub(super) fn is_own(&self) -> bool {
        matches!(self.content, Content::Own(_))
    }

    /// Makes it another one. What the backend still sends is not read, and so its connection is closed.
    pub(super) fn replace(&mut self, bytes: Option<Bytes>) {
        if !self.content.is_end() {
            self.underway.connection = None;
        }
        self.content = Content::Own(bytes);
        self.shrinking = None;
    }

    /// Compresses it from now on.
    pub(super) fn shrink(&mut self, shrinking: Shrinking) {
        self.shrinking = Some(Box::new(shrinking));
    }

    /// Makes it the answer to another request, which holds from now on what this one held.
    pub(super) fn answers(mut self, mut underway: Underway) -> Self {
        (underway.lease, underway.connection) = (self.underway.lease.take(), self.underway.connection.take());
        self.pace = underway.session.speed.as_ref().map(Speed::pace);
        self.underway = underway;
        self
    }

    /// Reads it to nowhere, so that its connection may be used again; of a body that is longer than `most` bytes the
    /// connection is closed.
    pub(super) async fn skip(mut self, most: usize) {
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

impl Content {
    /// The next frame, in `pieces` where it is long.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        pieces: bool,
        lease: Option<&Lease>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let mut frame = match self {
            Self::Own(bytes) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            Self::Passed(_, left) if !left.is_empty() => Some(Ok(Frame::data(left.split_to(PIECE.min(left.len()))))),
            Self::Passed(incoming, left) => match ready!(Pin::new(incoming).poll_frame(cx)) {
                Some(Ok(frame)) if pieces => Some(Ok(frame.map_data(|mut data| {
                    *left = data.split_off(PIECE.min(data.len()));
                    data
                }))),
                frame => frame.map(|frame| frame.map_err(Cut::from)),
            },
        };
        if let Some(Ok(frame)) = &mut frame {
            if let Some(trailers) = frame.trailers_mut() {
                clean_trailers(trailers);
            }
            if let Some(lease) = lease {
                lease.state().gave(length(frame));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::Passed(incoming, left) => left.is_empty() && incoming.is_end_stream(),
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
        match &self.content {
            _ if self.shrinking.is_some() => SizeHint::default(),
            Content::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Content::Passed(incoming, left) => longer(incoming.size_hint(), left.len() as u64),
        }
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

fn longer(hint: SizeHint, by: u64) -> SizeHint {
    let mut longer = SizeHint::new();
    longer.set_lower(hint.lower().saturating_add(by));
    if let Some(upper) = hint.upper() {
        longer.set_upper(upper.saturating_add(by));
    }
    longer
}

fn length(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| data.len() as u64)
}
