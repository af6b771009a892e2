//! Fresh connections to a backend: connect, PROXY protocol header, TLS, and the first words of HTTP.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::{debug, warn};

use super::{Failure, RequestBody, Session};
use crate::model::blame::Fault;
use crate::model::snapshot::{BackendPlan, PoolPlan};
use crate::model::speech::{SpeechPlan, TlsDial};
use crate::net::socket;
use crate::proxy::http::line::Line;
use crate::proxy::http::trunks::{SEATS, Seat, Turn};
use crate::proxy::http::{BUFFER, HEAD_BYTES, STREAM_BUFFER};
use crate::proxy::{announce, connect};

/// What a backend may send ahead on one stream, in bytes. All streams of a connection together may have as much each, so
/// that a client that takes nothing never stops the others that share it.
const STREAM_WINDOW: u32 = 128 * 1024;
/// A connection on which nothing came for this long while requests are under way is asked whether the backend still
/// lives. gRPC servers end connections that ask more often than every five minutes; a machine that is gone is noticed
/// long before by the kernel, which asks every connection by itself.
const PING: Duration = Duration::from_secs(310);
/// And given up when there is no answer within this.
const PONG: Duration = Duration::from_secs(20);

/// Runs what belongs to an HTTP/2 connection on the thread of the connection.
#[derive(Clone, Copy, Debug)]
struct OnThisThread;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for OnThisThread {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

/// Opens a connection for one HTTP/1.1 request at a time.
pub(super) async fn http1(
    session: &Session,
    pool: &PoolPlan,
    backend: &BackendPlan,
) -> Result<http1::SendRequest<RequestBody>, Failure> {
    match line(session, pool, backend).await? {
        Line::Bare(stream) => greet(stream).await,
        Line::Sealed(stream) => greet(*stream).await,
        // A fresh one is not.
        Line::Lent => Err(Failure::Broke),
    }
}

/// Opens a connection on which HTTP/1.1 is spoken.
pub(super) async fn line(session: &Session, pool: &PoolPlan, backend: &BackendPlan) -> Result<Line, Failure> {
    match &pool.speech {
        None => Ok(Line::Bare(reach(session, pool, backend).await?)),
        Some(speech) => sealed(session, pool, backend, speech).await,
    }
}

async fn reach(session: &Session, pool: &PoolPlan, backend: &BackendPlan) -> Result<TcpStream, Failure> {
    let Ok(stream) = connect::dial(pool, backend).await else { return Err(Failure::Connect) };
    // It will wait for other requests.
    socket::keep_alive(&stream);
    if let Some(version) = pool.intent.send_proxy
        && announce::send(&stream, version, &session.told, true).is_err()
    {
        return Err(Failure::Broke);
    }
    Ok(stream)
}

async fn greet<S>(stream: S) -> Result<http1::SendRequest<RequestBody>, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let shaken = http1::Builder::new().max_buf_size(BUFFER).handshake(TokioIo::new(stream)).await;
    let (sender, connection) = shaken.map_err(|_| Failure::Broke)?;
    // Its errors come to the request that it carries; one that waits just ends. It ends at the latest with its sender.
    tokio::task::spawn_local(connection.with_upgrades());
    Ok(sender)
}

