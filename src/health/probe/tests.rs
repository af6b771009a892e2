//! Each kind of check before a peer that speaks its protocol, or does not.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// A peer that serves its connections with this.
async fn peer<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    #[allow(clippy::disallowed_methods, reason = "a test's peer lives as long as its runtime")]
    tokio::spawn(async move {
        loop {
            let stream = socket.accept().await.unwrap().0;
            let served = serve(stream);
            served.await;
        }
    });
    address
}

/// Reads a request for `/healthz` and answers it with these bytes.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) {
    let mut head = [0; 1024];
    let n = stream.read(&mut head).await.unwrap();
    assert!(head[..n].starts_with(b"GET /healthz HTTP/1.1\r\n"), "{:?}", String::from_utf8_lossy(&head[..n]));
    // Who has read enough may have left.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
}

async fn answers(bytes: &'static [u8]) -> SocketAddr {
    peer(move |stream| answer(stream, bytes)).await
}

fn http() -> Probe {
    let kind = ProbeKind::Http { path: "/healthz".into(), host: None, port: None, tls: false };
    Probe { kind, ..Probe::default() }
}

async fn run(address: SocketAddr, probe: &Probe) -> Result<(), String> {
    check(&Target { address, send_proxy: None }, probe).await.map_err(|failure| failure.reason)
}

#[tokio::test]
async fn http_takes_200_to_399_and_says_what_else_it_got() {
    let good = answers(b"HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(run(good, &http()).await, Ok(()));
    let sick = answers(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n").await;
    let said = "GET /healthz answered 500 Internal Server Error, not 200 to 399";
    assert_eq!(run(sick, &http()).await, Err(said.into()));
    let rude = answers(b"").await;
    assert!(run(rude, &http()).await.unwrap_err().contains("GET /healthz"), "says what broke");
}

#[tokio::test]
async fn a_silent_peer_fails_in_time() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let probe = Probe { timeout: Duration::from_millis(100), ..http() };
    let error = run(socket.local_addr().unwrap(), &probe).await.unwrap_err();
    assert_eq!(error, "GET /healthz was not answered within 100ms");
}

#[tokio::test]
async fn a_head_without_end_is_not_read_to_its_end() {
    let flood = peer(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n").await.is_ok() {}
    })
    .await;
    assert!(run(flood, &http()).await.unwrap_err().starts_with("GET /healthz broke off"));
    let interim =
        peer(|mut stream| async move { while stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await.is_ok() {} })
            .await;
    let error = run(interim, &http()).await.unwrap_err();
    assert!(error.starts_with("GET /healthz broke off"), "{error}");
}

#[tokio::test]
async fn tcp_needs_a_listener() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    assert_eq!(run(address, &Probe::default()).await, Ok(()));
    drop(socket);
    let error = check(&Target { address, send_proxy: None }, &Probe::default()).await.unwrap_err();
    assert_eq!(error.reason, "cannot connect: refused: nothing listens there");
    assert_eq!(error.found, Found::Somebody, "a machine that refuses has power");
}

