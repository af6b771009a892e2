//! A connection to a backend on which requests that are a head alone are asked, one at a time, by the task of their
//! client: without a task of its own, and without hyper.
//!
//! Theory: nearly every request is a head alone. Through hyper it is handed to another task and its answer handed back,
//! each by a channel and a wake-up, which is a third of all that such a request costs. Here it is written as bytes, which
//! are also what is sent again elsewhere, and the answer is read where it is wanted. Who waits for an answer polls the
//! socket, so nobody else may: a connection belongs to one request until its answer has ended, and only then is given
//! back. While it waits for its next request nobody polls it: what came meanwhile, an end or a word that nobody asked
//! for, is seen when it is taken, without a system call where nothing came.
//!
//! Requests with a body, and those that ask to switch protocols, move both ways at once; they go by hyper, on connections
//! of their own.

use std::cell::Cell;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::task::unconstrained;
use tracing::debug;

use super::body::Cut;
use super::line::Line;
use super::replay::KEPT;
use reply::{Malformed, Reply, Rest, reply};

mod chunks;
mod reply;
mod room;
mod theirs;

pub(super) use theirs::Theirs;

/// The length of most heads, in bytes.
const HEAD: usize = 512;
/// How much is read at once at first, in bytes, …
const ROOM: usize = 8 * 1024;
/// … and at most: with half as much, and as much in TLS, a large answer over TLS costs a third more CPU time.
const MOST: usize = 128 * 1024;
/// How much is read without a final answer, in bytes: a head of the longest kind, and some interim answers.
const UNANSWERED: usize = 256 * 1024;
/// How much more than the answer before took is read at once at first, in bytes.
const SPARE: usize = 1024;

/// A request that is a head alone.
pub(super) struct Plain {
    bytes: Vec<u8>,
    is_head: bool,
    // Room for the fields of the answer.
    fields: Cell<HeaderMap>,
}

impl Plain {
    /// The bytes of a request without a body, in `buffer`. `more` writes fields behind its own.
    pub(super) fn of<B>(request: Request<B>, mut buffer: Vec<u8>, more: impl FnOnce(&HeaderMap, &mut Vec<u8>)) -> Self {
        let (parts, _) = request.into_parts();
        // Not the two as one: of `http://host?x` that has no slash.
        let (path, query) = (parts.uri.path(), parts.uri.query());
        buffer.clear();
        // The first of a connection does not grow it step by step.
        buffer.reserve(HEAD);
        let query = query.map_or(["", ""], |query| ["?", query]);
        for part in [parts.method.as_str(), " ", path, query[0], query[1], " HTTP/1.1\r\n"] {
            buffer.extend_from_slice(part.as_bytes());
        }
        for (name, value) in &parts.headers {
            // No body is framed where none is.
            if !matches!(*name, header::TRANSFER_ENCODING) && (*name != header::CONTENT_LENGTH || value == "0") {
                write_field(&mut buffer, name.as_str(), value);
            }
        }
        more(&parts.headers, &mut buffer);
        buffer.extend_from_slice(b"\r\n");
        let mut fields = parts.headers;
        fields.clear();
        Self { bytes: buffer, is_head: parts.method == Method::HEAD, fields: Cell::new(fields) }
    }

    /// The buffer, for the next.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        if self.bytes.capacity() > KEPT { Vec::new() } else { self.bytes }
    }
}

