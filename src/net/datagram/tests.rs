//! Batches over real sockets on loopback.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::*;

fn receive(batch: &mut Batch, socket: &UdpSocket, connected: bool) -> usize {
    batch.receive(socket, batch::SLOTS, connected).unwrap()
}

fn send_all(batch: &Batch, socket: &UdpSocket, connected: bool) {
    let slots: Vec<usize> = (0..batch.filled()).collect();
    batch.send(socket, &slots, connected, |unsent| panic!("{unsent:?}"));
}

#[test]
fn a_batch_comes_and_goes_back_to_each_sender_from_the_address_it_used() {
    let listener = listen("0.0.0.0:0".parse().unwrap(), 1).unwrap().remove(0);
    let port = listener.local_addr().unwrap().port();
    let clients: Vec<UdpSocket> = (1..=3u8)
        .map(|host| {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            // A connected socket takes answers from the address it sent to alone.
            client.connect((Ipv4Addr::new(127, 0, 0, host), port)).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            client.send(format!("from {host}").as_bytes()).unwrap();
            client
        })
        .collect();
    let mut batch = Batch::default();
    assert_eq!(receive(&mut batch, &listener, false), 3);
    assert_eq!(batch.slot(1).local, Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2))));
    assert_eq!(batch.slot(1).peer, clients[1].local_addr().unwrap());
    assert_eq!(batch.bytes(1), b"from 2");
    send_all(&batch, &listener, false);
    for (host, client) in (1..).zip(&clients) {
        let mut answer = [0; 16];
        let length = client.recv(&mut answer).unwrap();
        assert_eq!(&answer[..length], format!("from {host}").as_bytes());
    }
    let nothing = batch.receive(&listener, 4, false).unwrap_err();
    assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn ipv6_keeps_its_addresses_too() {
    let listener = listen("[::]:0".parse().unwrap(), 1).unwrap().remove(0);
    let port = listener.local_addr().unwrap().port();
    let client = UdpSocket::bind("[::1]:0").unwrap();
    client.connect(("::1", port)).unwrap();
    client.send(b"six").unwrap();
    let mut batch = Batch::default();
    assert_eq!(receive(&mut batch, &listener, false), 1);
    assert_eq!(batch.slot(0).local, Some("::1".parse().unwrap()));
    assert_eq!(batch.slot(0).peer, client.local_addr().unwrap());
    send_all(&batch, &listener, false);
    assert_eq!(client.recv(&mut [0; 8]).unwrap(), 3);
}

#[test]
fn several_of_one_length_stay_together_and_come_out_apart() {
    let listener = listen("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
    let address = listener.local_addr().unwrap();
    let sender = dial(address).unwrap();
    let end = UdpSocket::bind("127.0.0.1:0").unwrap();
    end.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    // Made by hand: one slot of ten datagrams of 100 bytes and one of 7, as the kernel coalesces them.
    let mut batch = Batch::default();
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&[9; 1007], address).unwrap();
    assert_eq!(receive(&mut batch, &listener, false), 1);
    batch.cut(0, 100);
    assert_eq!(batch.slot(0).datagrams(), 11);
    send_all(&batch, &sender, true);
    batch.clear();
    let slots = receive(&mut batch, &listener, false);
    let held: u64 = (0..slots).map(|slot| batch.slot(slot).datagrams()).sum();
    assert_eq!(held, 11, "in {slots} slots");
    // On to a socket that does not coalesce.
    (0..slots).for_each(|slot| batch.direct(slot, end.local_addr().unwrap(), None));
    send_all(&batch, &listener, false);
    let lengths: Vec<usize> = (0..11).map(|_| end.recv(&mut [0; 2048]).unwrap()).collect();
    assert_eq!(lengths, [[100; 10].as_slice(), &[7]].concat());
}