#[tokio::test]
async fn checks_begin_with_the_proxys_own_header_where_the_backend_wants_one() {
    const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for (version, header) in [(ProxyVersion::V1, &b"PROXY UNKNOWN\r\n"[..]), (ProxyVersion::V2, LOCAL)] {
        let address = peer(move |mut stream| async move {
            let mut begin = vec![0; header.len()];
            stream.read_exact(&mut begin).await.unwrap();
            assert_eq!(begin, header);
            answer(stream, b"HTTP/1.1 204 No Content\r\n\r\n").await;
        })
        .await;
        check(&Target { address, send_proxy: Some(version) }, &http()).await.unwrap();
    }
    // Another port is another server.
    let other = answers(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    let kind = ProbeKind::Http { path: "/healthz".into(), host: None, port: Some(other.port()), tls: false };
    let target = Target { address: ([127, 0, 0, 1], 9).into(), send_proxy: Some(ProxyVersion::V2) };
    check(&target, &Probe { kind, ..http() }).await.unwrap();
}

#[tokio::test]
async fn https_takes_any_certificate_and_names_its_host() {
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["somebody.else.test".to_owned()]).unwrap();
    // It ran out long ago, too.
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    let chain = vec![params.self_signed(&key).unwrap().der().clone()];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let (names, mut named) = tokio::sync::mpsc::unbounded_channel();
    let address = peer(move |stream| {
        let (acceptor, names) = (acceptor.clone(), names.clone());
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            names.send(stream.get_ref().1.server_name().map(str::to_owned)).unwrap();
            answer(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    })
    .await;
    for host in [None, Some("shop.example.test")] {
        let kind = ProbeKind::Http { path: "/healthz".into(), host: host.map(Into::into), port: None, tls: true };
        assert_eq!(run(address, &Probe { kind, ..http() }).await, Ok(()));
        assert_eq!(named.recv().await.unwrap().as_deref(), host);
    }
    let plain = answers(b"").await;
    let kind = ProbeKind::Http { path: "/healthz".into(), host: None, port: Some(plain.port()), tls: true };
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert!(run(silent, &Probe { kind, ..http() }).await.is_err(), "a peer without TLS");
}

/// A gRPC server that gives this status to questions about the service `shop`, with these trailers.
async fn grpc(body: &'static [u8], trailers: &'static [(&str, &str)]) -> SocketAddr {
    let serve = move |request: Request<hyper::body::Incoming>| async move {
        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
        assert_eq!(request.headers()["content-type"], "application/grpc");
        assert_eq!(request.headers()["te"], "trailers");
        let question = request.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&question[..], b"\0\0\0\0\x06\x0a\x04shop");
        let mut end = HeaderMap::new();
        trailers.iter().for_each(|(name, value)| drop(end.insert(*name, value.parse().unwrap())));
        let data = (!body.is_empty()).then(|| Frame::data(Bytes::from_static(body)));
        let frames = data.into_iter().chain([Frame::trailers(end)]).map(Ok::<_, std::convert::Infallible>);
        let body = StreamBody::new(futures_util::stream::iter(frames));
        Ok::<_, std::convert::Infallible>(
            Response::builder().header("content-type", "application/grpc").body(body).unwrap(),
        )
    };
    peer(move |stream| async move {
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), hyper::service::service_fn(serve));
        // The check leaves when it has what it wants.
        let _ = connection.await;
    })
    .await
}

fn grpc_probe() -> Probe {
    Probe { kind: ProbeKind::Grpc { service: "shop".into(), port: None }, ..Probe::default() }
}

#[tokio::test]
async fn grpc_wants_serving_and_a_good_end() {
    const OK: &[(&str, &str)] = &[("grpc-status", "0")];
    let serving = grpc(b"\0\0\0\0\x02\x08\x01", OK).await;
    assert_eq!(run(serving, &grpc_probe()).await, Ok(()));
    assert_eq!(run(serving, &grpc_probe()).await, Ok(()), "each check has its own connection");
    let not = grpc(b"\0\0\0\0\x02\x08\x02", OK).await;
    let said = "grpc.health.v1.Health/Check answered NOT_SERVING, not SERVING";
    assert_eq!(run(not, &grpc_probe()).await, Err(said.into()));
    let missing = grpc(b"", &[("grpc-status", "12"), ("grpc-message", "unknown service")]).await;
    let said = "grpc.health.v1.Health/Check ended with status 12 (unimplemented: the server has no health service): \
                unknown service";
    assert_eq!(run(missing, &grpc_probe()).await, Err(said.into()));
    let odd = grpc(b"\0\0\0\0\x02\x08\x01", &[("x", "y")]).await;
    assert_eq!(run(odd, &grpc_probe()).await, Err("grpc.health.v1.Health/Check answered without a status".into()));
    let long = grpc(&[0; 4096], OK).await;
    assert_eq!(run(long, &grpc_probe()).await, Err("grpc.health.v1.Health/Check answered more than 1024 bytes".into()));
}

#[tokio::test]
async fn grpc_needs_http_2_and_an_answer_in_time() {
    let http1 = peer(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await;
    })
    .await;
    assert!(run(http1, &grpc_probe()).await.unwrap_err().starts_with("grpc.health.v1.Health/Check broke off"));
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let probe = Probe { timeout: Duration::from_millis(100), ..grpc_probe() };
    let error = run(silent.local_addr().unwrap(), &probe).await.unwrap_err();
    assert_eq!(error, "grpc.health.v1.Health/Check was not answered within 100ms");
}
