//! Datagrams pass, whatever their size, and come back from where they were sent to.

use sluice::model::live::listener::Socket;

use super::*;

#[tokio::test]
async fn datagrams_go_both_ways_and_are_counted() {
    let backend = Answering::named("a:").await;
    let sluice = Sluice::start(datagrams(dns(), &[backend.address])).await;
    let client = Client::of(sluice.address(dns()).await).await;
    for n in 0..10 {
        let question = format!("question {n}");
        assert_eq!(client.ask(question.as_bytes()).await, format!("a:{question}").as_bytes());
    }
    let listener = sluice.listener(dns());
    assert_eq!((listener.accepted(), listener.active()), (1, 1), "one flow");
    // The last answer may be here before it is counted.
    eventually("the counts", || (listener.datagrams.passed() == (10, 10)).then_some(())).await;
    assert_eq!(listener.bytes(), (100, 120));
    let heard = backend.heard();
    assert!(heard.iter().all(|(from, _)| *from == heard[0].0), "from one port");
    let state = backend_of(&sluice, backend.address);
    assert_eq!((state.active(), state.connects(), state.bytes()), (1, 1, (100, 120)));
}

#[tokio::test]
async fn each_client_keeps_its_backend_and_has_a_port_of_its_own() {
    let backends = [Answering::named("a:").await, Answering::named("b:").await, Answering::named("c:").await];
    let addresses: Vec<SocketAddr> = backends.iter().map(|b| b.address).collect();
    let sluice = Sluice::start_with(2, datagrams(dns(), &addresses)).await;
    let address = sluice.address(dns()).await;
    let mut seen = [0; 3];
    let mut clients = Vec::new();
    for n in 0..30 {
        let client = Client::of(address).await;
        let first = client.ask(format!("{n}").as_bytes()).await;
        seen[usize::from(first[0] - b'a')] += 1;
        clients.push((client, first));
    }
    assert!(seen.iter().all(|count| *count >= 5), "spread over all: {seen:?}");
    for _ in 0..5 {
        for (n, (client, first)) in clients.iter().enumerate() {
            assert_eq!(client.ask(format!("{n}").as_bytes()).await, *first);
        }
    }
    let mut ports: Vec<_> = backends.iter().flat_map(Answering::heard).map(|(from, _)| from).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 30);
    flows(&sluice, dns(), 30).await;
}

#[tokio::test]
async fn replies_leave_from_the_address_the_client_used() {
    let backend = Answering::named("").await;
    let key = ListenerKey::udp("0.0.0.0:0".parse().unwrap());
    let sluice = Sluice::start(datagrams(key, &[backend.address])).await;
    let port = sluice.address(key).await.port();
    let own = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for host in 1..=3u8 {
        // The same client port each time: the address used tells the flows apart.
        let client = Client::from(own, SocketAddr::from(([127, 0, 0, host], port))).await;
        assert_eq!(client.ask(&[host]).await, [host]);
    }
    flows(&sluice, key, 3).await;
}

#[tokio::test]
async fn ipv6_is_served_and_takes_ipv6_alone() {
    let backend = Answering::at("[::1]:0".parse().unwrap(), "six:").await;
    // The port is another's under IPv4, and stays so: under IPv6 it is free all the same.
    let beside = UdpSocket::bind("0.0.0.0:0").await.unwrap();
    let port = beside.local_addr().unwrap().port();
    let key = ListenerKey::udp(SocketAddr::new("::".parse().unwrap(), port));
    let sluice = Sluice::start(datagrams(key, &[backend.address])).await;
    assert_eq!(sluice.address(key).await.port(), port);
    let client = Client::of(SocketAddr::new("::1".parse().unwrap(), port)).await;
    assert_eq!(client.ask(b"hello").await, b"six:hello");
}

#[tokio::test]
async fn the_largest_and_the_empty_datagram_pass() {
    let backend = Answering::named("").await;
    let sluice = Sluice::start(datagrams(dns(), &[backend.address])).await;
    let client = Client::of(sluice.address(dns()).await).await;
    for length in [0, 1, 1472, 1473, 9000, 65_507] {
        let question: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        assert!(client.ask(&question).await == question, "{length} bytes");
    }
}

#[tokio::test]
async fn many_at_once_from_one_client_all_come_in_order() {
    let backend = Answering::named("").await;
    let sluice = Sluice::start(datagrams(dns(), &[backend.address])).await;
    let client = Client::of(sluice.address(dns()).await).await;
    for round in 0..20u32 {
        for n in 0..50u32 {
            client.send(&(round * 50 + n).to_be_bytes()).await;
        }
        for n in 0..50u32 {
            assert_eq!(client.answer().await, (round * 50 + n).to_be_bytes());
        }
    }
    flows(&sluice, dns(), 1).await;
}

#[tokio::test]
async fn tcp_and_udp_share_a_port() {
    let backend = Answering::named("udp:").await;
    let echo = support::Peer::echo().await;
    // An address of its own, whose ports no other test takes meanwhile.
    let key = ListenerKey::udp("127.0.0.77:0".parse().unwrap());
    let sluice = Sluice::start(datagrams(key, &[backend.address])).await;
    let address = sluice.address(key).await;
    let both = datagrams(key, &[backend.address])
        .listener(ListenerKey::tcp(address), "dns", Protocol::Tcp, vec![route("*", "/", "stream")])
        .pool("stream", pool(&[echo.address]));
    assert_eq!(sluice.publish(&both.into()), []);
    let listener = sluice.listener(ListenerKey::tcp(address));
    eventually("the port", || (listener.socket() == Socket::Open(address)).then_some(())).await;
    assert_eq!(Client::of(address).await.ask(b"x").await, b"udp:x");
    let mut wire = support::Wire::to(address).await;
    wire.send("y").await;
    let mut byte = [0];
    soon("the echo", tokio::io::AsyncReadExt::read_exact(&mut wire.stream, &mut byte)).await.unwrap();
    assert_eq!(&byte, b"y");
}

#[tokio::test]
async fn a_question_to_a_name_server_is_answered() {
    // A name server of one answer (RFC 1035): the question comes back with its response bit set and an address.
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut packet = [0; 512];
        let (length, from) = server.recv_from(&mut packet).await.unwrap();
        let mut answer = packet[..length].to_vec();
        answer[2] |= 0x80;
        answer[7] = 1;
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
        server.send_to(&answer, from).await.unwrap();
    });
    let sluice = Sluice::start(datagrams(dns(), &[address])).await;
    let client = Client::of(sluice.address(dns()).await).await;
    let mut question = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    question.extend(b"\x04shop\x07example\x04test\x00\x00\x01\x00\x01");
    let answer = client.ask(&question).await;
    assert_eq!(answer[..2], [0x12, 0x34]);
    assert_eq!(answer[answer.len() - 4..], [192, 0, 2, 7]);
}