#[test]
fn the_largest_and_the_empty_datagram_pass() {
    let listener = listen("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    client.send(&[7; 65_507]).unwrap();
    client.send(&[]).unwrap();
    let mut batch = Batch::default();
    assert_eq!(receive(&mut batch, &listener, false), 2);
    assert_eq!([batch.slot(0).length, batch.slot(1).length], [65_507, 0]);
    assert_eq!([batch.slot(0).datagrams(), batch.slot(1).datagrams()], [1, 1]);
    send_all(&batch, &listener, false);
    let mut answer = vec![0; 70_000];
    assert_eq!([client.recv(&mut answer).unwrap(), client.recv(&mut answer).unwrap()], [65_507, 0]);
}

#[test]
fn what_cannot_be_sent_is_told_and_the_rest_goes() {
    let listener = listen("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for text in ["one", "two", "three"] {
        client.send_to(text.as_bytes(), listener.local_addr().unwrap()).unwrap();
    }
    let mut batch = Batch::default();
    assert_eq!(receive(&mut batch, &listener, false), 3);
    // Nobody has port 0.
    batch.direct(1, "127.0.0.1:0".parse().unwrap(), None);
    let mut unsent = Vec::new();
    batch.send(&listener, &[0, 1, 2], false, |one| unsent.push(one.slot));
    assert_eq!(unsent, [1]);
    let mut answer = [0; 8];
    assert_eq!([client.recv(&mut answer).unwrap(), client.recv(&mut answer).unwrap()], [3, 5]);
}

#[test]
fn a_refusal_of_icmp_is_seen_on_a_dialled_socket() {
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let socket = dial(gone).unwrap();
    socket.send(b"anyone?").unwrap();
    let error = Batch::default().receive(&socket, 4, true).unwrap_err();
    assert!(is_unreachable(&error), "{error}");
}

#[test]
fn a_peer_that_is_gone_is_told_once_a_slot_when_its_datagrams_go_one_by_one() {
    let listener = listen("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    for length in [1000, 5] {
        client.send_to(&[9; 1000][..length], listener.local_addr().unwrap()).unwrap();
    }
    let mut batch = Batch::default();
    assert_eq!(receive(&mut batch, &listener, false), 2);
    // More pieces than the kernel takes in one call.
    batch.cut(0, 1);
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut unsent = Vec::new();
    let mut tell = |one: Unsent| unsent.push((one.slot, one.datagrams, is_unreachable(&one.error)));
    batch.send(&dial(gone).unwrap(), &[0, 1], true, &mut tell);
    assert_eq!(unsent, [(0, 1000, true), (1, 1, true)], "with all that follows, to be sent to another");
}

#[test]
fn sockets_share_a_port_among_themselves_and_beside_tcp_and_with_nobody_else() {
    let ours = listen("127.0.0.1:0".parse().unwrap(), 3).unwrap();
    let address = ours[0].local_addr().unwrap();
    assert!(ours.iter().all(|s| s.local_addr().unwrap() == address));
    assert_eq!(listen(address, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    crate::net::socket::listen(address, 2).unwrap();
    // Every one of them gets some, and a client is always the same one's.
    for _ in 0..64 {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(b"a", address).unwrap();
        client.send_to(b"b", address).unwrap();
    }
    let mut buffer = [0; 8];
    for socket in &ours {
        let (_, one) = socket.recv_from(&mut buffer).unwrap();
        let (_, two) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(one, two);
    }
}

#[tokio::test]
async fn readiness_tells_who_has_something() {
    let mut readiness = Readiness::new().unwrap();
    let sockets: Vec<UdpSocket> = (0..100).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    for (number, socket) in (0..).zip(&sockets) {
        readiness.add(socket, number).unwrap();
    }
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for socket in &sockets {
        sender.send_to(b"x", socket.local_addr().unwrap()).unwrap();
    }
    let mut told = Vec::new();
    assert!(readiness.wait(|number| told.push(number)).await.unwrap(), "more than fit in one call");
    while told.len() < 100 {
        readiness.wait(|number| told.push(number)).await.unwrap();
    }
    told.sort_unstable();
    assert_eq!(told, (0..100).collect::<Vec<u64>>());
    // Told once: nothing new, no word.
    let silence = tokio::time::timeout(Duration::from_millis(20), readiness.wait(|number| panic!("{number}")));
    assert!(silence.await.is_err() || told.len() == 100);
    sender.send_to(b"x", sockets[42].local_addr().unwrap()).unwrap();
    let mut again = Vec::new();
    while again.is_empty() {
        readiness.wait(|number| again.push(number)).await.unwrap();
    }
    assert_eq!(again, [42]);
}
