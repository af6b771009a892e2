//! A whole proxy, its backends and its clients, on the thread of the fuzzer.
//!
//! All are tasks of one single-threaded runtime, so while a client looks at its socket, nobody else runs. Time is
//! counted in turns: in each, every task that can run does, and the sockets are asked once what is new. What has not
//! happened after [`QUIET`] turns in which no byte moved, does not happen; who needs more than [`HANG`] turns hangs. No
//! clock is read for either, so a slow or stopped machine changes nothing.
//!
//! Each client has a source address of its own, by which backends tell whose request it is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sluice::drain;
use sluice::model::compile::compile;
use sluice::model::intent::{Limits, Pool, Protocol};
use sluice::model::live::listener::Socket;
use sluice::model::live::{ListenerState, Live};
use sluice::model::snapshot::Snapshots;
use sluice::proxy::{Proxy, Settings};
use sluice::ready::Ready;
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::{LocalSet, yield_now};

use crate::asked::{Asked, pool, route, web};
use crate::backend::{Place, Seen, Shape, serve};

/// Turns without a byte moved, after which nothing more comes of itself.
pub const QUIET: u32 = 40;
/// Turns without a byte moved, after which something hangs that should end.
pub const HANG: u32 = 20_000;
/// A time that never comes.
const NEVER: Duration = Duration::from_secs(1_000_000);

/// A proxy with its backends, and who may be asked about them.
pub struct World {
    runtime: Runtime,
    tasks: LocalSet,
    pub stand: Rc<Stand>,
}

/// What clients know.
pub struct Stand {
    /// Where the proxy listens.
    pub address: SocketAddr,
    /// What its backends saw.
    pub seen: Rc<Seen>,
    listener: Arc<ListenerState>,
    snapshots: Arc<Snapshots>,
}

/// One fuzzed client.
pub struct Client {
    pub stream: TcpStream,
    /// All that came.
    pub heard: Vec<u8>,
    /// Whether nothing more can come.
    pub is_over: bool,
    seen: Rc<Seen>,
}

impl World {
    /// Starts it.
    ///
    /// # Panics
    /// When anything of it cannot start.
    #[must_use]
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let tasks = LocalSet::new();
        let stand = Rc::new(tasks.block_on(&runtime, Stand::start()));
        Self { runtime, tasks, stand }
    }

    /// Runs a client to its end, and then a well-behaved one; looks that nothing is left of either.
    ///
    /// # Panics
    /// When something is.
    pub fn run<T>(&self, client: impl AsyncFnOnce(&Stand) -> T) -> T {
        self.tasks.block_on(&self.runtime, async {
            self.stand.seen.begin();
            let result = client(&self.stand).await;
            self.stand.beside().await;
            self.stand.nothing_is_left().await;
            result
        })
    }
}

impl Stand {
    async fn start() -> Self {
        let seen = Rc::new(Seen::default());
        let site = |address| Pool { retries: 0, ..patient(pool(&[address])) };
        let mut asked = Asked::default().listener(
            web(),
            "web",
            Protocol::Http,
            vec![route("a", "/", "open"), route("a", "/admin", "guarded"), route("b", "/", "other")],
        );
        for (place, name) in [(Place::Open, "open"), (Place::Guarded, "guarded"), (Place::Other, "other")] {
            asked = asked.pool(name, site(serve(place, seen.clone()).await));
        }
        let asked = asked.change_listener(web(), |listener| {
            let client = &mut listener.limits.client;
            (client.head, client.body, client.stall, client.keep_alive) = (NEVER, NEVER, NEVER, NEVER);
            client.requests = 0;
            listener.limits = Limits { ..listener.limits.clone() };
        });
        let (snapshots, live) = (Arc::new(Snapshots::default()), Arc::new(Live::new(1)));
        let (trigger, watch) = drain::channel();
        // The proxy serves as long as the process lives.
        std::mem::forget(trigger);
        let settings = Settings { workers: 1, seed: 7, memory_limit: None };
        let (mut proxy, serving) =
            Proxy::on_this_thread(settings, snapshots.clone(), live.clone(), Ready::default(), &watch);
        tokio::task::spawn_local(serving);
        tokio::task::spawn_local(async move { proxy.follow(watch).await });
        let (snapshot, problems) = compile(&asked.into(), &snapshots.current(), &live);
        assert!(problems.is_empty(), "{problems:?}");
        snapshots.publish(snapshot);
        let listener = live.listener(&web());
        let address = loop {
            match listener.socket() {
                Socket::Open(address) => break address,
                Socket::Failed(reason) => panic!("{reason}"),
                Socket::Closed => yield_now().await,
            }
        };
        seen.listens_on(address.port());
        Self { address, seen, listener, snapshots }
    }