/// Writes a field as it stands in a head.
pub(super) fn write_field(bytes: &mut Vec<u8>, name: &str, value: &HeaderValue) {
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(b": ");
    bytes.extend_from_slice(value.as_bytes());
    bytes.extend_from_slice(b"\r\n");
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Lost {
    /// Nothing of the request was sent.
    Unsent,
    /// The backend broke off, or sent what is no answer.
    Broke,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Direct {
    line: Line,
    // Read, and not given yet.
    bytes: BytesMut,
    // So many of them hold no end of a head.
    searched: usize,
    // How much is read at once.
    room: usize,
    // How much was read of the answer.
    came: usize,
    // Of the request's bytes.
    sent: usize,
    state: State,
    keeps: bool,
    // Why the body breaks off, to be told next.
    broken: Option<Cut>,
    // Where the body may flow within the kernel.
    siphoned: Option<theirs::Siphoned>,
}

#[derive(Debug)]
enum State {
    /// It may carry a request.
    Idle,
    /// The answer's head has not come.
    Asked,
    /// Its body comes.
    Body(Rest),
    /// It carries nothing more.
    Over,
}

impl Direct {
    /// A fresh connection.
    pub(super) fn new(line: Line) -> Self {
        let bytes = BytesMut::new();
        Self {
            line,
            bytes,
            searched: 0,
            room: ROOM,
            came: 0,
            sent: 0,
            state: State::Idle,
            keeps: true,
            broken: None,
            siphoned: None,
        }
    }

    /// Whether it may carry another request.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Whether it is open and nothing came that nobody asked for. Whatever the task's budget is: of one that has used it
    /// up, every stream says that nothing is there.
    pub(super) fn is_open(&mut self) -> bool {
        let mut probe = [0];
        self.is_idle()
            && match &mut self.line {
                Line::Bare(socket) => {
                    matches!(socket.try_read(&mut probe), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
                }
                Line::Sealed(stream) => {
                    let mut cx = Context::from_waker(Waker::noop());
                    pin!(unconstrained(stream.read(&mut probe))).poll(&mut cx).is_pending()
                }
                Line::Lent => false,
            }
    }

    /// Whether anything came since the last answer ended.
    pub(super) fn has_spoken(&self) -> bool {
        self.came > 0
    }

    /// Sends a request, and reads the head of its answer. Not to be called again once it was ready.
    ///
    /// # Errors
    /// There is none, and the connection is over.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>, plain: &Plain) -> Poll<Result<Response<()>, Lost>> {
        if self.is_idle() {
            (self.state, self.sent) = (State::Asked, 0);
        }
        if let Err(lost) = self.send(cx, &plain.bytes) {
            self.state = State::Over;
            return Poll::Ready(Err(lost));
        }
        loop {
            match self.reply(plain) {
                Ok(None) => {}
                Ok(Some(Reply { head, rest, keeps })) => {
                    self.keeps = keeps && self.sent >= plain.bytes.len();
                    if rest.is_end() {
                        self.end()
                    } else {
                        self.state = State::Body(rest)
                    }
                    return Poll::Ready(Ok(head));
                }
                Err(error) => {
                    debug!(%error, "a backend's head cannot be understood");
                    self.state = State::Over;
                    return Poll::Ready(Err(Lost::Broke));
                }
            }
            if self.came > UNANSWERED {
                debug!("a backend sends interim answers without end");
                self.state = State::Over;
                return Poll::Ready(Err(Lost::Broke));
            }
            if !matches!(ready!(self.poll_more(cx)), Ok(1..)) {
                self.state = State::Over;
                return Poll::Ready(Err(Lost::Broke));
            }
        }
    }

    fn reply(&mut self, plain: &Plain) -> Result<Option<Reply>, Malformed> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let mut fields = plain.fields.take();
        let reply = reply(&mut self.bytes, &mut self.searched, plain.is_head, &mut fields)?;
        if reply.is_none() {
            plain.fields.set(fields);
        }
        Ok(reply)
    }

    /// Writes on. What cannot be written may still be answered, so only an answer's absence says that it broke.
    fn send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Result<(), Lost> {
        while let Some(left) = bytes.get(self.sent..).filter(|left| !left.is_empty()) {
            match Pin::new(&mut self.line).poll_write(cx, left) {
                Poll::Ready(Ok(count @ 1..)) => self.sent += count,
                // Of what TLS was given it may have sent some.
                Poll::Ready(_) if self.sent == 0 && matches!(self.line, Line::Bare(_)) => return Err(Lost::Unsent),
                _ => return Ok(()),
            }
        }
        let _ = Pin::new(&mut self.line).poll_flush(cx);
        Ok(())
    }

    /// Reads more.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let is_first = self.came == 0;
        if is_first {
            self.bytes = room::room(self.room);
        } else if !self.bytes.try_reclaim(self.room) && self.bytes.capacity() - self.bytes.len() < self.room / 4 {
            // Somebody still holds a part of the block. What is left of it is read into first: a body that comes in
            // small pieces would otherwise take a block for each of them.
            self.bytes.reserve(self.room);
        }
        let read = pin!(self.line.read_buf(&mut self.bytes)).poll(cx);
        if read.is_pending() && is_first {
            // What waits holds no buffer.
            room::keep(std::mem::take(&mut self.bytes), self.room);
        }
        let count = ready!(read)?;
        self.came = self.came.saturating_add(count);
        if count >= self.room {
            self.room = (2 * self.room).min(MOST);
        }
        Poll::Ready(Ok(count))
    }

    /// The answer has ended. What waits holds no buffer.
    fn end(&mut self) {
        if let Some(socket) = self.siphoned.take().and_then(theirs::Siphoned::end) {
            self.line = Line::Bare(socket);
        }
        // What came behind it is no answer to anything.
        self.state = if self.keeps && self.bytes.is_empty() { State::Idle } else { State::Over };
        room::keep(std::mem::take(&mut self.bytes), self.room.max(self.came));
        // The next answer is like this one, mostly: then one call reads it. A little more, so that it is seen to be all.
        self.room = self.came.saturating_add(SPARE).clamp(ROOM, MOST);
        self.came = 0;
    }
}

#[cfg(test)]
impl Direct {
    fn socket(&self) -> &tokio::net::TcpStream {
        match &self.line {
            Line::Bare(stream) => stream,
            Line::Sealed(stream) => stream.get_ref().0,
            Line::Lent => panic!("it is lent"),
        }
    }
}

#[cfg(test)]
mod tests;
