//! Streams: an echo server, and loads of connections, messages and idleness.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use crate::sys::{Counts, Epoll, connect_from, events, tell_counts};
use crate::{Counted, MESSAGE};

/// The number of the listener among the descriptors.
const LISTENER: u64 = u64::MAX;

/// Sends back what comes, on every connection, until killed.
pub fn echo(at: SocketAddr, status: SocketAddr) -> io::Result<()> {
    let counts: &'static Counts = Box::leak(Box::default());
    tell_counts(status, counts)?;
    let listener = TcpListener::bind(at)?;
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new()?;
    epoll.add(&listener, LISTENER)?;
    let mut open: HashMap<u64, TcpStream> = HashMap::new();
    let mut next = 0;
    let mut events = events();
    let mut buffer = vec![0; 64 << 10];
    loop {
        for number in epoll.wait(&mut events, -1)? {
            if number == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    // Blocking: a message fits any socket's buffer.
                    stream.set_nodelay(true)?;
                    epoll.add(&stream, next)?;
                    open.insert(next, stream);
                    next += 1;
                    counts.accepted.fetch_add(1, Relaxed);
                }
                continue;
            }
            let Some(stream) = open.get_mut(&number) else { continue };
            match stream.read(&mut buffer) {
                Ok(read @ 1..) if stream.write_all(&buffer[..read]).is_ok() => {
                    counts.echoed.fetch_add(1, Relaxed);
                }
                _ => drop(open.remove(&number)),
            }
        }
    }
}

/// Connects, sends a message, waits for it to come back and closes; `connections` of them at any time.
pub fn connect(to: SocketAddr, connections: u64, seconds: u64) -> io::Result<()> {
    let epoll = Epoll::new()?;
    let mut events = events();
    let mut counted = Counted::default();
    let since = Instant::now();
    let until = since + Duration::from_secs(seconds);
    let mut sources = Sources::new(to);
    let mut slots = Vec::new();
    for number in 0..connections {
        slots.push(open(&epoll, sources.next(), to, number, &mut counted));
    }
    let mut answer = [0; MESSAGE];
    loop {
        let now = Instant::now();
        if now >= until {
            break;
        }
        let left = (until - now).as_millis().min(1000) as i32;
        for number in epoll.wait(&mut events, left.max(1))? {
            let slot = &mut slots[number as usize];
            let Some(stream) = slot else { continue };
            match stream.read_exact(&mut answer) {
                Err(_) => counted.read_errors += 1,
                Ok(()) if answer != message(number) => counted.wrong += 1,
                Ok(()) => {
                    counted.units += 1;
                    counted.bytes += MESSAGE as u64;
                }
            }
            // Closed here: the end begins at the client.
            *slot = None;
            *slot = open(&epoll, sources.next(), to, number, &mut counted);
        }
        for (number, slot) in (0..).zip(&mut slots) {
            if slot.is_none() {
                *slot = open(&epoll, sources.next(), to, number, &mut counted);
            }
        }
    }
    counted.tell(since);
    Ok(())
}

fn open(epoll: &Epoll, source: Ipv4Addr, to: SocketAddr, number: u64, counted: &mut Counted) -> Option<TcpStream> {
    // Blocking, but not waiting: between two sockets of one machine the handshake ends within the call.
    let mut stream = match connect_from(source, to) {
        Ok(stream) => stream,
        Err(error) => {
            if counted.connect_errors == 0 {
                eprintln!("load: cannot connect from {source}: {error}");
            }
            counted.connect_errors += 1;
            return None;
        }
    };
    let sent = stream.set_read_timeout(Some(Duration::from_secs(10))).and_then(|()| stream.write_all(&message(number)));
    if sent.is_err() {
        counted.write_errors += 1;
        return None;
    }
    epoll.add(&stream, number).ok().map(|()| stream)
}

/// Sends so many messages on each connection, each after the one before came back, and closes.
pub fn ping(to: SocketAddr, connections: u64, messages: u64) -> io::Result<()> {
    let mut counted = Counted::default();
    let since = Instant::now();
    let mut answer = [0; MESSAGE];
    for number in 0..connections {
        let mut stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        for _ in 0..messages {
            stream.write_all(&message(number))?;
            stream.read_exact(&mut answer)?;
            counted.wrong += u64::from(answer != message(number));
            counted.units += 1;
            counted.bytes += MESSAGE as u64;
        }
    }
    counted.tell(since);
    Ok(())
}

/// Opens connections, sends one message on each and waits for it, and holds them until killed.
pub fn hold(to: SocketAddr, connections: u64) -> io::Result<()> {
    let mut held = Vec::new();
    let mut sources = Sources::new(to);
    for number in 0..connections {
        let mut stream = connect_from(sources.next(), to)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(&message(number))?;
        let mut answer = [0; MESSAGE];
        stream.read_exact(&mut answer)?;
        if answer != message(number) {
            return Err(io::Error::new(ErrorKind::InvalidData, "another message came back"));
        }
        held.push(stream);
    }
    println!("READY {}", held.len());
    loop {
        thread::park();
    }
}

fn message(number: u64) -> [u8; MESSAGE] {
    let mut message = [b'.'; MESSAGE];
    message[..8].copy_from_slice(&number.to_be_bytes());
    message
}

/// Source addresses in turn. A port that was closed first stays taken for a minute, and one address has 28,000.
pub struct Sources {
    loopback: bool,
    turn: u8,
}

impl Sources {
    pub fn new(to: SocketAddr) -> Self {
        Self { loopback: to.ip().is_loopback(), turn: 0 }
    }

    pub fn next(&mut self) -> Ipv4Addr {
        self.turn = (self.turn + 1) % 64;
        if self.loopback { Ipv4Addr::new(127, 0, 1, 1 + self.turn) } else { Ipv4Addr::UNSPECIFIED }
    }
}
