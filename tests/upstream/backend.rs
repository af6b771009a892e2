//! Backends that speak HTTP/2: one that behaves and remembers, one made of bare frames that does what no library would.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use hyper::{HeaderMap, Request, Response};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::support::Wire;

/// A backend on a port of the kernel's choice. It ends when it is dropped.
pub struct Backend {
    pub address: SocketAddr,
    /// Connections whose handshakes ended well.
    pub connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

/// A request as a backend got it.
pub struct Got {
    pub request: Request<RecvStream>,
    pub answer: SendResponse<Bytes>,
    /// Which connection it came by, from 1.
    pub connection: usize,
}

/// How a backend is spoken to.
#[derive(Clone, Default)]
pub struct Manner {
    /// TLS, if it is sealed.
    pub tls: Option<Arc<ServerConfig>>,
    /// Streams at a time on one connection.
    pub streams: Option<u32>,
}

impl Backend {
    /// Serves each HTTP/2 request with `serve`.
    pub async fn http2<F>(manner: Manner, serve: impl Fn(Got) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let serve = Arc::new(serve);
        Self::start(move |stream, connection| {
            let (serve, manner) = (serve.clone(), manner.clone());
            async move {
                match manner.tls {
                    None => connection.up(stream, manner.streams, serve).await,
                    Some(tls) => {
                        let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await else { return };
                        connection.up(stream, manner.streams, serve).await;
                    }
                }
            }
        })
        .await
    }

    /// Answers each HTTP/2 request with its connection's number.
    pub async fn named(manner: Manner) -> Self {
        Self::http2(manner, |mut got| async move {
            let mut body = got.answer.send_response(Response::new(()), false).unwrap();
            body.send_data(got.connection.to_string().into(), true).unwrap();
        })
        .await
    }

    /// Serves each connection with bare frames: `reply` says what is sent for each frame that came.
    pub async fn frames(reply: impl Fn(usize, &Frame) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let reply = Arc::new(reply);
        Self::start(move |stream, connection| {
            let reply = reply.clone();
            async move {
                let number = connection.opened();
                let mut wire = Wire::new(stream);
                if wire.try_send(frame(SETTINGS, 0, 0, &[])).await.is_err() || wire.until("SM\r\n\r\n").await.is_none()
                {
                    return;
                }
                while let Some(frame) = Frame::read(&mut wire).await {
                    if wire.try_send(reply(number, &frame)).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await
    }

    async fn start<F>(serve: impl Fn(tokio::net::TcpStream, Connection) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(serve(stream, Connection(count.clone())));
            }
        });
        Self { address, connections, _tasks: tasks }
    }

    pub fn opened(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

struct Connection(Arc<AtomicUsize>);

impl Connection {
    fn opened(&self) -> usize {
        self.0.fetch_add(1, SeqCst) + 1
    }

    async fn up<S, F>(&self, stream: S, streams: Option<u32>, serve: Arc<impl Fn(Got) -> F>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut builder = h2::server::Builder::new();
        if let Some(streams) = streams {
            builder.max_concurrent_streams(streams);
        }
        let Ok(mut running) = builder.handshake::<_, Bytes>(stream).await else { return };
        let connection = self.opened();
        let mut requests = JoinSet::new();
        while let Some(Ok((request, answer))) = running.accept().await {
            requests.spawn(serve(Got { request, answer, connection }));
        }
    }
}

/// How many requests were under way at once, by connection.
#[derive(Clone, Default)]
pub struct Tally(Arc<Mutex<BTreeMap<usize, (usize, usize)>>>);

impl Tally {
    pub fn begin(&self, connection: usize) {
        let mut tally = self.0.lock().unwrap();
        let (now, most) = tally.entry(connection).or_default();
        *now += 1;
        *most = (*most).max(*now);
    }

    pub fn end(&self, connection: usize) {
        self.0.lock().unwrap().entry(connection).or_default().0 -= 1;
    }

    /// The most at once on any connection.
    pub fn most(&self) -> usize {
        self.0.lock().unwrap().values().map(|(_, most)| *most).max().unwrap_or_default()
    }
}

/// The whole body of a request and its trailers.
pub async fn whole(body: &mut RecvStream) -> Option<(Vec<u8>, Option<HeaderMap>)> {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.ok()?;
        let _ = body.flow_control().release_capacity(data.len());
        bytes.extend_from_slice(&data);
    }
    Some((bytes, body.trailers().await.ok()?))
}

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const GOAWAY: u8 = 7;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const REFUSED_STREAM: u32 = 7;
pub const INTERNAL_ERROR: u32 = 2;

/// One frame (RFC 9113 §4.1).
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    async fn read(wire: &mut Wire) -> Option<Self> {
        // A connection may wait longer than any test has patience.
        if wire.is_drained() && wire.stream.peek(&mut [0]).await.ok()? == 0 {
            return None;
        }
        let head = wire.exactly(9).await;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        Some(Self { kind: head[3], flags: head[4], stream, payload: wire.exactly(length).await })
    }

    /// Whether the stream ends with it.
    pub fn ends(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// `:status: 200`, the eighth entry of the static table.
pub fn head_200(stream: u32, flags: u8) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, &[0x88])
}

/// A whole answer.
pub fn answer_200(stream: u32, body: &str) -> Vec<u8> {
    [head_200(stream, 0), frame(DATA, END_STREAM, stream, body.as_bytes())].concat()
}

pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

pub fn go_away(last: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat())
}
