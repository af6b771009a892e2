//! Keep-alive connections at rest: each has had one request, and is watched for being closed.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConnection;

use crate::http::{Answer, request};
use crate::sys::{Epoll, connect_from, events};
use crate::tcp::Sources;
use crate::tls;

/// Holds so many plain connections until killed.
///
/// # Errors
/// One could not be opened, was not answered well, or was closed from the other end.
pub fn plain(to: SocketAddr, path: &str, connections: u64) -> io::Result<()> {
    hold(to, path, connections, |mut stream, ask, answer| {
        stream.write_all(ask)?;
        let mut piece = [0; 16 << 10];
        loop {
            match stream.read(&mut piece)? {
                0 => return Err(io::Error::other("closed before the answer was whole")),
                read if answer.take(&piece[..read]).map_err(|wrong| io::Error::other(wrong.0))? => return Ok(stream),
                _ => {}
            }
        }
    })
}

/// The same in TLS 1.3, with a full handshake each. Once it rests, only the socket is kept: the peer cannot tell.
///
/// # Errors
/// As [`plain`], or the handshake failed.
pub fn secure(to: SocketAddr, cert: &str, path: &str, connections: u64) -> io::Result<()> {
    let config = Arc::new(tls::config(&tls::certificate(cert)?)?);
    hold(to, path, connections, |mut stream, ask, answer| {
        let mut tls: ClientConnection = tls::client(&config)?;
        tls.writer().write_all(ask)?;
        let mut piece = [0; 16 << 10];
        loop {
            tls::flush(&mut tls, &mut stream)?;
            if tls.read_tls(&mut stream)? == 0 {
                return Err(io::Error::other("closed before the answer was whole"));
            }
            tls.process_new_packets().map_err(io::Error::other)?;
            while let Ok(read @ 1..) = tls.reader().read(&mut piece) {
                if answer.take(&piece[..read]).map_err(|wrong| io::Error::other(wrong.0))? {
                    return Ok(stream);
                }
            }
        }
    })
}

fn hold(
    to: SocketAddr,
    path: &str,
    connections: u64,
    ask: impl Fn(TcpStream, &[u8], &mut Answer) -> io::Result<TcpStream>,
) -> io::Result<()> {
    let request = request(to.port(), path, false);
    let mut sources = Sources::new(to);
    let mut held = Vec::new();
    let epoll = Epoll::new()?;
    for number in 0..connections {
        let stream = connect_from(sources.next(), to)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let stream = ask(stream, &request, &mut Answer::default())?;
        epoll.add(&stream, number)?;
        held.push(stream);
    }
    println!("READY {}", held.len());
    let mut events = events();
    let mut piece = [0; 4 << 10];
    loop {
        for number in epoll.wait(&mut events, -1)? {
            // A late ticket is no end.
            if (&held[number as usize]).read(&mut piece)? == 0 {
                return Err(io::Error::other(format!("connection {number} was closed while it rested")));
            }
        }
    }
}
