//! A machine on loopback whose power can be cut: from then on it answers no handshake and says nothing, not even that
//! it is off.

#![allow(unreachable_pub, reason = "part of a test binary, which has no outside")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::copy;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::{AbortHandle, JoinSet};

/// One port of a machine, where an echo serves.
pub struct Machine {
    pub address: SocketAddr,
    socket: Arc<TcpListener>,
    served: Arc<AtomicUsize>,
    serving: Option<AbortHandle>,
    tasks: JoinSet<()>,
    fillers: Vec<std::net::TcpStream>,
}

impl Machine {
    /// A free port of this address.
    pub async fn on(address: [u8; 4]) -> Self {
        Self::at((address, 0).into()).await
    }

    /// This port.
    pub async fn at(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let socket = Arc::new(socket.listen(16).unwrap());
        let address = socket.local_addr().unwrap();
        let served = Arc::default();
        let mut machine = Self { address, socket, served, serving: None, tasks: JoinSet::new(), fillers: Vec::new() };
        machine.regain_power();
        machine
    }

    /// Connections that were served.
    pub fn served(&self) -> usize {
        self.served.load(Relaxed)
    }

    /// Nobody takes connections any more, and the queue where the kernel would put them is full: further handshakes
    /// fall to the ground.
    pub fn lose_power(&mut self) {
        self.serving.take().unwrap().abort();
        while let Ok(filler) = std::net::TcpStream::connect_timeout(&self.address, Duration::from_millis(50)) {
            self.fillers.push(filler);
        }
    }

    /// It answers again.
    pub fn regain_power(&mut self) {
        self.fillers.clear();
        let (socket, served) = (self.socket.clone(), self.served.clone());
        let serving = self.tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = socket.accept().await {
                let served = served.clone();
                connections.spawn(async move {
                    // A check says nothing, and is not counted.
                    if stream.peek(&mut [0]).await.is_ok_and(|count| count > 0) {
                        served.fetch_add(1, Relaxed);
                    }
                    let (mut read, mut write) = stream.split();
                    // It ends when either side does.
                    let _ = copy(&mut read, &mut write).await;
                });
            }
        });
        self.serving = Some(serving);
    }
}
