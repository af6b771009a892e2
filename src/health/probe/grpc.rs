//! `grpc.health.v1.Health/Check` over HTTP/2 in cleartext
//! (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, TE, USER_AGENT};
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;

use super::Stream;

mod message;

use message::Serving;

/// What is asked, for reasons.
pub(super) const METHOD: &str = "grpc.health.v1.Health/Check";

/// The most of an answer's body that is read: the message is seven bytes long.
const BODY: usize = 1024;
/// The most of a head or of trailers.
const HEAD: u32 = 8 * 1024;

/// Whether the server answers that the service is SERVING.
pub(super) async fn check(stream: Stream, address: SocketAddr, service: &str) -> Result<(), String> {
    let broke = |error: hyper::Error| format!("{METHOD} broke off: {error}");
    let tasks = Tasks::default();
    let mut http = hyper::client::conn::http2::Builder::new(tasks.clone());
    http.initial_stream_window_size(HEAD).max_header_list_size(HEAD);
    let _owner = Owner(tasks);
    let (mut sender, connection) = http.handshake(TokioIo::new(stream)).await.map_err(broke)?;
    let request = Request::post(format!("http://{address}/{METHOD}"))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT, "sluice-probe")
        .body(Full::new(Bytes::from(message::question(service))))
        .map_err(|error| format!("cannot ask {address}: {error}"))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(broke)?;
        read(response).await
    };
    tokio::select! {
        biased;
        answer = answer => answer,
        ended = connection => match ended {
            Err(error) => Err(broke(error)),
            Ok(()) => Err(format!("{METHOD} broke off: the connection ended")),
        },
    }
}

async fn read(response: Response<Incoming>) -> Result<(), String> {
    if response.status() != StatusCode::OK {
        return Err(format!("{METHOD} answered {}, which no gRPC server does", response.status()));
    }
    let (head, mut body) = response.into_parts();
    // An error alone comes with its status in the head.
    if let Some(told) = told(&head.headers) {
        told?;
    }
    let (mut bytes, mut status) = (Vec::new(), None);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("{METHOD} broke off: {error}"))?;
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > BODY {
                return Err(format!("{METHOD} answered more than {BODY} bytes"));
            }
            bytes.extend_from_slice(data);
        } else if let Some(trailers) = frame.trailers_ref() {
            status = told(trailers);
        }
    }
    status.unwrap_or_else(|| Err(format!("{METHOD} answered without a status")))?;
    match message::answer(&bytes) {
        Some(Serving::Serving) => Ok(()),
        Some(other) => Err(format!("{METHOD} answered {other}, not SERVING")),
        None => Err(format!("{METHOD} answered what is no HealthCheckResponse")),
    }
}

/// What the status of a call says, where there is one.
fn told(headers: &HeaderMap) -> Option<Result<(), String>> {
    let status = headers.get("grpc-status")?.to_str().unwrap_or("?");
    let why = match status {
        "0" => return Some(Ok(())),
        "5" => " (not found: the server does not know this service)",
        "12" => " (unimplemented: the server has no health service)",
        _ => "",
    };
    let words = headers.get("grpc-message").and_then(|words| words.to_str().ok()).unwrap_or_default();
    let words: String = words.chars().take(100).collect();
    let colon = if words.is_empty() { "" } else { ": " };
    Some(Err(format!("{METHOD} ended with status {status}{why}{colon}{words}")))
}

/// What runs beside the check on its behalf.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        let task = async move { drop(task.await) };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).spawn(task);
    }
}

/// Ends the tasks with the check: they hold each other through their [`Tasks`].
struct Owner(Tasks);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}
