//! One request for each connection: connect, ask with `Connection: close`, read to the end.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::Counted;
use crate::http::{Answer, request};
use crate::sys::{Epoll, connect_from, events};
use crate::tcp::Sources;

/// A connection that is older than this when the load ends has hung.
pub const HUNG: Duration = Duration::from_secs(1);

struct Slot {
    stream: TcpStream,
    answer: Answer,
    since: Instant,
}

/// Keeps so many connections under way; each that ended well is one unit, and the next begins.
pub fn load(to: SocketAddr, path: &str, connections: u64, seconds: u64) -> io::Result<()> {
    let ask = request(to.port(), path, true);
    let epoll = Epoll::new()?;
    let mut events = events();
    let mut counted = Counted::default();
    let mut sources = Sources::new(to);
    let mut piece = vec![0; 64 << 10];
    let since = Instant::now();
    let until = since + Duration::from_secs(seconds);
    let mut slots: Vec<Option<Slot>> = (0..connections).map(|_| None).collect();
    loop {
        for (number, slot) in (0..).zip(&mut slots) {
            if slot.is_none() {
                *slot = open(&epoll, &mut sources, to, &ask, number, &mut counted);
            }
        }
        let now = Instant::now();
        if now >= until {
            break;
        }
        let left = (until - now).as_millis().min(100) as i32;
        for number in epoll.wait(&mut events, left.max(1))? {
            let place = &mut slots[number as usize];
            let Some(slot) = place else { continue };
            let ended = match slot.stream.read(&mut piece) {
                // The proxy closes, as it was asked to.
                Ok(0) if slot.answer.is_whole() => {
                    counted.units += 1;
                    counted.bytes += slot.answer.taken();
                    true
                }
                Ok(0) | Err(_) => {
                    counted.read_errors += 1;
                    true
                }
                Ok(read) => slot.answer.take(&piece[..read]).inspect_err(|_| counted.wrong += 1).is_err(),
            };
            if ended {
                *place = None;
                *place = open(&epoll, &mut sources, to, &ask, number, &mut counted);
            }
        }
    }
    counted.timeouts += slots.iter().flatten().filter(|slot| slot.since.elapsed() > HUNG).count() as u64;
    counted.tell(since);
    Ok(())
}

fn open(
    epoll: &Epoll,
    sources: &mut Sources,
    to: SocketAddr,
    ask: &[u8],
    number: u64,
    counted: &mut Counted,
) -> Option<Slot> {
    let stream = connect(sources, to, counted)?;
    let slot = Slot { stream, answer: Answer::default(), since: Instant::now() };
    if (&slot.stream).write_all(ask).and_then(|()| epoll.add(&slot.stream, number)).is_err() {
        counted.write_errors += 1;
        return None;
    }
    Some(slot)
}

/// A connection, blocking but not waiting: between two sockets of one machine TCP's handshake ends within the call.
pub fn connect(sources: &mut Sources, to: SocketAddr, counted: &mut Counted) -> Option<TcpStream> {
    let opened = connect_from(sources.next(), to).and_then(|stream| stream.set_nodelay(true).map(|()| stream));
    match opened {
        Ok(stream) => Some(stream),
        Err(error) => {
            if counted.connect_errors == 0 {
                eprintln!("load: cannot connect: {error}");
            }
            counted.connect_errors += 1;
            None
        }
    }
}
