//! Load and echo servers for measurements, one thread each: they must cost far less than what they measure.
//!
//! ```text
//! load tcp-echo ADDRESS STATUS              echo server; STATUS answers HTTP with its counts, as nginx's stub_status
//! load udp-echo ADDRESS STATUS              the same for datagrams
//! load connect ADDRESS CONNECTIONS SECONDS  connect, one message there and back, close; so many at once
//! load ping ADDRESS CONNECTIONS MESSAGES    so many messages there and back on each connection, then close
//! load udp ADDRESS FLOWS WINDOW SECONDS     datagrams there and back, so many flows with so many under way in each
//! load hold ADDRESS CONNECTIONS             one message there and back on each, then hold them until ended
//!
//! load http-close ADDRESS PATH CONNECTIONS SECONDS           connect, GET, read to the end; so many at once
//! load tls-full ADDRESS CERT PATH CONNECTIONS SECONDS        the same in TLS 1.3, each with a full handshake
//! load tls-resumed ADDRESS CERT PATH CONNECTIONS SECONDS     the same, each resumed by a ticket of the one before
//! load http-open ADDRESS PATH CONNECTIONS RATE SECONDS       GETs at a constant rate, whatever comes back when
//! load http-hold ADDRESS PATH CONNECTIONS                    one GET on each, then hold them until ended
//! load https-hold ADDRESS CERT PATH CONNECTIONS              the same in TLS 1.3
//! ```
//!
//! A message is 64 bytes; CERT is a file with the one certificate (PEM) the server must show. A load ends with the line
//! `VERSUS units bytes microseconds connect read write status timeout` (the last five count errors), as the wrk script
//! of `bench/versus` does; [`tls`] and [`open`] tell more. The holds write `READY` once all are open.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Instant;

mod close;
mod hold;
mod http;
mod open;
mod sys;
mod tcp;
mod tls;
mod udp;

/// Bytes of a message.
const MESSAGE: usize = 64;

/// What a load counted.
#[derive(Debug, Default)]
struct Counted {
    units: u64,
    bytes: u64,
    connect_errors: u64,
    read_errors: u64,
    write_errors: u64,
    /// Answers that are not what was sent, or not what was asked for.
    wrong: u64,
    timeouts: u64,
}

impl Counted {
    fn tell(&self, since: Instant) {
        let Self { units, bytes, connect_errors, read_errors, write_errors, wrong, timeouts } = self;
        let time = since.elapsed().as_micros();
        println!("VERSUS {units} {bytes} {time} {connect_errors} {read_errors} {write_errors} {wrong} {timeouts}");
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["tcp-echo", at, status] => with2(at, status, tcp::echo),
        ["udp-echo", at, status] => with2(at, status, udp::echo),
        ["connect", at, connections, seconds] => with(at, [connections, seconds], |at, [c, s]| tcp::connect(at, c, s)),
        ["ping", at, connections, messages] => with(at, [connections, messages], |at, [c, m]| tcp::ping(at, c, m)),
        ["udp", at, flows, window, seconds] => {
            with(at, [flows, window, seconds], |at, [f, w, s]| udp::load(at, f, w, s))
        }
        ["hold", at, connections] => with(at, [connections], |at, [c]| tcp::hold(at, c)),
        ["http-close", at, path, connections, seconds] => {
            with(at, [connections, seconds], |at, [c, s]| close::load(at, path, c, s))
        }
        ["tls-full", at, cert, path, connections, seconds] => {
            with(at, [connections, seconds], |at, [c, s]| tls::load(at, cert, path, tls::Kind::Full, c, s))
        }
        ["tls-resumed", at, cert, path, connections, seconds] => {
            with(at, [connections, seconds], |at, [c, s]| tls::load(at, cert, path, tls::Kind::Resumed, c, s))
        }
        ["http-open", at, path, connections, rate, seconds] => {
            with(at, [connections, rate, seconds], |at, [c, r, s]| open::load(at, path, c, r, s))
        }
        ["http-hold", at, path, connections] => with(at, [connections], |at, [c]| hold::plain(at, path, c)),
        ["https-hold", at, cert, path, connections] => {
            with(at, [connections], |at, [c]| hold::secure(at, cert, path, c))
        }
        _ => Err("see the head of bench/load/src/main.rs for the words it takes".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text} is not ADDRESS:PORT"))
}

fn with2(
    at: &str,
    status: &str,
    serve: impl FnOnce(SocketAddr, SocketAddr) -> std::io::Result<()>,
) -> Result<(), String> {
    serve(address(at)?, address(status)?).map_err(|error| error.to_string())
}

fn with<const N: usize>(
    at: &str,
    numbers: [&str; N],
    load: impl FnOnce(SocketAddr, [u64; N]) -> std::io::Result<()>,
) -> Result<(), String> {
    let mut parsed = [0; N];
    for (place, text) in parsed.iter_mut().zip(numbers) {
        *place = text.parse().map_err(|_| format!("{text} is not a number"))?;
    }
    load(address(at)?, parsed).map_err(|error| error.to_string())
}
