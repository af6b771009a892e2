//! Datagrams: an echo server, and a load of many flows.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::sys::{Batch, Counts, Epoll, events, large_queue, tell_counts};
use crate::{Counted, MESSAGE};

/// Datagrams that did not come back within this time are lost, and sent anew.
const LOST_AFTER: Duration = Duration::from_millis(200);

/// Sends every datagram back to where it came from, until killed.
pub fn echo(at: SocketAddr, status: SocketAddr) -> io::Result<()> {
    let counts: &'static Counts = Box::leak(Box::default());
    tell_counts(status, counts)?;
    let socket = UdpSocket::bind(at)?;
    large_queue(socket.as_raw_fd());
    let mut batch = Batch::new(true);
    loop {
        match batch.receive(socket.as_raw_fd()) {
            Ok(count) => {
                counts.echoed.fetch_add(count as u64, Relaxed);
                let _ = batch.send_back(socket.as_raw_fd(), count);
            }
            // A flow's other end is gone: ICMP tells it on the next call.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error),
        }
    }
}

struct Flow {
    socket: UdpSocket,
    heard: Instant,
}

/// Keeps `window` datagrams under way in each of `flows` flows: each that comes back is sent again.
pub fn load(to: SocketAddr, flows: u64, window: u64, seconds: u64) -> io::Result<()> {
    let epoll = Epoll::new()?;
    let mut events = events();
    let mut counted = Counted::default();
    let since = Instant::now();
    let until = since + Duration::from_secs(seconds);
    let mut open = Vec::new();
    for number in 0..flows {
        let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        socket.connect(to)?;
        socket.set_nonblocking(true)?;
        epoll.add(&socket, number)?;
        open.push(Flow { socket, heard: since });
    }
    let mut batch = Batch::new(false);
    let mut lost = 0;
    let mut looked = since;
    for (number, flow) in (0..).zip(&open) {
        fill(flow, number, window, &mut counted);
    }
    loop {
        let now = Instant::now();
        if now >= until {
            break;
        }
        for number in epoll.wait(&mut events, 10)? {
            let flow = &mut open[number as usize];
            match batch.receive(flow.socket.as_raw_fd()) {
                Ok(count) => {
                    flow.heard = now;
                    for index in 0..count {
                        let datagram = batch.get(index);
                        let same = datagram.len() == MESSAGE && datagram[..8] == number.to_be_bytes();
                        counted.wrong += u64::from(!same);
                    }
                    counted.units += count as u64;
                    counted.bytes += (count * MESSAGE) as u64;
                    if !matches!(batch.send_back(flow.socket.as_raw_fd(), count), Ok(sent) if sent == count) {
                        counted.write_errors += 1;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => counted.read_errors += 1,
            }
        }
        if now.duration_since(looked) > LOST_AFTER / 4 {
            looked = now;
            for (number, flow) in (0..).zip(&mut open) {
                // Part of a window lost for good is found only when all of it is; no matter with windows this small.
                if now.duration_since(flow.heard) > LOST_AFTER {
                    flow.heard = now;
                    lost += window;
                    fill(flow, number, window, &mut counted);
                }
            }
        }
    }
    println!("LOST {lost}");
    counted.tell(since);
    Ok(())
}

fn fill(flow: &Flow, number: u64, window: u64, counted: &mut Counted) {
    let mut message = [b'.'; MESSAGE];
    message[..8].copy_from_slice(&number.to_be_bytes());
    for _ in 0..window {
        counted.write_errors += u64::from(flow.socket.send(&message).is_err());
    }
}
