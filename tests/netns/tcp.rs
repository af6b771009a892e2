//! TCP across the router: every byte, every kind of end, slow readers, a node that loses power.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::lab::{CLIENT, Lab, NODES, ROUTER, joined, story};
use super::peers::{Tape, dial, echo, reset, serve};
use super::router::{Sluice, eventually};

const PORT: u16 = 7000;

/// A `tcp` listener before both nodes, or before the first alone.
fn config(nodes: usize) -> String {
    let backends: Vec<String> = NODES[..nodes].iter().map(|node| format!("\"{node}:{PORT}\"")).collect();
    let backends = backends.join(", ");
    format!(
        "listeners: {{stream: {{bind: \"0.0.0.0:{PORT}\", protocol: tcp, pool: nodes}}}}\n\
         pools: {{nodes: {{backends: [{backends}]}}}}\n"
    )
}

fn connect(lab: &Lab) -> TcpStream {
    dial(&lab.client, (ROUTER[0], PORT)).unwrap()
}

/// Bytes that went through, by direction.
fn moved(sluice: &Sluice<'_>, direction: &str) -> f64 {
    sluice.metric("sluice_bytes_total", &["listener=\"stream\"", &format!("direction=\"{direction}\"")])
}

/// Waits until nothing moves any more: what is under way fills every buffer there is.
fn stuck(sluice: &Sluice<'_>) -> f64 {
    let mut last = (moved(sluice, "out"), Instant::now());
    eventually("the bytes to come to a halt", || {
        let now = moved(sluice, "out");
        if now > last.0 {
            last = (now, Instant::now());
        }
        (now > 0.0 && last.1.elapsed() > Duration::from_millis(500)).then_some(now)
    })
}

/// `length` bytes there and back at the same time.
fn there_and_back(stream: TcpStream, length: u64) {
    let mut writing = stream.try_clone().unwrap();
    let writer = thread::spawn(move || {
        Tape::new().play(&mut writing, length).unwrap();
        writing.shutdown(Shutdown::Write).unwrap();
    });
    let mut reading = stream;
    Tape::new().compare(&mut reading, length);
    assert_eq!(reading.read(&mut [0]).unwrap(), 0, "nothing follows");
    joined(writer);
}

#[test]
fn every_byte_goes_both_ways_at_once() {
    story(|lab| {
        const LENGTH: u64 = 64 << 20;
        serve(&lab.nodes[0], PORT, echo);
        let sluice = Sluice::start(&lab.router, &config(1));
        there_and_back(connect(lab), LENGTH);
        assert_eq!((moved(&sluice, "in"), moved(&sluice, "out")), (LENGTH as f64, LENGTH as f64));
        let spliced = sluice.metric("sluice_bytes_total", &["listener=\"stream\"", "path=\"splice\""]);
        assert!(spliced > LENGTH as f64, "only {spliced} bytes stayed out of the process");
    });
}

#[test]
fn every_byte_goes_both_ways_in_packets_of_one_segment() {
    story(|lab| {
        lab.send_single_segments();
        serve(&lab.nodes[0], PORT, echo);
        let _sluice = Sluice::start(&lab.router, &config(1));
        let several: Vec<_> =
            (0..4).map(|_| connect(lab)).map(|s| thread::spawn(|| there_and_back(s, 8 << 20))).collect();
        several.into_iter().for_each(joined);
    });
}

#[test]
fn a_reader_that_pauses_gets_every_byte_when_it_goes_on() {
    story(|lab| {
        const LENGTH: u64 = 48 << 20;
        lab.send_single_segments();
        serve(&lab.nodes[0], PORT, |mut stream| drop(Tape::new().play(&mut stream, LENGTH)));
        let sluice = Sluice::start(&lab.router, &config(1));
        let mut client = connect(lab);
        assert!(stuck(&sluice) < LENGTH as f64, "too little to fill the buffers");
        Tape::new().compare(&mut client, LENGTH);
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "nothing follows");
    });
}

#[test]
fn slow_readers_cost_one_buffer_at_most() {
    story(|lab| {
        const READERS: usize = 50;
        serve(&lab.nodes[0], PORT, |mut stream| drop(Tape::new().play(&mut stream, 1 << 40)));
        let sluice = Sluice::start(&lab.router, &config(1));
        // The first buffers and pipes stay for those that come after.
        let first = connect(lab);
        stuck(&sluice);
        let before = sluice.memory();
        let readers: Vec<TcpStream> = (0..READERS).map(|_| connect(lab)).collect();
        let through = stuck(&sluice);
        let each = sluice.memory().saturating_sub(before) / READERS as u64;
        // One read that the client's socket did not take whole, at most, and the task.
        assert!(each <= 96 << 10, "{each} bytes of memory for each reader that does not read");
        assert!(through > (READERS * 100_000) as f64, "the stall is not for lack of bytes: {through} went through");
        drop((first, readers));
    });
}

#[test]
fn a_client_that_has_sent_all_still_gets_its_answer() {
    story(|lab| {
        serve(&lab.nodes[0], PORT, |mut stream| {
            let mut question = String::new();
            stream.read_to_string(&mut question).unwrap();
            write!(stream, "you said {question}").unwrap();
        });
        let _sluice = Sluice::start(&lab.router, &config(1));
        let mut client = connect(lab);
        client.write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "you said hello");
    });
}

