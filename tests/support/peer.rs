//! Backends that do what a test says, and remember what reached them, byte by byte.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::wire::{Message, Wire};

/// A backend on a port of the kernel's choice. It ends when it is dropped, its connections with it.
pub struct Peer {
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    requests: Vec<Message>,
}

/// What a backend does with a request that it has read.
pub enum Reply {
    /// Sends this and waits for the next.
    Send(Vec<u8>),
    /// Sends this and closes.
    Last(Vec<u8>),
    /// Resets the connection.
    Reset,
    /// Sends this, then resets the connection.
    Break(Vec<u8>),
    /// Never answers.
    Hang,
}

/// A whole answer with this body.
pub fn ok(body: &str) -> Reply {
    Reply::Send(answer("200 OK", body))
}

/// A whole answer in bytes.
pub fn answer(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// An address where nobody listens.
pub async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

impl Peer {
    /// Serves each connection with `serve`.
    pub async fn serving<F>(serve: impl Fn(Wire) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start(move |wire, _| serve(wire)).await
    }

    async fn start<F>(serve: impl Fn(Wire, Arc<Mutex<Seen>>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut tasks = JoinSet::new();
        let remembered = seen.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                remembered.lock().unwrap().connections += 1;
                connections.spawn(serve(Wire::new(stream), remembered.clone()));
            }
        });
        Self { address, seen, _tasks: tasks }
    }

    /// Reads HTTP/1 requests, remembers them and does with each what `reply` says.
    pub async fn http(reply: impl Fn(&Message) -> Reply + Send + Sync + 'static) -> Self {
        let reply = Arc::new(reply);
        Self::start(move |mut wire, seen| {
            let reply = reply.clone();
            async move {
                while let Some(request) = next_request(&mut wire).await {
                    let action = reply(&request);
                    seen.lock().unwrap().requests.push(request);
                    match action {
                        Reply::Send(bytes) => wire.send(bytes).await,
                        Reply::Last(bytes) => return wire.send(bytes).await,
                        Reply::Reset => return wire.reset(),
                        Reply::Break(bytes) => {
                            wire.send(bytes).await;
                            return wire.reset();
                        }
                        Reply::Hang => std::future::pending().await,
                    }
                }
            }
        })
        .await
    }

    /// An HTTP backend that answers everything with its name.
    pub async fn named(name: &str) -> Self {
        let name = name.to_owned();
        Self::http(move |_| ok(&name)).await
    }

    /// A TCP backend that sends back what it gets.
    pub async fn echo() -> Self {
        Self::serving(|mut wire| async move {
            let (mut read, mut write) = wire.stream.split();
            // It ends when either side does.
            let _ = tokio::io::copy(&mut read, &mut write).await;
        })
        .await
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    /// The requests read so far.
    pub fn requests(&self) -> Vec<Message> {
        self.seen.lock().unwrap().requests.clone()
    }

    /// The only request read.
    pub fn request(&self) -> Message {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "one request was to come: {requests:?}");
        requests.remove(0)
    }
}

/// The next request, however long it takes to come.
async fn next_request(wire: &mut Wire) -> Option<Message> {
    // A connection of a pool may wait longer than any test has patience.
    if wire.is_drained() && wire.stream.peek(&mut [0]).await.ok()? == 0 {
        return None;
    }
    wire.message().await
}
