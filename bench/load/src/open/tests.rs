use std::net::TcpListener;
use std::thread;

use super::*;

/// Answers GETs, on a thread for each connection; all of them stall once, for `stall` from `when` on after the first.
fn backend(when: Duration, stall: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut since = None;
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            let since = *since.get_or_insert_with(Instant::now);
            thread::spawn(move || {
                let mut request = [0; 1024];
                while let Ok(1..) = stream.read(&mut request) {
                    let now = since.elapsed();
                    if (when..when + stall).contains(&now) {
                        thread::sleep(when + stall - now);
                    }
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
                }
            });
        }
    });
    at
}

fn ms(nanoseconds: u64) -> u64 {
    nanoseconds / 1_000_000
}

/// A stall of length S in a time T, and requests at a constant rate: one due x after the beginning of the stall waits
/// S - x, so a share (S - x) / T of all waits longer than x, and the quantile at q is S - (1 - q) T.
#[test]
fn a_stall_is_in_the_percentiles_as_theory_has_it() {
    let (time, stall) = (Duration::from_secs(2), Duration::from_millis(200));
    let mut seen = drive(backend(time / 2, stall), "/", 8, 500, time).unwrap();
    assert_eq!(seen.counted.units, 1000, "{:?}", seen.counted);
    assert_eq!((seen.counted.read_errors, seen.counted.wrong, seen.counted.timeouts), (0, 0, 0));
    seen.latency.sort_unstable();
    seen.service.sort_unstable();
    for (share, expected) in [(0.92, 40), (0.95, 100), (0.99, 180), (0.999, 198)] {
        let found = ms(quantile(&seen.latency, share));
        // Later by the time the waiting ones take to be answered, and by a busy machine; never earlier.
        assert!((expected - 3..expected + 30).contains(&found), "quantile {share}: {found} ms, expected {expected}");
    }
    assert!(ms(quantile(&seen.latency, 0.5)) < 20);
    // What counting from the sending would have made of it: 8 connections, so 8 of 1,000 requests saw a stall.
    assert!(ms(quantile(&seen.service, 0.99)) < 60, "{} ms", ms(quantile(&seen.service, 0.99)));
}

#[test]
fn waiting_for_a_stalled_backend_is_not_the_loads_own_lateness() {
    let (time, stall) = (Duration::from_secs(1), Duration::from_millis(200));
    let mut seen = drive(backend(time / 2, stall), "/", 2, 200, time).unwrap();
    seen.late.sort_unstable();
    seen.latency.sort_unstable();
    assert!(ms(quantile(&seen.latency, 0.95)) > 120);
    assert!(ms(quantile(&seen.late, 0.95)) < 60, "{} ms", ms(quantile(&seen.late, 0.95)));
}

#[test]
fn every_request_has_its_time_and_none_is_left_out() {
    for rate in [1, 3, 999, 48_000] {
        assert_eq!(due(0, rate), 0);
        assert_eq!(due(rate, rate), 1_000_000_000);
        assert!((1..1000).all(|number| due(number, rate) > due(number - 1, rate)));
    }
    let seen = drive(backend(Duration::MAX / 4, Duration::ZERO), "/", 4, 333, Duration::from_millis(1500)).unwrap();
    assert_eq!((seen.latency.len(), seen.service.len(), seen.late.len()), (499, 499, 499));
    assert!(seen.latency.iter().zip(&seen.service).all(|(latency, service)| latency >= service));
}

#[test]
fn a_backend_that_closes_is_an_error_and_no_latency() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().read(&mut [0; 1024]);
        }
    });
    let seen = drive(at, "/", 2, 100, Duration::from_millis(100)).unwrap();
    assert!(seen.latency.is_empty());
    assert_eq!(seen.counted.read_errors + seen.counted.write_errors, 2);
    assert_eq!(seen.counted.timeouts, 8, "those that no connection was left for");
}

#[test]
fn quantiles_are_of_what_was_seen() {
    let times: Vec<u64> = (1..=1000).collect();
    assert_eq!([0.5, 0.99, 0.999, 1.0].map(|share| quantile(&times, share)), [500, 990, 999, 1000]);
    assert_eq!(quantile(&[7], 0.5), 7);
    assert_eq!(quantile(&[], 0.5), 0);
}
