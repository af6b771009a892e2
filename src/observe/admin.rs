//! The admin port: `/livez`, `/readyz`, `/metrics`, `/api/v1/*`, and a page that links them.
//!
//! It reads and never writes, so its guards are few: it listens on loopback or on a unix socket alone, answers only
//! requests that name such a host (a web page whose name was made to point here does not), and bounds connections,
//! their age, heads and pages under way. It goes on answering while the process drains, so that the drain can be seen.

mod address;
mod answer;
mod guard;

pub use address::{Address, AddressError, BindError, Listening, bind};

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Pages;
use crate::drain;

/// Connections at a time; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 64;
/// Pages made at a time: with thousands of pools one takes megabytes and a core for some tens of milliseconds.
const RENDERS: usize = 2;
/// How long a request's head may take, and how long a connection may stay idle.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// The most a head may hold, in bytes.
const HEAD_BYTES: usize = 16 << 10;
/// How old a connection grows before it is asked to end, and how long its last answer may then take.
const CONNECTION_LIFE: Duration = Duration::from_secs(60);
const LAST_ANSWER: Duration = Duration::from_secs(10);
/// The wait after a failed accept, so that a lack of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What connections of one admin port share.
#[derive(Debug)]
struct Desk {
    pages: Arc<Pages>,
    /// A unix socket is out of reach of web pages, so any host may be named there.
    any_host: bool,
    draining: AtomicBool,
    renders: Semaphore,
}

/// Serves the pages until it is dropped, which ends its connections too. The drain does not wait for it: once the
/// drain began, `/readyz` says so and all else goes on.
///
/// # Errors
/// When the socket cannot be handed to the running runtime; a failed accept is logged and tried again.
pub async fn serve(listening: Listening, pages: Arc<Pages>, drain: drain::Watch) -> io::Result<Infallible> {
    let any_host = matches!(listening.address(), Address::Unix(_));
    let (acceptor, _file) = listening.into_acceptor()?;
    let draining = AtomicBool::new(drain.has_begun());
    let desk = Arc::new(Desk { pages, any_host, draining, renders: Semaphore::new(RENDERS) });
    let mut begun = pin!(watch(drain, desk.clone()));
    let mut watching = true;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = &mut begun, if watching => watching = false,
            Some(_) = connections.join_next() => {}
            accepted = acceptor.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok(address::Stream::Tcp(stream)) => drop(connections.spawn(desk.clone().converse(stream))),
                Ok(address::Stream::Unix(stream)) => drop(connections.spawn(desk.clone().converse(stream))),
                Err(error) => {
                    tracing::warn!(%error, "the admin port could not accept a connection; it tries again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// Owns the watch, so that it is let go as soon as the drain began: the drain waits for every one.
async fn watch(drain: drain::Watch, desk: Arc<Desk>) {
    drain.begun().await;
    desk.draining.store(true, Relaxed);
}

impl Desk {
    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(self: Arc<Self>, stream: S) {
        let service = service_fn(|request| {
            let desk = self.clone();
            async move { Ok::<_, Infallible>(desk.answer(&request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        // How a conversation ends is the client's affair: it hears a 4xx or sees the end.
        if timeout(CONNECTION_LIFE, connection.as_mut()).await.is_err() {
            connection.as_mut().graceful_shutdown();
            let _ = timeout(LAST_ANSWER, connection).await;
        }
    }
}
