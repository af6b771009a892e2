//! A request's body that can be sent again from its beginning, as long as little of it went out.
//!
//! An HTTP/2 backend may say that it never began a request (REFUSED_STREAM, GOAWAY) after some of its body was sent, and
//! every gRPC call has a body. So what was read of the client is kept, up to [`KEEP`], until the answer's head came. The
//! body is read by one reader at a time: who begins anew takes it from who read it before.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::body::Limit;
use super::upload::Upload;
use crate::model::intent::Filters;

/// The most that is kept of one body, in bytes.
const KEEP: usize = 64 * 1024;
/// What a frame takes beside its bytes: a client may send them one by one.
const FRAME: usize = 64;
/// Shorter pieces are copied, since each would keep the whole buffer that it was read into. In bytes.
const SHORT: usize = 4096;

/// What is known of a body from outside while it is under way.
#[derive(Clone, Debug)]
pub(super) struct Rewind {
    /// How large it may be.
    pub(super) limit: Option<Limit>,
    /// How it comes.
    pub(super) upload: Rc<Upload>,
    /// What its trailers may not say.
    pub(super) withheld: Option<Arc<Filters>>,
    tape: Rc<Tape>,
}

/// The body, read from its beginning.
#[derive(Debug)]
pub(super) struct Reader {
    tape: Rc<Tape>,
    turn: u32,
    next: usize,
}

#[derive(Debug)]
struct Tape {
    incoming: RefCell<Incoming>,
    kept: RefCell<Vec<Kept>>,
    bytes: Cell<usize>,
    is_whole: Cell<bool>,
    client_broke: Cell<bool>,
    // Whose turn it is to read.
    turn: Cell<u32>,
}

#[derive(Clone, Debug)]
enum Kept {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Rewind {
    /// Keeps a body of which nothing was read.
    pub(super) fn of(incoming: Incoming, limit: Option<Limit>, upload: Rc<Upload>) -> (Self, Reader) {
        let tape = Rc::new(Tape {
            incoming: RefCell::new(incoming),
            kept: RefCell::default(),
            bytes: Cell::new(0),
            is_whole: Cell::new(true),
            client_broke: Cell::new(false),
            turn: Cell::new(0),
        });
        (Self { limit, upload, withheld: None, tape: tape.clone() }, Reader { tape, turn: 0, next: 0 })
    }

    /// The body from its beginning again; `None` when too much of it is gone, or the client broke off.
    pub(super) fn again(&self) -> Option<Reader> {
        let tape = &self.tape;
        if !tape.is_whole.get() || tape.client_broke.get() {
            return None;
        }
        tape.turn.set(tape.turn.get() + 1);
        Some(Reader { tape: tape.clone(), turn: tape.turn.get(), next: 0 })
    }

    /// It will not be sent again.
    pub(super) fn forget(&self) {
        self.tape.is_whole.set(false);
        self.tape.kept.borrow_mut().clear();
    }

    /// Whether the client did not send what it promised.
    pub(super) fn client_broke(&self) -> bool {
        self.tape.client_broke.get()
    }
}

/// A frame, and whether it was read of the client just now.
pub(super) type Read = Option<Result<(Frame<Bytes>, bool), hyper::Error>>;

impl Reader {
    /// Reads on.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Read> {
        let Self { tape, turn, next } = self;
        if *turn != tape.turn.get() {
            return Poll::Ready(None);
        }
        let kept = tape.kept.borrow().get(*next).cloned();
        if let Some(kept) = kept {
            *next += 1;
            return Poll::Ready(Some(Ok((kept.into_frame(), false))));
        }
        let frame = ready!(Pin::new(&mut *tape.incoming.borrow_mut()).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                *next += 1;
                tape.keep(frame);
            }
            Some(Err(_)) => tape.client_broke.set(true),
            None => {}
        }
        Poll::Ready(frame.map(|frame| frame.map(|frame| (frame, true))))
    }

    /// The client sent what it must not.
    pub(super) fn give_up(&self) {
        self.tape.client_broke.set(true);
    }

    /// Whether another reader began anew, and has it now.
    pub(super) fn is_superseded(&self) -> bool {
        self.turn != self.tape.turn.get()
    }

    /// Whether all was read.
    pub(super) fn is_end(&self) -> bool {
        let is_read = self.next >= self.tape.kept.borrow().len();
        self.turn != self.tape.turn.get() || (is_read && self.tape.incoming.borrow().is_end_stream())
    }

    /// What is left, as far as it is known.
    pub(super) fn size_hint(&self) -> SizeHint {
        let kept = self.tape.kept.borrow();
        let ahead: u64 = kept.iter().skip(self.next).map(Kept::len).sum();
        let rest = self.tape.incoming.borrow().size_hint();
        let mut hint = SizeHint::new();
        // The upper bound first: it must not be below the lower.
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(ahead));
        }
        hint.set_lower(rest.lower().saturating_add(ahead));
        hint
    }
}

impl Tape {
    fn keep(&self, frame: &Frame<Bytes>) {
        if !self.is_whole.get() {
            return;
        }
        let Some(kept) = Kept::of(frame) else { return };
        self.bytes.set(self.bytes.get().saturating_add(kept.size()));
        if self.bytes.get() > KEEP {
            self.is_whole.set(false);
            self.kept.borrow_mut().clear();
        } else {
            self.kept.borrow_mut().push(kept);
        }
    }
}

impl Kept {
    fn of(frame: &Frame<Bytes>) -> Option<Self> {
        match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) if data.len() < SHORT => Some(Self::Data(Bytes::copy_from_slice(data))),
            (Some(data), _) => Some(Self::Data(data.clone())),
            (None, Some(trailers)) => Some(Self::Trailers(trailers.clone())),
            (None, None) => None,
        }
    }

    /// What it takes to keep it, in bytes.
    fn size(&self) -> usize {
        FRAME + usize::try_from(self.len()).unwrap_or(usize::MAX - FRAME)
    }

    fn into_frame(self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data),
            Self::Trailers(trailers) => Frame::trailers(trailers),
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Data(data) => data.len() as u64,
            Self::Trailers(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drips_are_kept_at_their_price_and_without_the_buffer_they_came_in() {
        let buffer = Bytes::from(vec![b'x'; KEEP]);
        let kept = Kept::of(&Frame::data(buffer.slice(..1))).unwrap();
        assert!(buffer.is_unique(), "a byte keeps a buffer of {KEEP}");
        assert_eq!((kept.len(), kept.size()), (1, FRAME + 1));
        let kept = Kept::of(&Frame::data(buffer.slice(..SHORT))).unwrap();
        assert!(!buffer.is_unique(), "what is long is not copied");
        assert_eq!(kept.into_frame().into_data().unwrap(), buffer.slice(..SHORT));
    }
}