#[test]
fn a_node_that_has_sent_all_still_hears_the_client() {
    story(|lab| {
        serve(&lab.nodes[0], PORT, |mut stream| {
            stream.write_all(b"all I have").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            Tape::new().compare(&mut stream, 1 << 20);
            // The only sign that all of it came.
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
            reset(stream);
        });
        let sluice = Sluice::start(&lab.router, &config(1));
        let mut client = connect(lab);
        let mut heard = String::new();
        client.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "all I have");
        Tape::new().play(&mut client, 1 << 20).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        eventually("every byte to go in", || (moved(&sluice, "in") == f64::from(1 << 20)).then_some(()));
    });
}

#[test]
fn a_reset_of_either_side_reaches_the_other() {
    story(|lab| {
        serve(&lab.nodes[0], PORT, |mut stream| {
            let mut first = [0];
            stream.read_exact(&mut first).unwrap();
            stream.write_all(b"y").unwrap();
            match first[0] {
                b'r' => {
                    stream.read_exact(&mut first).unwrap();
                    reset(stream);
                }
                _ => {
                    // What the node sees of the client's end goes back by another connection's answer: the metric.
                    let _ = stream.read(&mut first);
                }
            }
        });
        let sluice = Sluice::start(&lab.router, &config(1));
        let ended =
            |outcome: &str| sluice.metric("sluice_connections_ended_total", &[&format!("outcome=\"{outcome}\"")]);

        let mut client = connect(lab);
        client.write_all(b"r").unwrap();
        client.read_exact(&mut [0]).unwrap();
        client.write_all(b"!").unwrap();
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        eventually("the node's reset to be counted", || (ended("backend_broke") == 1.0).then_some(()));

        let mut client = connect(lab);
        client.write_all(b"c").unwrap();
        client.read_exact(&mut [0]).unwrap();
        reset(client);
        eventually("the client's reset to be counted", || (ended("client_gone") == 1.0).then_some(()));
        let active = || sluice.metric("sluice_backend_connections_active", &[]);
        eventually("the node to be let go", || (active() == 0.0).then_some(()));
    });
}

/// What a node sees and is told of the client, `(router's address, what the header says)`, with this in its pool.
fn seen_by_the_node(lab: &Lab, of_pool: &str) -> (SocketAddr, String) {
    serve(&lab.nodes[0], PORT, |mut stream| {
        let mut header = [0; 28];
        let seen = stream.peer_addr().unwrap().ip();
        stream.read_exact(&mut header[..5]).unwrap();
        let mut told = "nothing".to_owned();
        if &header[..5] != b"hello" {
            stream.read_exact(&mut header[5..]).unwrap();
            let client = Ipv4Addr::new(header[16], header[17], header[18], header[19]);
            told = format!("{client}:{}", u16::from_be_bytes([header[24], header[25]]));
            // The rest of the header, by its own length, and the client's word.
            let rest = usize::from(u16::from_be_bytes([header[14], header[15]])) - 12;
            stream.read_exact(&mut vec![0; rest + 5]).unwrap();
        }
        write!(stream, "{seen} and {told}").unwrap();
    });
    let _sluice = Sluice::start(&lab.router, &config(1).replace("{backends:", &format!("{{{of_pool}backends:")));
    let mut client = connect(lab);
    client.write_all(b"hello").unwrap();
    let mut seen = String::new();
    client.read_to_string(&mut seen).unwrap();
    (client.local_addr().unwrap(), seen)
}

#[test]
fn a_node_sees_the_router() {
    story(|lab| {
        let (client, seen) = seen_by_the_node(lab, "");
        assert_eq!(client.ip(), CLIENT);
        assert_eq!(seen, "192.0.2.1 and nothing");
    });
}

#[test]
fn a_node_is_told_of_the_client_by_the_proxy_protocol() {
    story(|lab| {
        let (client, seen) = seen_by_the_node(lab, "send_proxy_protocol: v2, ");
        assert_eq!(client.ip(), CLIENT);
        assert_eq!(seen, format!("192.0.2.1 and {client}"));
    });
}

#[test]
fn a_node_that_loses_power_is_left_out_within_three_seconds_and_no_client_sees_it() {
    story(|lab| {
        lab.nodes.iter().for_each(|node| serve(node, PORT, echo));
        let sluice = Sluice::start(&lab.router, &config(2));
        let dead = format!("backend=\"{}:{PORT}\"", NODES[1]);
        let tried = || {
            let sum = |family| sluice.metric(family, &[&dead]);
            sum("sluice_backend_connects_total") + sum("sluice_backend_connect_failures_total")
        };
        let ask = || {
            let mut client = connect(lab);
            client.write_all(b"?").unwrap();
            client.read_exact(&mut [0]).expect("an answer from one node or the other");
        };
        (0..10).for_each(|_| ask());
        assert!(tried() > 0.0, "both nodes are in use");

        lab.cut_power(1);
        let cut = Instant::now();
        // Several at once, as a connection that meets the dead node waits a while for it.
        let asking = || {
            thread::scope(|scope| {
                let clients: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
                clients.into_iter().for_each(|client| client.join().unwrap());
            });
        };
        while cut.elapsed() < Duration::from_secs(3) {
            asking();
        }
        // One that was on its way at the third second may still be counted.
        eventually("nothing to be under way", || {
            (sluice.metric("sluice_listener_connections_active", &[]) == 0.0).then_some(())
        });
        let until_then = tried();
        (0..20).for_each(|_| asking());
        assert_eq!(tried(), until_then, "new connections to a node that is down for more than 3 s");
    });
}
