//! A client that speaks HTTP/2 by prior knowledge, and listeners before backends that speak something else than HTTP/1.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use hyper::{Request, StatusCode};
use sluice::model::intent::Speech;

use crate::support::asked::web;
use crate::support::{Asked, Sluice, Wire, soon};

/// A listener `web` before a pool `site` that is spoken to like this.
pub fn site(backends: &[SocketAddr], speech: Speech) -> Asked {
    Asked::site(backends).change_pool("site", |pool| pool.speech = speech)
}

/// An HTTP/2 connection to the proxy, driven in the background.
pub async fn connect(sluice: &Sluice) -> SendRequest<Bytes> {
    let stream = Wire::to(sluice.address(web()).await).await.stream;
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move {
        // How it ends is seen by the requests on it.
        let _ = connection.await;
    });
    sender
}

pub fn get(path: &str) -> Request<()> {
    Request::get(format!("http://a.test{path}")).body(()).unwrap()
}

pub fn post(path: &str) -> Request<()> {
    Request::post(format!("http://a.test{path}")).header("te", "trailers").body(()).unwrap()
}

/// Sends a request with a body, if there is one, and reads the answer.
pub async fn ask(
    sender: &SendRequest<Bytes>,
    request: Request<()>,
    body: Option<&[u8]>,
) -> Result<(StatusCode, String), h2::Error> {
    let mut sender = soon("room for a stream", sender.clone().ready()).await?;
    let (answer, mut sending) = sender.send_request(request, body.is_none())?;
    if let Some(body) = body {
        sending.send_data(Bytes::copy_from_slice(body), true)?;
    }
    let answer = soon("an answer", answer).await?;
    let status = answer.status();
    let mut body = answer.into_body();
    let mut bytes = Vec::new();
    while let Some(data) = soon("the body", body.data()).await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok((status, String::from_utf8(bytes).unwrap()))
}
