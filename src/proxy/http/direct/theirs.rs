//! The body of a backend's answer: as it is read, or within the kernel past us, where it may be siphoned. Must not know
//! what its head said but for how it ends (`reply`), nor what is done with it on the way to the client.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::net::TcpStream;

use super::reply::{Malformed, Rest, Step};
use super::{Direct, MOST, ROOM, State};
use crate::net::siphon::Next;
use crate::proxy::http::body::Cut;
use crate::proxy::http::line::Line;
use crate::proxy::http::watched::Traffic;

/// The body of a backend's answer.
#[derive(Debug)]
pub(in crate::proxy::http) enum Theirs {
    /// As hyper reads it.
    Hyper(Incoming),
    /// What still comes on this connection. While this is held, nobody else reads from it.
    Direct(Rc<RefCell<Direct>>),
    /// It has ended.
    Ended,
}

impl Theirs {
    /// Lets it flow to this client within the kernel, where it can.
    pub(in crate::proxy::http) fn siphon(&self, client: Arc<Traffic>) {
        if let Self::Direct(direct) = self {
            direct.borrow_mut().siphon(client);
        }
    }

    /// The body that comes on a connection, behind a head.
    pub(in crate::proxy::http) fn on(direct: &Rc<RefCell<Direct>>) -> Self {
        let is_coming = matches!(direct.borrow().state, State::Body(_));
        if is_coming { Self::Direct(direct.clone()) } else { Self::Ended }
    }
}

impl Body for Theirs {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match &mut *self {
            Self::Hyper(incoming) => {
                Pin::new(incoming).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Cut::from)))
            }
            Self::Direct(direct) => {
                let frame = ready!(direct.borrow_mut().poll_body(cx));
                let is_coming = matches!(direct.borrow().state, State::Body(_));
                if !is_coming {
                    *self = Self::Ended;
                }
                Poll::Ready(frame)
            }
            Self::Ended => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Hyper(incoming) => incoming.is_end_stream(),
            Self::Direct(_) => false,
            Self::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Hyper(incoming) => incoming.size_hint(),
            Self::Direct(direct) => match &direct.borrow().state {
                State::Body(rest) => rest.exact().map_or_else(SizeHint::default, SizeHint::with_exact),
                _ => SizeHint::with_exact(0),
            },
            Self::Ended => SizeHint::with_exact(0),
        }
    }
}

/// A body that flows by, for this client.
#[derive(Debug)]
pub(super) struct Siphoned {
    client: Arc<Traffic>,
    begun: bool,
}

impl Siphoned {
    fn begin(&mut self, socket: TcpStream, length: u64) {
        self.begun = true;
        self.client.siphon().begin(socket, length);
    }

    /// It has ended: its socket, if that was lent.
    pub(super) fn end(self) -> Option<TcpStream> {
        self.client.siphon().end()
    }
}

impl Drop for Siphoned {
    fn drop(&mut self) {
        if self.begun {
            // What is left of it is nobody's.
            self.client.siphon().end();
        }
    }
}

impl Direct {
    /// Lets the rest of the body flow to this client within the kernel, where it can.
    pub(super) fn siphon(&mut self, client: Arc<Traffic>) {
        if let (State::Body(Rest::Length(_)), Line::Bare(_)) = (&self.state, &self.line) {
            self.siphoned = Some(Siphoned { client, begun: false });
        }
    }

    /// The next of a body that flows by: its bytes, or stand-ins for them. `None`: this one does not.
    fn poll_siphoned(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let (Some(siphoned), State::Body(Rest::Length(left))) = (&mut self.siphoned, &mut self.state) else {
            return Poll::Ready(None);
        };
        if !siphoned.begun {
            match std::mem::replace(&mut self.line, Line::Lent) {
                Line::Bare(socket) => siphoned.begin(socket, *left),
                other => {
                    self.line = other;
                    return Poll::Ready(None);
                }
            }
        }
        let bytes =
            ready!(siphoned.client.siphon().poll_next(cx)).map(|(Next::StandIns(bytes) | Next::Bytes(bytes))| {
                *left = left.saturating_sub(bytes.len() as u64);
                bytes
            });
        Poll::Ready(Some(bytes))
    }

    /// The next frame of the answer's body.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        loop {
            if let Some(why) = self.broken.take() {
                self.state = State::Over;
                return Poll::Ready(Some(Err(why)));
            }
            let State::Body(rest) = &mut self.state else { return Poll::Ready(None) };
            match rest.step(&mut self.bytes) {
                Ok(Step::Data(data)) => {
                    if rest.is_end() {
                        self.end();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(Step::Trailers(trailers)) => {
                    self.end();
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Ok(Step::End) => {
                    self.end();
                    return Poll::Ready(None);
                }
                Ok(Step::More) => {}
                Err(error) => return self.breaks(cx, error),
            }
            match ready!(self.poll_siphoned(cx)) {
                None => {}
                Some(Ok(bytes)) => {
                    if matches!(self.state, State::Body(Rest::Length(0))) {
                        self.end();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Err(error)) => return self.breaks(cx, error),
            }
            let State::Body(rest) = &mut self.state else { return Poll::Ready(None) };
            let until_close = *rest == Rest::UntilClose;
            if let Rest::Length(left) = rest {
                self.room = usize::try_from(*left).unwrap_or(MOST).clamp(ROOM, MOST);
            }
            match ready!(self.poll_more(cx)) {
                Ok(1..) => {}
                Ok(0) if until_close => {
                    self.end();
                    return Poll::Ready(None);
                }
                Ok(0) => return self.breaks(cx, Malformed("it ended early")),
                Err(error) => return self.breaks(cx, error),
            }
        }
    }

    /// The body breaks off. What came of it goes to the client first: told at once, hyper would throw that away.
    fn breaks<T>(&mut self, cx: &Context<'_>, why: impl Into<Cut>) -> Poll<T> {
        self.broken = Some(why.into());
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
