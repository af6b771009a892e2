//! Pure. A body compressed on its way: bounded work a turn, and nothing held back while nothing more comes.
//!
//! Theory: a body is a stream of frames. What there is of it is put into the encoder in slices; when nothing more is at
//! hand the encoder is flushed, once, so that the client sees what the backend has said. A large body comes faster than
//! it is compressed, is not flushed then, and loses nothing by it. After [`TURN`] bytes the thread's other connections
//! have theirs.

use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use compression_codecs::brotli::params::EncoderParams;
use compression_codecs::core::Level;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::zstd::params::CParameter;
use compression_codecs::{BrotliEncoder, EncodeV2, GzipEncoder, ZstdEncoder};
use hyper::body::Frame;

use super::Cut;
use crate::model::intent::filter::Coding;

/// Bytes that are compressed at once: some 300 µs of work at the most.
const SLICE: usize = 16 * 1024;
/// Bytes that are compressed before others of the thread have their turn.
const TURN: usize = 64 * 1024;
/// Room for what comes out of an encoder, in bytes, a step.
const STEP: usize = 8 * 1024;

/// The most encoders of one thread; beyond that answers stay as they are. Each has up to about 1 MiB.
const MOST: usize = 128;

/// Compresses one body.
pub(in crate::proxy::http) struct Shrinking {
    encoder: Box<dyn EncodeV2>,
    input: Bytes,
    /// What has come out and is not given yet.
    output: Bytes,
    state: State,
    /// Something went in since the last flush.
    holds: bool,
    /// What this turn had of the thread, in bytes.
    spent: usize,
    _counted: Rc<()>,
}

enum State {
    Open,
    /// All went in; after the rest has come out, these follow.
    Ending(Option<Frame<Bytes>>),
    /// These are left.
    Trailers(Frame<Bytes>),
    Ended,
}

impl fmt::Debug for Shrinking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shrinking").field("holds", &self.holds).finish_non_exhaustive()
    }
}

impl Shrinking {
    /// An encoder, `None` when the thread has too many; `count` is what the thread counts them by.
    ///
    /// Windows of 256 KiB and middling levels: what a proxy has no second chance to cache must be cheap, and pages
    /// are small.
    pub(in crate::proxy::http) fn new(coding: Coding, count: &Rc<()>) -> Option<Self> {
        if Rc::strong_count(count) > MOST {
            return None;
        }
        let encoder: Box<dyn EncodeV2> = match coding {
            Coding::Gzip => Box::new(GzipEncoder::new(Level::Precise(4).into())),
            Coding::Br => {
                let params = EncoderParams::default().quality(Level::Precise(4)).window_size(18).block_size(16);
                Box::new(BrotliEncoder::new(params.text_mode()))
            }
            Coding::Zstd => {
                let bounds = [CParameter::window_log(18), CParameter::hash_log(16), CParameter::chain_log(16)];
                Box::new(ZstdEncoder::new_with_params(3, &bounds))
            }
        };
        let state = State::Open;
        Some(Self {
            encoder,
            input: Bytes::new(),
            output: Bytes::new(),
            state,
            holds: false,
            spent: 0,
            _counted: count.clone(),
        })
    }

    /// The next frame; `next` gives those of the body as it is.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut next: impl FnMut(&mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        loop {
            if !self.output.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(self.output.split_to(self.output.len().min(SLICE))))));
            }
            if !self.input.is_empty() {
                if self.spent >= TURN {
                    self.spent = 0;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let slice = self.input.split_to(self.input.len().min(SLICE));
                self.spent += slice.len();
                self.holds = true;
                match self.run(|encoder, out, done| {
                    let mut input = PartialBuffer::new(&slice[*done..]);
                    encoder.encode(&mut input, out)?;
                    *done += input.written_len();
                    Ok(*done == slice.len())
                }) {
                    Ok(out) if out.is_empty() => continue,
                    out => return self.give(out),
                }
            }
            match &mut self.state {
                State::Open => match next(cx) {
                    Poll::Pending => {
                        self.spent = 0;
                        if !std::mem::take(&mut self.holds) {
                            return Poll::Pending;
                        }
                        match self.run(|encoder, out, _| encoder.flush(out)) {
                            Ok(out) if out.is_empty() => return Poll::Pending,
                            out => return self.give(out),
                        }
                    }
                    Poll::Ready(None) => self.state = State::Ending(None),
                    Poll::Ready(Some(Err(error))) => {
                        self.state = State::Ended;
                        return Poll::Ready(Some(Err(error)));
                    }
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) => self.input = data,
                        Err(trailers) => self.state = State::Ending(Some(trailers)),
                    },
                },
                State::Ending(trailers) => {
                    let trailers = trailers.take();
                    let rest = self.run(|encoder, out, _| encoder.finish(out));
                    self.state = match trailers {
                        Some(trailers) => State::Trailers(trailers),
                        None => State::Ended,
                    };
                    match rest {
                        Ok(out) if out.is_empty() => {}
                        out => return self.give(out),
                    }
                }
                State::Trailers(_) => {
                    let State::Trailers(trailers) = std::mem::replace(&mut self.state, State::Ended) else { continue };
                    return Poll::Ready(Some(Ok(trailers)));
                }
                State::Ended => return Poll::Ready(None),
            }
        }
    }

    /// Whether nothing more comes.
    pub(super) fn is_end(&self) -> bool {
        matches!(self.state, State::Ended) && self.input.is_empty() && self.output.is_empty()
    }

    fn give(&mut self, out: Result<Bytes, Cut>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if out.is_err() {
            (self.state, self.input) = (State::Ended, Bytes::new());
        }
        // In pieces: a client of HTTP/2 is given no more at once.
        Poll::Ready(Some(out.map(|mut out| {
            self.output = out.split_off(out.len().min(SLICE));
            Frame::data(out)
        })))
    }

    /// Takes steps until one says that it was the last: all that came out.
    fn run(
        &mut self,
        mut step: impl FnMut(&mut dyn EncodeV2, &mut WriteBuffer<'_>, &mut usize) -> std::io::Result<bool>,
    ) -> Result<Bytes, Cut> {
        let (mut out, mut done) = (Vec::new(), 0);
        loop {
            let (start, before) = (out.len(), done);
            out.resize(start + STEP, 0);
            let mut room = WriteBuffer::new_initialized(out.get_mut(start..).unwrap_or_default());
            let is_last = step(&mut *self.encoder, &mut room, &mut done)?;
            let written = room.written_len();
            out.truncate(start + written);
            // One that has filled its room may have more.
            if is_last && written < STEP {
                return Ok(out.into());
            }
            if written == 0 && done == before {
                return Err("the encoder takes and gives nothing".into());
            }
        }
    }
}

#[cfg(test)]
mod tests;
