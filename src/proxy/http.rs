//! HTTP on hyper: one client's connection from its first byte to its last, whatever version is spoken on it.
//!
//! Per request: check the head → decide → pick → send → pass the answer on → record (see `exchange`). A connection that
//! switches protocols is a tunnel from then on, served by the same task.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tracing::debug;

use super::outcome::of_http;
use super::{Connection, Worker};
use crate::model::outcome::Outcome;
use crate::model::tls::Names;
use crate::net::h2_frames::PREFACE;
use crate::net::proxy_protocol;
use aside::Aside;
use begun::Begun;
use body::ResponseBody;
use guarded::Guarded;
use patience::{Patience, Turn};
use rest::Resting;
use session::Session;
use streams::Streams;
use watched::Watched;

mod affinity;
mod answer;
mod aside;
mod begun;
mod body;
mod calm;
mod clients;
mod direct;
mod exchange;
mod fields;
mod filter;
mod forward;
mod forwarded;
mod gathered;
mod guarded;
mod head;
mod line;
mod linger;
mod path;
mod patience;
mod raw;
mod replay;
mod rest;
mod rewind;
mod session;
mod streams;
mod transport;
mod trunks;
mod tunnel;
mod upload;
mod version;
mod watched;

pub(super) use clients::Clients;
pub(super) use filter::Mirrors;
pub(super) use transport::Transport;

/// The largest head of a request, in bytes; more is answered with 431. So are more than hyper's 100 fields: naming that
/// number here would cost it a filled array a request.
const HEAD_BYTES: usize = 64 * 1024;
/// The most that is read ahead of what the other side takes, in bytes, per connection.
const BUFFER: usize = 128 * 1024;
/// The most that waits to be sent on one HTTP/2 stream, in bytes: what a client that never reads makes us hold is this
/// and two buffers, times its streams.
const STREAM_BUFFER: usize = 64 * 1024;
/// Requests at a time on one HTTP/2 connection.
const STREAMS: u32 = 100;
/// What a client may send ahead on one HTTP/2 stream, in bytes, …
const STREAM_WINDOW: u32 = 256 * 1024;
/// … and on all streams of a connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Streams of one HTTP/2 connection that h2 resets itself because the client broke a rule on them, in the connection's
/// whole life. Those that a client opens beyond [`STREAMS`] before it knows that number are among them.
const FAULTS: usize = 1024;
/// A silent HTTP/2 client is asked after this long …
const PING: Duration = Duration::from_secs(30);
/// … and given up when it does not answer within this.
const PONG: Duration = Duration::from_secs(15);

/// The answer to a head that takes too long.
const SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 32\r\n\
    connection: close\r\n\r\n408 the request came too slowly\n";

/// The answer to HTTP/2 where it cannot begin.
const MISPLACED: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 68\r\n\
    connection: close\r\n\r\n400 HTTP/2 begins with the first words of a connection in the clear\n";

/// What the handshake said.
#[derive(Debug)]
pub(super) struct Tls {
    /// ALPN chose HTTP/2.
    pub(super) h2: bool,
    /// The server name that the client asked for.
    pub(super) name: Option<Box<str>>,
    /// Which hosts may be asked for on a connection for that name; `None`: all.
    pub(super) names: Option<Arc<Names>>,
    /// What backends are told of the client's certificate, in fields.
    pub(super) fields: Option<Rc<[(HeaderName, HeaderValue)]>>,
    /// The common name in the client's certificate, where backends are told of it.
    pub(super) common_name: Option<Box<str>>,
    /// What else of it backends may be told.
    pub(super) told: Option<proxy_protocol::Tls>,
}

/// Serves one connection of an HTTP listener to its end.
pub(super) async fn serve<S: Transport>(worker: Rc<Worker>, connection: Connection, stream: S, tls: Option<Tls>) {
    let h2 = tls.as_ref().is_some_and(|tls| tls.h2);
    let ends = connection.ends(|| stream.local());
    let session = Rc::new(Session::new(worker, &connection, ends, tls));
    // In a box, so that HTTP/1 does not hold the room for it.
    let end = if h2 { Box::pin(serve_h2(&session, stream)).await } else { serve_h1(&session, stream).await };
    let outcome = match end {
        End::Served(Ok(())) => match session.tunnel.take() {
            // In a box, like HTTP/2.
            Some(tunnel) => Box::pin(tunnel.run(&session)).await,
            None => session.outcome.get(),
        },
        End::Served(Err(error)) => {
            debug!(listener = %connection.key, client = %connection.peer, %error, "connection ended");
            of_http(&error, session.outcome.get())
        }
        End::Silent(outcome) => outcome,
    };
    session.worker.thrift.let_go();
    connection.admitted.end(outcome);
}

/// How hyper's part of a connection ended.
enum End {
    Served(hyper::Result<()>),
    /// The client was silent for too long.
    Silent(Outcome),
}

