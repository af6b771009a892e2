//! HTTP on hyper: one client's connection from its first byte to its last, whatever version is spoken on it.
//!
//! Per request: check the head → decide → pick → send → pass the answer on → record (see `exchange`). A connection that
//! switches protocols is a tunnel from then on, served by the same task.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use super::outcome::of_http;
use super::{Connection, Worker};
use crate::model::host::Host;
use crate::model::intent::ListenerKey;
use crate::model::live::ListenerState;
use crate::model::outcome::Outcome;
use tunnel::Tunnel;

mod answer;
mod body;
mod clients;
mod exchange;
mod fields;
mod forward;
mod head;
mod path;
mod tunnel;

pub(super) use clients::Clients;

/// How long the head of a request may take, and how long a connection may wait for its next request.
const HEAD: Duration = Duration::from_secs(10);
/// The largest head of a request, in bytes; more is answered with 431.
const HEAD_BYTES: usize = 64 * 1024;
/// The most fields of a head; more is answered with 431.
const HEAD_FIELDS: usize = 100;
/// Requests at a time on one HTTP/2 connection.
const STREAMS: u32 = 128;
/// What a client may send ahead on one HTTP/2 stream, in bytes, …
const STREAM_WINDOW: u32 = 256 * 1024;
/// … and on all streams of a connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// A silent HTTP/2 client is asked after this long …
const PING: Duration = Duration::from_secs(30);
/// … and given up when it does not answer within this.
const PONG: Duration = Duration::from_secs(15);

/// What the handshake said.
#[derive(Debug)]
pub(super) struct Tls {
    /// ALPN chose HTTP/2.
    pub(super) h2: bool,
}

/// What all requests of one client connection share.
#[derive(Debug)]
struct Session {
    worker: Rc<Worker>,
    key: ListenerKey,
    listener: Arc<ListenerState>,
    // Made once, so that each request only counts a reference: the client, `http` or `https`, and the port.
    client: HeaderValue,
    proto: HeaderValue,
    port: HeaderValue,
    // The authority of the last request and its host: most clients ask one host again and again.
    host: RefCell<Option<(Box<str>, Host)>>,
    // How the connection ended, if hyper finds nothing wrong.
    outcome: Rc<Cell<Outcome>>,
    tunnel: RefCell<Option<Tunnel>>,
    h2: bool,
}

impl Session {
    fn new(worker: Rc<Worker>, connection: &Connection, tls: Option<&Tls>) -> Self {
        let value = |text: String| HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""));
        Self {
            worker,
            key: connection.key,
            listener: connection.admitted.listener().clone(),
            client: value(connection.peer.ip().to_string()),
            proto: HeaderValue::from_static(if tls.is_some() { "https" } else { "http" }),
            port: value(connection.port.to_string()),
            host: RefCell::default(),
            outcome: Rc::new(Cell::new(Outcome::Done)),
            tunnel: RefCell::default(),
            h2: tls.is_some_and(|tls| tls.h2),
        }
    }
}

/// Serves one connection of an HTTP listener to its end.
pub(super) async fn serve<S>(worker: Rc<Worker>, connection: Connection, stream: S, tls: Option<Tls>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let session = Rc::new(Session::new(worker, &connection, tls.as_ref()));
    let served = match tls {
        Some(Tls { h2: true, .. }) => serve_h2(&session, stream).await,
        _ => serve_h1(&session, stream).await,
    };
    let outcome = match served {
        Ok(()) => match session.tunnel.take() {
            Some(tunnel) => tunnel.run(&session.listener).await,
            None => session.outcome.get(),
        },
        Err(error) => {
            debug!(listener = %connection.key, client = %connection.peer, %error, "connection ended");
            of_http(&error, session.outcome.get())
        }
    };
    connection.admitted.end(outcome);
}

async fn serve_h1<S>(session: &Rc<Session>, stream: S) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(|request| answer(session.clone(), request));
    let serving = http1::Builder::new()
        .half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_headers(HEAD_FIELDS)
        .max_header_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut serving = pin!(serving);
    until_drained(session, serving.as_mut(), http1::UpgradeableConnection::graceful_shutdown).await
}

async fn serve_h2<S>(session: &Rc<Session>, stream: S) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let shared = session.clone();
    let service = service_fn(move |request| answer(shared.clone(), request));
    let serving = http2::Builder::new(OnThisThread)
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    until_drained(session, serving.as_mut(), http2::Connection::graceful_shutdown).await
}

/// Drives a connection; when the process is stopping, it finishes what it has and takes nothing more.
async fn until_drained<C>(session: &Session, mut serving: Pin<&mut C>, finish: fn(Pin<&mut C>)) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut drain = pin!(session.worker.drain.begun());
    let mut draining = false;
    poll_fn(|cx| {
        if !draining && drain.as_mut().poll(cx).is_ready() {
            draining = true;
            finish(serving.as_mut());
        }
        serving.as_mut().poll(cx)
    })
    .await
}

async fn answer(
    session: Rc<Session>,
    request: Request<Incoming>,
) -> Result<hyper::Response<body::ResponseBody>, Infallible> {
    Ok(exchange::serve(&session, request).await)
}

/// Runs the streams of an HTTP/2 connection on the thread of their connection.
#[derive(Clone, Copy, Debug)]
struct OnThisThread;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for OnThisThread {
    fn execute(&self, stream: F) {
        tokio::task::spawn_local(stream);
    }
}
