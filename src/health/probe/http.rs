//! `GET` and the status of its answer, over whatever carries it.

use std::net::SocketAddr;
use std::pin::pin;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// The most of a head that is held.
const BUFFER: usize = 16 * 1024;

/// Whether the answer's status is from 200 to 399.
pub(super) async fn check<S>(stream: S, address: SocketAddr, path: &str, host: Option<&str>) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let host = host.map_or_else(|| address.to_string(), str::to_owned);
    match status(stream, path, &host).await? {
        status if status.is_success() || status.is_redirection() => Ok(()),
        status => Err(format!("GET {path} answered {status}, not 200 to 399")),
    }
}

async fn status<S>(stream: S, path: &str, host: &str) -> Result<StatusCode, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let broke = |error: hyper::Error| format!("GET {path} broke off: {error}");
    let mut http = hyper::client::conn::http1::Builder::new();
    http.max_buf_size(BUFFER);
    let (mut sender, connection) = http.handshake(TokioIo::new(stream)).await.map_err(broke)?;
    let request = Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, "sluice-probe")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("the probe's path {path:?} or host {host:?} is not valid: {error}"))?;
    // Both in this task: when the check is over, so is the connection. It may end before the answer is looked at.
    let mut answer = pin!(sender.send_request(request));
    tokio::select! {
        biased;
        answer = &mut answer => answer.map(|answer| answer.status()).map_err(broke),
        ended = connection => match ended {
            Err(error) => Err(broke(error)),
            Ok(()) => answer.await.map(|answer| answer.status()).map_err(broke),
        },
    }
}
