//! An open loop: requests leave at a constant rate whatever comes back when, as those of many clients who do not know
//! of each other do.
//!
//! The n-th request is due at start + n / rate, and its latency counts from then, not from when it could be sent: a
//! stall costs every request that was due in it, though few could be sent (no coordinated omission). A request goes to
//! the connection that has rested longest; while none rests, the due ones wait, and their time runs.
//!
//! The load itself may be late, since it has to be woken in time. From the moment that a request was due and a
//! connection was free for it, that is its own fault; it is kept apart and told, so that a run where it is much can be
//! thrown away. Beside `VERSUS` it writes, in microseconds:
//!
//! ```text
//! LATENCY p50 p99 p99.9 most   from when the request was due
//! SERVICE p50 p99 p99.9 most   from when it was sent: what a closed loop would have seen
//! LATE p50 p99 p99.9 most      the load's own lateness
//! ```

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::Counted;
use crate::http::{Answer, request};
use crate::sys::{Epoll, be_punctual, connect_from, events};
use crate::tcp::Sources;

/// How long the last answers are waited for after the last request was due.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an open loop saw; the times are in nanoseconds, unordered.
#[derive(Debug, Default)]
pub struct Seen {
    pub counted: Counted,
    /// Of each answered request, from when it was due.
    pub latency: Vec<u64>,
    /// Of each answered request, from when it was sent.
    pub service: Vec<u64>,
    /// Of each request, what it was sent too late by the load's own fault.
    pub late: Vec<u64>,
}

struct Place {
    stream: TcpStream,
    answer: Answer,
    /// When the request under way was due, and when it was sent; in nanoseconds of the load.
    due: u64,
    sent: u64,
    /// Since when no request is under way.
    free: u64,
}

/// Sends `rate` requests a second for so many seconds over so many connections, and tells the latencies.
pub fn load(to: SocketAddr, path: &str, connections: u64, rate: u64, seconds: u64) -> io::Result<()> {
    if !be_punctual() {
        eprintln!("load: not permitted to run first when woken; it may be late");
    }
    let since = Instant::now();
    let mut seen = drive(to, path, connections, rate, Duration::from_secs(seconds))?;
    for (word, times) in [("LATENCY", &mut seen.latency), ("SERVICE", &mut seen.service), ("LATE", &mut seen.late)] {
        times.sort_unstable();
        let told = [0.5, 0.99, 0.999, 1.0].map(|share| format!("{:.1}", quantile(times, share) as f64 / 1e3));
        println!("{word} {}", told.join(" "));
    }
    seen.counted.tell(since);
    Ok(())
}

/// The smallest of these times, which are in order, that so large a share of them does not exceed; 0 if there is none.
pub fn quantile(ordered: &[u64], share: f64) -> u64 {
    let rank = (share * ordered.len() as f64).ceil() as usize;
    ordered.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

/// When request `number` is due, in nanoseconds after the start.
fn due(number: u64, rate: u64) -> u64 {
    (u128::from(number) * 1_000_000_000 / u128::from(rate)) as u64
}

pub fn drive(to: SocketAddr, path: &str, connections: u64, rate: u64, time: Duration) -> io::Result<Seen> {
    if rate == 0 || connections == 0 {
        return Err(io::Error::other("a rate and a number of connections of at least 1 are needed"));
    }
    let ask = request(to.port(), path, false);
    let all = (u128::from(rate) * time.as_nanos() / 1_000_000_000) as u64;
    let mut seen = Seen::default();
    let epoll = Epoll::new()?;
    let mut sources = Sources::new(to);
    let mut places = Vec::new();
    for number in 0..connections {
        let stream = connect_from(sources.next(), to)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll.add(&stream, number)?;
        places.push(Some(Place { stream, answer: Answer::default(), due: 0, sent: 0, free: 0 }));
    }
    let mut idle: VecDeque<u64> = (0..connections).collect();
    let mut next = 0;
    let mut under_way: u64 = 0;
    let mut events = events();
    let mut piece = vec![0; 64 << 10];
    let start = Instant::now();
    let now = || start.elapsed().as_nanos() as u64;
    let end = due(all, rate) + PATIENCE.as_nanos() as u64;

    while next < all || under_way > 0 {
        let mut at = now();
        if at > end || (idle.is_empty() && under_way == 0) {
            break;
        }
        while next < all && due(next, rate) <= at {
            let Some(number) = idle.pop_front() else { break };
            let Some(place) = &mut places[number as usize] else { continue };
            place.due = due(next, rate);
            at = now();
            place.sent = at;
            seen.late.push(at.saturating_sub(place.due.max(place.free)));
            next += 1;
            match place.stream.write(&ask) {
                Ok(written) if written == ask.len() => under_way += 1,
                _ => {
                    seen.counted.write_errors += 1;
                    places[number as usize] = None;
                }
            }
        }
        let wait = if next < all && !idle.is_empty() {
            Duration::from_nanos(due(next, rate)).saturating_sub(Duration::from_nanos(now()))
        } else {
            Duration::from_millis(100)
        };
        for number in epoll.wait_exactly(&mut events, wait)? {
            let Some(place) = &mut places[number as usize] else { continue };
            let whole = match place.stream.read(&mut piece) {
                Ok(0) => Err(&mut seen.counted.read_errors),
                Ok(read) => place.answer.take(&piece[..read]).map_err(|_| &mut seen.counted.wrong),
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
                Err(_) => Err(&mut seen.counted.read_errors),
            };
            match whole {
                Ok(false) => {}
                Ok(true) => {
                    let at = now();
                    seen.latency.push(at - place.due);
                    seen.service.push(at - place.sent);
                    seen.counted.units += 1;
                    seen.counted.bytes += place.answer.taken();
                    place.answer.clear();
                    place.free = at;
                    idle.push_back(number);
                    under_way -= 1;
                }
                Err(count) => {
                    *count += 1;
                    places[number as usize] = None;
                    under_way = under_way.saturating_sub(1);
                    idle.retain(|&other| other != number);
                }
            }
        }
    }
    seen.counted.timeouts = under_way + (all - next);
    Ok(seen)
}

#[cfg(test)]
mod tests;
