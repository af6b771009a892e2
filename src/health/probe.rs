//! One check of one backend: a connection, or a request and its status.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;

use crate::model::intent::{Probe, ProbeKind};
use crate::net::socket;

/// Checks once, within the probe's timeout. The error says what was found, for a person to read.
pub async fn check(address: SocketAddr, probe: &Probe) -> Result<(), String> {
    match &probe.kind {
        ProbeKind::Tcp => connect(address, probe.timeout).await.map(drop),
        // Neither TLS nor gRPC can be asked for yet: no source writes them.
        ProbeKind::Grpc { .. } => connect(address, probe.timeout).await.map(drop),
        ProbeKind::Http { path, host, port, tls: _ } => {
            let address = SocketAddr::new(address.ip(), port.unwrap_or(address.port()));
            let host = host.as_deref().map_or_else(|| address.to_string(), str::to_owned);
            match tokio::time::timeout(probe.timeout, status(address, path, &host, probe.timeout)).await {
                Err(_) => Err(format!("GET {path} was not answered within {:?}", probe.timeout)),
                Ok(Err(error)) => Err(error),
                Ok(Ok(status)) if status.is_success() || status.is_redirection() => Ok(()),
                Ok(Ok(status)) => Err(format!("GET {path} answered {status}, not 200 to 399")),
            }
        }
    }
}

async fn connect(address: SocketAddr, timeout: Duration) -> Result<tokio::net::TcpStream, String> {
    socket::dial(address, timeout).await.map_err(|error| format!("cannot connect: {}", socket::describe(&error)))
}

async fn status(address: SocketAddr, path: &str, host: &str, timeout: Duration) -> Result<StatusCode, String> {
    let stream = connect(address, timeout).await?;
    let broke = |error: hyper::Error| format!("GET {path} broke off: {error}");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A peer that answers its first connection with these bytes and closes.
    async fn answers(bytes: &'static str) -> SocketAddr {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        #[allow(clippy::disallowed_methods, reason = "a test's peer lives as long as its runtime")]
        tokio::spawn(async move {
            let (mut stream, _) = socket.accept().await.unwrap();
            let mut head = [0; 1024];
            let n = stream.read(&mut head).await.unwrap();
            assert!(head[..n].starts_with(b"GET /healthz HTTP/1.1\r\n"));
            stream.write_all(bytes.as_bytes()).await.unwrap();
        });
        address
    }

    fn http() -> Probe {
        let kind = ProbeKind::Http { path: "/healthz".into(), host: None, port: None, tls: false };
        Probe { kind, ..Probe::default() }
    }

    #[tokio::test]
    async fn http_takes_200_to_399_and_says_what_else_it_got() {
        let good = answers("HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(check(good, &http()).await, Ok(()));
        let sick = answers("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(
            check(sick, &http()).await,
            Err("GET /healthz answered 500 Internal Server Error, not 200 to 399".into())
        );
        let rude = answers("").await;
        assert!(check(rude, &http()).await.unwrap_err().contains("GET /healthz"), "says what broke");
    }

    #[tokio::test]
    async fn a_silent_peer_fails_in_time() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let probe = Probe { timeout: Duration::from_millis(100), ..http() };
        let error = check(socket.local_addr().unwrap(), &probe).await.unwrap_err();
        assert_eq!(error, "GET /healthz was not answered within 100ms");
    }

    #[tokio::test]
    async fn tcp_needs_a_listener() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        assert_eq!(check(address, &Probe::default()).await, Ok(()));
        drop(socket);
        let error = check(address, &Probe::default()).await.unwrap_err();
        assert_eq!(error, "cannot connect: refused: nothing listens there");
    }
}