/// Opens a trunk in `turn` and gives the first seat on it.
pub(super) async fn trunk(
    session: &Session,
    pool: &PoolPlan,
    backend: &BackendPlan,
    speech: &SpeechPlan,
    turn: Turn,
) -> Result<Seat, Failure> {
    let line = match sealed(session, pool, backend, speech).await {
        Ok(line) => line,
        Err(failure) => {
            turn.fail();
            return Err(failure);
        }
    };
    let turn = Rc::new(RefCell::new(Some(turn)));
    let heard = Heard { line, turn: turn.clone() };
    let shaken = http2::Builder::new(OnThisThread)
        .timer(TokioTimer::new())
        // Until the backend has said how many it takes: the one that opened it.
        .initial_max_send_streams(1)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW * SEATS as u32)
        .max_send_buf_size(STREAM_BUFFER)
        .max_header_list_size(HEAD_BYTES as u32)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .handshake(TokioIo::new(heard))
        .await;
    let (sender, connection) = shaken.map_err(|_| Failure::Broke)?;
    let connection = Rc::new(RefCell::new(Some(connection)));
    let driven = connection.clone();
    tokio::task::spawn_local(poll_fn(move |cx| {
        let mut driven = driven.borrow_mut();
        let Some(running) = driven.as_mut() else { return Poll::Ready(()) };
        // Its errors come to the requests that it carries.
        let _ = ready!(Pin::new(running).poll(cx));
        // So that its sender knows.
        *driven = None;
        Poll::Ready(())
    }));
    let takes = move || {
        let connection = connection.try_borrow();
        connection.ok().and_then(|c| c.as_ref().map(http2::Connection::current_max_send_streams)).unwrap_or(0)
    };
    let now = Instant::now();
    let seat = turn.borrow().as_ref().map(|turn| turn.opened(sender, Box::new(takes), now));
    // The turn ends only where the connection did already.
    seat.ok_or(Failure::Broke)
}

/// Connects, and seals the connection where that is asked for. A handshake that fails counts like a connect that does.
async fn sealed(
    session: &Session,
    pool: &PoolPlan,
    backend: &BackendPlan,
    speech: &SpeechPlan,
) -> Result<Line, Failure> {
    let tls = match &speech.tls {
        None => return Ok(Line::Bare(reach(session, pool, backend).await?)),
        Some(Ok(tls)) => tls,
        // Never in the clear; the problem was told when it was compiled.
        Some(Err(_)) => return Err(Failure::Connect),
    };
    let until = Instant::now() + pool.intent.timeouts.connect;
    let stream = reach(session, pool, backend).await?;
    match timeout_at(until, shake(tls, backend, speech.http2(), stream)).await {
        Ok(Ok(stream)) => {
            speech.shook(true);
            Ok(Line::Sealed(Box::new(stream)))
        }
        Ok(Err(error)) => Err(unsealed(pool, backend, speech, &error)),
        Err(_) => Err(unsealed(pool, backend, speech, &"it took longer than the connect timeout")),
    }
}

fn unsealed(pool: &PoolPlan, backend: &BackendPlan, speech: &SpeechPlan, error: &dyn std::fmt::Display) -> Failure {
    backend.state.connect_failed();
    pool.blame(backend, Fault::Refused);
    // The first one, for people; the rest would fill the log.
    if speech.shook(false) {
        warn!(pool = %pool.name, backend = %backend.address, %error, "the TLS handshake with a backend failed");
    } else {
        debug!(pool = %pool.name, backend = %backend.address, %error, "the TLS handshake with a backend failed");
    }
    Failure::Connect
}

async fn shake(
    tls: &TlsDial,
    backend: &BackendPlan,
    http2: bool,
    stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    let name = tls.name.clone().unwrap_or_else(|| ServerName::from(backend.address.ip()));
    let stream = TlsConnector::from(tls.config.clone()).connect(name, stream).await?;
    if http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(io::Error::other("it does not offer HTTP/2 (ALPN h2)"));
    }
    Ok(stream)
}

/// A line that ends the turn of who opened it when the backend speaks, or when it is closed.
struct Heard {
    line: Line,
    turn: Rc<RefCell<Option<Turn>>>,
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.turn.take();
    }
}

impl AsyncRead for Heard {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.line).poll_read(cx, into);
        if into.filled().len() > before && self.turn.borrow().is_some() {
            // Who waits is woken, and runs after what was read has been understood.
            self.turn.take();
        }
        read
    }
}

impl AsyncWrite for Heard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.line).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.line).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.line.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_shutdown(cx)
    }
}
