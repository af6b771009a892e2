//! UDP across the router: a flow keeps its node, answers come from the address that was asked, a flood costs no one
//! else, a node that goes loses its flows to the other.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::lab::{CLIENT, Lab, NODES, ROUTER, Space, story};
use super::router::{PATIENCE, Sluice, eventually};

const PORT: u16 = 5300;

fn config() -> String {
    let [one, other] = NODES;
    format!(
        "listeners: {{names: {{bind: \"0.0.0.0:{PORT}\", protocol: udp, pool: names}}}}\n\
         pools: {{names: {{backends: [\"{one}:{PORT}\", \"{other}:{PORT}\"]}}}}\n"
    )
}

/// Answers each datagram with the node's name, who asked, and the question.
fn answering(lab: &Lab) {
    for (number, node) in (1..).zip(&lab.nodes) {
        let socket = node.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap());
        node.spawn(move || {
            let mut room = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut room) {
                let question = String::from_utf8_lossy(&room[..length]);
                let _ = socket.send_to(format!("node {number}: {question}").as_bytes(), from);
            }
        });
    }
}

/// A client's socket that hears one address alone, as a resolver's does.
fn client(space: &Space, to: Ipv4Addr) -> UdpSocket {
    let socket = space.run(|| UdpSocket::bind((CLIENT, 0)).unwrap());
    socket.connect((to, PORT)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn ask(socket: &UdpSocket, question: &str) -> String {
    socket.send(question.as_bytes()).unwrap();
    let mut room = [0; 2048];
    let length = socket.recv(&mut room).unwrap_or_else(|error| panic!("no answer to {question}: {error}"));
    String::from_utf8_lossy(&room[..length]).into_owned()
}

#[test]
fn answers_come_from_the_address_that_was_asked() {
    story(|lab| {
        answering(lab);
        let _sluice = Sluice::start(&lab.router, &config());
        for router in ROUTER {
            let client = client(&lab.client, router);
            let answer = ask(&client, "who?");
            assert!(answer.ends_with(": who?"), "{answer}");
            assert_eq!(client.peer_addr().unwrap(), SocketAddr::from((router, PORT)));
        }
    });
}

#[test]
fn a_client_keeps_its_node_and_new_clients_use_both() {
    story(|lab| {
        answering(lab);
        let _sluice = Sluice::start(&lab.router, &config());
        let mut nodes = std::collections::BTreeSet::new();
        for _ in 0..8 {
            let client = client(&lab.client, ROUTER[0]);
            let first = ask(&client, "again");
            (0..5).for_each(|_| assert_eq!(ask(&client, "again"), first));
            nodes.insert(first);
        }
        assert_eq!(nodes.len(), 2, "{nodes:?}");
    });
}

#[test]
fn large_answers_come_whole_over_small_packets() {
    story(|lab| {
        let _sluice = Sluice::start(&lab.router, &config());
        answering(lab);
        let client = client(&lab.client, ROUTER[0]);
        // Longer than a packet: the kernels on the way cut it and put it together again.
        let question = "q".repeat(1900);
        assert!(ask(&client, &question).ends_with(&question));
    });
}

#[test]
fn a_flow_whose_node_has_nobody_listening_goes_to_the_other() {
    story(|lab| {
        answering(lab);
        let [one, other] = NODES;
        // Nobody listens at the first backend, which its node tells by ICMP.
        let config = format!(
            "listeners: {{names: {{bind: \"0.0.0.0:{PORT}\", protocol: udp, pool: names}}}}\n\
             pools: {{names: {{backends: [\"{one}:{}\", \"{other}:{PORT}\"]}}}}\n",
            PORT + 1
        );
        let sluice = Sluice::start(&lab.router, &config);
        let dead = format!("backend=\"{one}:{}\"", PORT + 1);
        for number in 0..4 {
            let client = client(&lab.client, ROUTER[0]);
            client.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let question = number.to_string();
            // The first may be lost; a client that asks again is answered.
            let answer = eventually("an answer", || {
                client.send(question.as_bytes()).unwrap();
                let mut room = [0; 2048];
                let length = client.recv(&mut room).ok()?;
                Some(String::from_utf8_lossy(&room[..length]).into_owned())
            });
            assert_eq!(answer, format!("node 2: {question}"));
        }
        assert!(sluice.metric("sluice_backend_connect_failures_total", &[&dead]) > 0.0, "the ICMP is not counted");
    });
}