async fn serve_h1<S: Transport>(session: &Rc<Session>, stream: S) -> End {
    let stream = Watched::following_heads(stream);
    session.watch(stream.traffic());
    let patience = Patience::new(session, stream.traffic(), true);
    let begin = |line| {
        http1::Builder::new()
            .half_close(true)
            .max_buf_size(BUFFER)
            .max_header_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(line), service_fn(|request| answer(session.clone(), request)))
            .with_upgrades()
    };
    let finish = http1::UpgradeableConnection::graceful_shutdown;
    let mut serving = Resting::new(stream, begin, finish, |serving| {
        serving.into_parts().map(|parts| parts.io.into_inner().again(parts.read_buf))
    });
    let steps = Steps { finish: Resting::finish, is_awake: Resting::is_awake, rest: Resting::rest };
    let end = drive(session, &mut serving, patience, steps).await;
    let left = || serving.into_stream().map(|(read, watched)| (read, watched.read(), watched.stream));
    match &end {
        End::Served(Err(error)) => match left() {
            // HTTP/1.0 ends a body with the connection: only a reset tells a broken one from a whole one.
            Some((_, _, stream)) if session.outcome.get() == Outcome::BackendBroke => stream.abort_on_close(),
            // Nothing else may be answered in the middle of an answer, whatever the client said behind its request.
            Some(left) if error.is_parse() && left.0.starts_with(PREFACE) => {
                if let Some(end) = Box::pin(prior_knowledge(session, left)).await {
                    return end;
                }
            }
            _ => {}
        },
        End::Silent(Outcome::SlowHead) => {
            if let Some((_, _, stream)) = left() {
                Box::pin(last_words(stream, SLOW)).await;
            }
        }
        End::Served(Ok(())) if session.lingers.get() => {
            if let Some((_, _, stream)) = left() {
                // In a box, for it reads into room of its own.
                Box::pin(linger::linger(stream)).await;
            }
        }
        _ => {}
    }
    end
}

/// Serves HTTP/2 by prior knowledge (RFC 9113 §3.3): hyper answers nothing to its first words, and gives them back. It
/// does so too where they are not the first, even behind a request that it refuses: `None` then. `read` of the stream
/// were these bytes, of so many in all.
async fn prior_knowledge<S: Transport>(
    session: &Rc<Session>,
    (read, in_all, stream): (bytes::Bytes, u64, S),
) -> Option<End> {
    if in_all == read.len() as u64 && session.proto == "http" {
        session.h2.set(true);
        return Some(serve_h2(session, Begun::new(read, stream)).await);
    }
    last_words(stream, MISPLACED).await;
    None
}

/// Says these bytes before the end, for as long as a moment: who was that slow may not take them either.
async fn last_words<S: Transport>(mut stream: S, words: &[u8]) {
    let _ = timeout(Duration::from_secs(1), stream.write_all(words)).await;
}

async fn serve_h2<S: Transport>(session: &Rc<Session>, stream: S) -> End {
    let stream = Watched::new(stream);
    let traffic = stream.traffic();
    let patience = Patience::new(session, traffic.clone(), false);
    let streams = Streams::of(session.clone(), traffic.clone());
    let shut = session.shut.get_or_init(Rc::default);
    let (stream, turns) = gathered::gathered(stream);
    let stream = Guarded::new(stream, session.clone());
    // In a box, for a stream's task is handed on by copies.
    let service = service_fn(|request| Box::pin(answer(session.clone(), request)));
    let mut serving = http2::Builder::new(streams)
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_send_buf_size(STREAM_BUFFER)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEAD_BYTES as u32)
        .max_local_error_reset_streams(FAULTS)
        .max_pending_accept_reset_streams(STREAMS as usize)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .serve_connection(TokioIo::new(stream), service);
    let finish = |serving: &mut http2::Connection<_, _, _>| Pin::new(serving).graceful_shutdown();
    let steps = Steps { finish, is_awake: |_| false, rest: |_| {} };
    let mut driving = pin!(drive(session, &mut serving, patience, steps));
    let end = poll_fn(|cx| {
        let driven = driving.as_mut().poll(cx);
        turns.end(cx);
        shut.follow(traffic.is_blocked());
        driven
    })
    .await;
    // Streams that wait are not to wait for ever.
    shut.follow(false);
    end
}

/// What a connection can be told while it is driven.
struct Steps<C> {
    /// To take nothing more.
    finish: fn(&mut C),
    /// Whether it could rest.
    is_awake: fn(&C) -> bool,
    /// To rest.
    rest: fn(&mut C),
}

/// Drives a connection until it ends or its client was silent for too long. When the process is stopping, it finishes
/// what it has and takes nothing more.
async fn drive<C>(session: &Session, serving: &mut C, mut patience: Patience, steps: Steps<C>) -> End
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    let drain = pin!(session.worker.drain.begun());
    let mut drain = Some(Aside::new(drain));
    let mut worn = false;
    poll_fn(|cx| {
        if drain.as_mut().is_some_and(|drain| drain.poll(cx).is_ready()) {
            drain = None;
            (steps.finish)(serving);
        }
        // An HTTP/1 client is told in its last answer.
        if session.h2.get() && !worn && session.is_worn() {
            worn = true;
            (steps.finish)(serving);
        }
        loop {
            if let Poll::Ready(served) = Pin::new(&mut *serving).poll(cx) {
                return Poll::Ready(End::Served(served));
            }
            match patience.poll(cx, session, (steps.is_awake)(serving)) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Turn::End(outcome)) => return Poll::Ready(End::Silent(outcome)),
                Poll::Ready(Turn::Rest) => {
                    (steps.rest)(serving);
                    session.rest();
                }
            }
        }
    })
    .await
}

async fn answer(session: Rc<Session>, request: Request<Incoming>) -> Result<Response<ResponseBody>, Infallible> {
    let is_old = request.version() == Version::HTTP_10;
    let mut answer = exchange::serve(&session, request).await;
    if !session.h2.get() && session.is_worn() && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if is_old {
        end_if_it_must(&mut answer);
    }
    Ok(answer)
}

/// Has the connection of an HTTP/1.0 client end with an answer that says so, or whose body only that can end. To one
/// that asks to keep it hyper would promise so in either case, unless the answer is of that version too.
fn end_if_it_must(answer: &mut Response<ResponseBody>) {
    if answer.body().size_hint().exact().is_none() || answer.headers().contains_key(header::CONNECTION) {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        *answer.version_mut() = Version::HTTP_10;
    }
}

#[cfg(test)]
mod tests;
