//! Where the bytes of an answer come from.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::{Cut, length};
use crate::model::live::Lease;
use crate::proxy::http::direct::Theirs;
use crate::proxy::http::fields::clean_trailers;

/// What there is still to come of an answer's body.
#[derive(Debug)]
pub(super) enum Content {
    /// Made here.
    Own(Option<Bytes>),
    /// A backend's, and what was read of it and is not given yet.
    Passed(Theirs, Bytes),
}

/// The most that is given to a stream of HTTP/2 at once, in bytes: a client that takes less than this in its time is
/// given up. Frames are no longer than this unless clients ask for it.
const PIECE: usize = 16 * 1024;

/// What is shorter than this is copied for a stream of HTTP/2, in bytes. It waits there until the client takes it, as
/// many pieces as fit into the stream's buffer, and each would hold the whole block that it was read into: a page of
/// memory at least for a few bytes, whoever read it.
pub(super) const SHORT: usize = 2 * 1024;

impl Content {
    /// The next frame, in `pieces` where it is long.
    pub(super) fn poll(
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
                    if data.len() < SHORT { Bytes::copy_from_slice(&data) } else { data }
                }))),
                frame => frame,
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

    /// Whether all was given.
    pub(super) fn is_end(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::Passed(incoming, left) => left.is_empty() && incoming.is_end_stream(),
        }
    }

    /// How much is still to come, as far as it is known.
    pub(super) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Passed(incoming, left) => longer(incoming.size_hint(), left.len() as u64),
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
