//! The backends: they take nothing but what can be read in one way, and know whose it is and where it belongs.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use sluice::model::path::{PathRules, normal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::plain::{self, Plain};
use crate::world::source;

/// Which backend.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// Host `a`.
    Open,
    /// What begins with `/admin` at host `a`.
    Guarded,
    /// Host `b`.
    Other,
}

/// How backends answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Shape {
    /// With a body of a told length.
    #[default]
    Sized,
    /// In chunks.
    Chunked,
    /// Without a body.
    Empty,
    /// With a body that ends with the connection.
    Closing,
}

/// A request that a backend took.
#[derive(Clone, Debug)]
pub struct Record {
    /// Told in the answer, never twice.
    pub serial: u64,
    pub request: Plain,
}

/// What all backends saw.
#[derive(Debug, Default)]
pub struct Seen {
    records: RefCell<Vec<Record>>,
    shape: Cell<Shape>,
    serial: Cell<u64>,
    moves: Cell<u64>,
    client: Cell<u32>,
    port: Cell<u16>,
}

impl Seen {
    /// Forgets what was. Answers are of a told length.
    pub fn begin(&self) {
        self.records.borrow_mut().clear();
        self.shape.set(Shape::Sized);
    }

    /// How answers are from now on.
    pub fn answer_as(&self, shape: Shape) {
        self.shape.set(shape);
    }

    /// Requests taken so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.records.borrow().len()
    }

    /// Those after the first `count`.
    #[must_use]
    pub fn since(&self, count: usize) -> Vec<Record> {
        self.records.borrow()[count..].to_vec()
    }

    /// The source of the next client.
    pub fn next_client(&self) -> IpAddr {
        self.client.set(self.client.get().wrapping_add(1));
        source(self.client.get())
    }

    /// Bytes moved somewhere.
    pub fn moved(&self) {
        self.moves.set(self.moves.get() + 1);
    }

    /// How often they did.
    #[must_use]
    pub fn moves(&self) -> u64 {
        self.moves.get()
    }

    /// The port that clients connect to.
    pub fn listens_on(&self, port: u16) {
        self.port.set(port);
    }

    /// Takes a request and gives its answer.
    fn take(&self, place: Place, request: Plain) -> (Vec<u8>, bool) {
        if let Err(blemish) = self.judge(place, &request) {
            panic!("{blemish}: {place:?} got {request:?}");
        }
        let serial = self.serial.get() + 1;
        self.serial.set(serial);
        let is_head = request.method == "HEAD";
        self.records.borrow_mut().push(Record { serial, request });
        let body = format!("serial {serial}");
        let head = format!("HTTP/1.1 200 OK\r\nx-serial: {serial}\r\n");
        let (length, shown) = (body.len(), if is_head { "" } else { &*body });
        let answer = match self.shape.get() {
            Shape::Sized => format!("{head}content-length: {length}\r\n\r\n{shown}"),
            Shape::Chunked if is_head => format!("{head}transfer-encoding: chunked\r\n\r\n"),
            Shape::Chunked => format!("{head}transfer-encoding: chunked\r\n\r\n{length:x};x\r\n{body}\r\n0\r\n\r\n"),
            Shape::Empty => format!("HTTP/1.1 204 None\r\nx-serial: {serial}\r\n\r\n"),
            Shape::Closing => format!("{head}connection: close\r\n\r\n{shown}"),
        };
        (answer.into_bytes(), self.shape.get() == Shape::Closing)
    }

    /// Whether a request that can be read in one way is also in the right place and says nothing untrue.
    fn judge(&self, place: Place, request: &Plain) -> Result<(), &'static str> {
        let host = request.values("host")[0].to_owned();
        let name = host.split(':').next().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
        if name != if place == Place::Other { "b" } else { "a" } {
            return Err("another host's");
        }
        let path = request.target.split('?').next().unwrap_or_default();
        if normal(path, &PathRules::default()).map(|found| &*found.path == path) != Ok(true) {
            return Err("not the normal form of the path");
        }
        let is_admin = |path: &str| path == "/admin" || path.starts_with("/admin/");
        match place {
            Place::Open if is_admin(path) || is_admin(&boldest(path)) => return Err("a guarded path"),
            Place::Guarded if !is_admin(path) => return Err("a path that is not guarded"),
            _ => {}
        }
        let source = source(self.client.get()).to_string();
        let port = self.port.get().to_string();
        for (name, expected) in [
            ("x-forwarded-for", Some(&source)),
            ("x-real-ip", Some(&source)),
            ("x-forwarded-host", Some(&host)),
            ("x-forwarded-proto", Some(&"http".to_owned())),
            ("x-forwarded-port", Some(&port)),
            ("x-request-id", None),
        ] {
            match (&request.values(name)[..], expected) {
                ([value], Some(expected)) if value == expected => {}
                ([id], None) if id.len() >= 16 => {}
                _ => return Err("what it is told of the client"),
            }
        }
        const TOLD: [&str; 6] = [
            "x-forwarded-for",
            "x-real-ip",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-forwarded-port",
            "x-request-id",
        ];
        for (name, _) in &request.fields {
            if name.bytes().any(|b| b.is_ascii_uppercase()) {
                return Err("a name that is not in lower case");
            }
            let spelled = name.replace(['_', '.'], "-");
            let is_told = spelled.starts_with("x-forwarded-") || TOLD.contains(&&*spelled) || spelled == "forwarded";
            if is_told && !TOLD.contains(&&**name) {
                return Err("another spelling of what it is told");
            }
            if name == "proxy" || name.starts_with("proxy-") || name == "http2-settings" {
                return Err("what was said to the proxy");
            }
        }
        for (name, _) in &request.trailers {
            let spelled = name.to_ascii_lowercase().replace(['_', '.'], "-");
            if spelled.starts_with("x-forwarded-") || TOLD.contains(&&*spelled) || spelled == "forwarded" {
                return Err("a trailer that tells of the client");
            }
        }
        Ok(())
    }
}

