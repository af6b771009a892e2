//! A toy backend: answers with its name, and can lose its power for a while.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// How long a backend stays away after `/off`.
const OFF: Duration = Duration::from_secs(10);

/// Starts one backend a name on 127.0.0.11, .12, … all on one free port, which is returned. They run until the set is
/// dropped.
pub(super) async fn start(names: &[&'static str]) -> io::Result<(JoinSet<()>, u16)> {
    let mut pis = JoinSet::new();
    let mut port = 0;
    for (last, name) in (11..).zip(names) {
        let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port));
        let socket = TcpListener::bind(address).await?;
        port = socket.local_addr()?.port();
        pis.spawn(live(name, socket));
    }
    Ok((pis, port))
}

async fn live(name: &'static str, mut socket: TcpListener) {
    loop {
        let Ok(address) = socket.local_addr() else { return };
        let off = Arc::new(Notify::new());
        // Connections are dropped with the set, as when the power goes.
        let mut connections = JoinSet::new();
        tokio::select! {
            () = off.notified() => {}
            () = answer(name, &socket, &off, &mut connections) => {}
        }
        drop(connections);
        drop(socket);
        tokio::time::sleep(OFF).await;
        match TcpListener::bind(address).await {
            Ok(again) => socket = again,
            Err(error) => {
                eprintln!("{name} cannot come back: {error}");
                return;
            }
        }
    }
}

async fn answer(name: &'static str, socket: &TcpListener, off: &Arc<Notify>, connections: &mut JoinSet<()>) {
    while let Ok((stream, client)) = socket.accept().await {
        let off = off.clone();
        connections.spawn(async move {
            let told_off = AtomicBool::new(false);
            let service = service_fn(|request| {
                told_off.store(request.uri().path() == "/off", Relaxed);
                let answer = reply(name, client, &request);
                async move { Ok::<_, Infallible>(answer) }
            });
            // A client that goes away is no matter of a toy's.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            // The answer is out: now the power goes.
            if told_off.load(Relaxed) {
                off.notify_one();
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

fn reply(name: &str, peer: SocketAddr, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let header = |name| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("-");
    if request.uri().path() == "/off" {
        let text = format!("{name}: off for {} s\n", OFF.as_secs());
        let mut answer = Response::new(Full::from(text));
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return answer;
    }
    Response::new(Full::from(format!(
        "{name}: {} {} for {} (host {}, from {peer})\n",
        request.method(),
        request.uri(),
        header("x-forwarded-for"),
        header("host"),
    )))
}