    /// Connects a client from an address of its own.
    ///
    /// # Panics
    /// When there is no socket for it.
    pub async fn connect(&self) -> Client {
        let source = self.seen.next_client();
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(source, 0)).expect("an address of its own");
        let stream = socket.connect(self.address).await.expect("the proxy accepts");
        stream.set_nodelay(true).expect("no delay");
        Client { stream, heard: Vec::new(), is_over: false, seen: self.seen.clone() }
    }

    /// A well-behaved client, on a connection of its own, is served as ever.
    async fn beside(&self) {
        self.seen.answer_as(Shape::Sized);
        let mut client = self.connect().await;
        let before = self.seen.count();
        client.send(b"GET /beside HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        client.to_its_end().await;
        let answer = String::from_utf8_lossy(&client.heard).into_owned();
        let records = self.seen.since(before);
        let [record] = &records[..] else { panic!("{} requests of a client with one", records.len()) };
        assert!(record.request.target == "/beside" && answer.starts_with("HTTP/1.1 200 "), "beside: {answer:?}");
        assert!(answer.contains(&format!("x-serial: {}\r\n", record.serial)), "another's answer: {answer:?}");
    }

    /// Nobody is counted who is gone.
    async fn nothing_is_left(&self) {
        let snapshot = self.snapshots.current();
        for _ in 0..HANG {
            let backends = snapshot.pools.values().flat_map(|pool| &pool.backends);
            if self.listener.active() == 0 && backends.map(|backend| backend.state.active()).sum::<u64>() == 0 {
                return;
            }
            yield_now().await;
        }
        panic!("{} connections and leases of clients that are gone", self.listener.active());
    }
}

fn patient(mut pool: Pool) -> Pool {
    let times = &mut pool.timeouts;
    (times.connect, times.response, times.idle) = (NEVER, NEVER, NEVER);
    (times.half_closed, times.stall) = (NEVER, NEVER);
    pool
}

impl Client {
    /// Sends bytes, and hears meanwhile. What the other side does not take is dropped.
    pub async fn send(&mut self, mut bytes: &[u8]) {
        let mut idle = 0;
        while !bytes.is_empty() && idle < QUIET && !self.is_over {
            match self.stream.try_write(bytes) {
                Ok(count) => {
                    bytes = &bytes[count..];
                    self.seen.moved();
                    idle = 0;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => idle += 1,
                Err(_) => return,
            }
            self.turn().await;
        }
    }

    /// Lets all others take their turn, and hears what came.
    pub async fn turn(&mut self) {
        yield_now().await;
        let mut room = [0; 16384];
        while !self.is_over {
            match self.stream.try_read(&mut room) {
                Ok(count @ 1..) => {
                    self.heard.extend_from_slice(&room[..count]);
                    self.seen.moved();
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Ok(0) | Err(_) => self.is_over = true,
            }
        }
    }

    /// Lets so many turns pass.
    pub async fn turns(&mut self, turns: u32) {
        for _ in 0..turns {
            self.turn().await;
        }
    }

    /// Waits until nothing moves any more.
    pub async fn settle(&mut self) {
        self.wait(QUIET).await;
    }

    /// Says that nothing more is sent, and hears the rest.
    ///
    /// # Panics
    /// When the proxy does not end the connection.
    pub async fn to_its_end(&mut self) {
        self.settle().await;
        let _ = socket2::SockRef::from(&self.stream).shutdown(std::net::Shutdown::Write);
        self.wait(HANG).await;
        assert!(self.is_over, "the connection hangs after its client has ended; heard: {:?}", self.shown());
        // What was sent to a backend before that may be on its way.
        let (mut idle, mut moves) = (0, self.seen.moves());
        while idle < QUIET {
            yield_now().await;
            idle = if self.seen.moves() == moves { idle + 1 } else { 0 };
            moves = self.seen.moves();
        }
    }

    /// What came, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.heard).into_owned()
    }

    async fn wait(&mut self, turns: u32) {
        let (mut idle, mut moves) = (0, self.seen.moves());
        while idle < turns && !self.is_over {
            self.turn().await;
            idle += 1;
            if self.seen.moves() != moves {
                (idle, moves) = (0, self.seen.moves());
            }
        }
    }
}

/// The source address of a client by its number.
#[must_use]
pub fn source(number: u32) -> IpAddr {
    // 127.64.0.0/10, so that it is nobody else's.
    let bits = 0x7f40_0000 | number & 0x003f_ffff;
    IpAddr::V4(Ipv4Addr::from_bits(bits))
}
