//! Clients and servers of the stories: plain blocking sockets on threads inside a namespace.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use super::lab::Space;
use super::router::PATIENCE;

/// Serves TCP inside a namespace for as long as the process lives, each connection on a thread of its own.
pub fn serve(space: &Space, port: u16, each: impl Fn(TcpStream) + Clone + Send + 'static) {
    let listener = space.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
    space.spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let each = each.clone();
            thread::spawn(move || each(patient(stream)));
        }
    });
}

/// Sends back what comes, and ends when it ends.
pub fn echo(mut stream: TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..read]).is_err() {
            return;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
}

/// A connection from inside a namespace.
pub fn dial(space: &Space, to: impl Into<SocketAddr>) -> io::Result<TcpStream> {
    let to = to.into();
    space.run(|| TcpStream::connect_timeout(&to, PATIENCE)).map(patient)
}

/// No wait of a story lasts for ever.
fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Ends a connection with a reset.
pub fn reset(stream: TcpStream) {
    let socket = socket2::Socket::from(stream);
    socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
}

/// A known stream of bytes without end. It repeats after a prime number of bytes, so that what slips by a page, a
/// segment or a buffer does not fit.
pub struct Tape(Vec<u8>);

impl Tape {
    const PERIOD: usize = 65_521;

    pub fn new() -> Self {
        Self((0..Self::PERIOD as u64).map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect())
    }

    /// At most `most` bytes from `at` on.
    fn from(&self, at: u64, most: u64) -> &[u8] {
        let begin = (at % Self::PERIOD as u64) as usize;
        let rest = &self.0[begin..];
        &rest[..rest.len().min(usize::try_from(most).unwrap_or(usize::MAX))]
    }

    /// Writes the first `length` bytes.
    pub fn play(&self, to: &mut impl Write, length: u64) -> io::Result<()> {
        let mut at = 0;
        while at < length {
            let piece = self.from(at, length - at);
            to.write_all(piece)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// Reads the first `length` bytes; panics where another byte stands or the end comes.
    pub fn compare(&self, from: &mut impl Read, length: u64) {
        let mut buffer = vec![0; 256 << 10];
        let mut at = 0;
        while at < length {
            let room = buffer.len().min(usize::try_from(length - at).unwrap_or(usize::MAX));
            let read = from.read(&mut buffer[..room]).unwrap_or_else(|e| panic!("after {at} of {length} bytes: {e}"));
            assert!(read > 0, "ended after {at} of {length} bytes");
            let mut got = &buffer[..read];
            while !got.is_empty() {
                let want = self.from(at, got.len() as u64);
                assert!(got[..want.len()] == *want, "other bytes between {at} and {}", at + want.len() as u64);
                at += want.len() as u64;
                got = &got[want.len()..];
            }
        }
    }
}