/// A path as a backend reads it that decodes all of it first, takes `\` for `/`, leaves parameters out and resolves
/// what comes to be dots.
fn boldest(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| char::from(byte.unwrap_or_default()).to_digit(16);
        match byte {
            b'%' => match (digit(rest.next()), digit(rest.next())) {
                (Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
                _ => bytes.push(b'?'),
            },
            b'\\' => bytes.push(b'/'),
            other => bytes.push(other),
        }
    }
    let text = String::from_utf8_lossy(&bytes).replace('\\', "/");
    let mut elements: Vec<&str> = Vec::new();
    for element in text.split('/').map(|element| element.split(';').next().unwrap_or_default()) {
        match element {
            "" | "." => {}
            ".." => drop(elements.pop()),
            other => elements.push(other),
        }
    }
    format!("/{}", elements.join("/"))
}

/// Starts a backend; gives its address.
///
/// # Panics
/// When there is no socket, and later when anything comes that is not as it should be.
pub async fn serve(place: Place, seen: Rc<Seen>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let address = listener.local_addr().expect("an address");
    tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("no delay");
            seen.moved();
            tokio::task::spawn_local(converse(place, stream, seen.clone()));
        }
    });
    address
}

async fn converse(place: Place, mut stream: TcpStream, seen: Rc<Seen>) {
    let (mut bytes, mut piece) = (Vec::new(), vec![0; 16384]);
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        seen.moved();
        bytes.extend_from_slice(&piece[..count]);
        match plain::request(&bytes) {
            Ok(None) => {}
            Ok(Some((request, length))) => {
                // Who has not been answered asks nothing more.
                assert_eq!(length, bytes.len(), "{:?} came in one go", String::from_utf8_lossy(&bytes));
                bytes.clear();
                let (answer, is_last) = seen.take(place, request);
                if stream.write_all(&answer).await.is_err() || is_last {
                    return;
                }
                seen.moved();
            }
            Err(blemish) => panic!("{blemish}: {place:?} got {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
}
