//! Limits through a whole proxy: of a listener, of a source, of a backend with its queue, of bandwidth, of memory and
//! of descriptors.

#![allow(clippy::disallowed_methods, reason = "tests own their tasks")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::num::NonZeroU64;
use std::time::Duration;

use sluice::model::intent::{Limits, ListenerKey, Protocol, Queue, Rate};
use sluice::model::outcome::{Outcome, Refusal};
use support::asked::{pool, route, web};
use support::{Asked, Peer, Sluice, Wire, eventually, peer, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

fn limited(echo: &Peer, limits: Limits) -> Asked {
    Asked::stream(&[echo.address]).change_listener(web(), |listener| listener.limits = limits)
}

/// A connection that is served.
async fn served(sluice: &Sluice) -> Wire {
    let mut client = Wire::to(sluice.address(web()).await).await;
    client.send("x").await;
    assert_eq!(client.exactly(1).await, b"x");
    client
}

/// A connection that is closed, unserved.
async fn refused(sluice: &Sluice) {
    let mut client = Wire::to(sluice.address(web()).await).await;
    let (came, how) = client.rest().await;
    assert!(came.is_empty() && how.is_err(), "a reset was to come");
}

/// Asks until a connection is served, as long as it may take.
async fn served_again(sluice: &Sluice) -> Wire {
    let begun = Instant::now();
    loop {
        let mut client = Wire::to(sluice.address(web()).await).await;
        if client.try_send("x").await.is_ok() && client.stream.read(&mut [0]).await.is_ok_and(|n| n == 1) {
            return client;
        }
        assert!(begun.elapsed() < support::PATIENCE, "not served again");
    }
}

#[tokio::test]
async fn a_listener_has_so_many_connections_over_all_threads_and_no_more() {
    let echo = Peer::echo().await;
    let sluice = Sluice::start_with(3, limited(&echo, Limits { connections: 20, ..Limits::default() })).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(served(&sluice).await);
    }
    for _ in 0..10 {
        refused(&sluice).await;
    }
    let listener = sluice.listener(web());
    assert_eq!((listener.refused(Refusal::TooMany), listener.accepted(), listener.active()), (10, 20, 20));
    clients.pop();
    clients.push(served_again(&sluice).await);
    // A higher limit serves more at once, and what is open counts on.
    sluice.publish(&limited(&echo, Limits { connections: 21, ..Limits::default() }).into());
    clients.push(served_again(&sluice).await);
    refused(&sluice).await;
    assert_eq!(listener.active(), 21);
}

#[tokio::test]
async fn a_source_has_so_many_connections_and_a_swap_does_not_forget_them() {
    let echo = Peer::echo().await;
    let asked = limited(&echo, Limits { per_source: 2, ..Limits::default() });
    let sluice = Sluice::start_with(2, asked.clone()).await;
    let (first, _second) = (served(&sluice).await, served(&sluice).await);
    refused(&sluice).await;
    sluice.publish(&asked.change_pool("site", |pool| pool.retries = 1).into());
    refused(&sluice).await;
    // Another source is another matter: 127.0.0.9 reaches the same listener.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(sluice.address(web()).await).await.unwrap();
    other.write_all(b"y").await.unwrap();
    assert_eq!(soon("the echo", other.read_u8()).await.unwrap(), b'y');
    drop(first);
    let _third = served_again(&sluice).await;
    assert!(sluice.listener(web()).refused(Refusal::SourceTooMany) >= 2);
}

#[tokio::test]
async fn a_source_that_comes_too_fast_is_refused() {
    let echo = Peer::echo().await;
    let rate = Rate { count: 5, per: Duration::from_secs(3600) };
    let sluice = Sluice::start_with(2, limited(&echo, Limits { rate: Some(rate), ..Limits::default() })).await;
    for _ in 0..5 {
        drop(served(&sluice).await);
    }
    for _ in 0..3 {
        refused(&sluice).await;
    }
    assert_eq!(sluice.listener(web()).refused(Refusal::SourceTooFast), 3);
    assert_eq!(sluice.listener(web()).sources_remembered(), 1);
}

#[tokio::test]
async fn behind_a_proxy_the_source_is_the_client_it_names() {
    let echo = Peer::echo().await;
    let asked = limited(&echo, Limits { per_source: 1, ..Limits::default() })
        .change_listener(web(), |listener| listener.proxies = vec!["127.0.0.0/8".parse().unwrap()]);
    let sluice = Sluice::start(asked).await;
    let connect = async |client: &str| {
        let mut wire = Wire::to(sluice.address(web()).await).await;
        wire.send(format!("PROXY TCP4 {client} 192.0.2.9 1234 80\r\nx")).await;
        wire
    };
    let mut one = connect("192.0.2.1").await;
    assert_eq!(one.exactly(1).await, b"x");
    let mut other = connect("192.0.2.2").await;
    assert_eq!(other.exactly(1).await, b"x");
    let (came, _) = connect("192.0.2.1").await.rest().await;
    assert!(came.is_empty());
    let listener = sluice.listener(web());
    assert_eq!(listener.refused(Refusal::SourceTooMany), 1);
    eventually("its end", || (listener.ended(Outcome::Refused) == 1).then_some(())).await;
    drop(one);
    eventually("its place to be given back", || (listener.active() == 1).then_some(())).await;
    assert_eq!(connect("192.0.2.1").await.exactly(1).await, b"x");
}

/// A TCP listener before one backend that takes `most`, with a queue.
fn queued(backend: &Peer, most: u32, queue: Queue) -> Asked {
    Asked::stream(&[backend.address]).change_pool("site", |pool| {
        pool.max_connections = most;
        pool.queue = queue;
    })
}

fn queue(length: u32, ms: u64) -> Queue {
    Queue { length, wait: Duration::from_millis(ms) }
}

#[tokio::test]
async fn who_finds_the_backends_busy_waits_and_is_served_in_order() {
    let echo = Peer::echo().await;
    let sluice = Sluice::start_with(2, queued(&echo, 2, queue(10, 9000))).await;
    let (mut first, _second) = (served(&sluice).await, served(&sluice).await);
    let mut waiting = Vec::new();
    for n in 1..=3 {
        let mut client = Wire::to(sluice.address(web()).await).await;
        client.send([n]).await;
        eventually("it to stand in the line", || {
            (sluice.pool("site").queue().length() == usize::from(n)).then_some(())
        })
        .await;
        waiting.push(client);
    }
    assert_eq!(echo.connections(), 2, "no more than the limit");
    for (n, mut next) in (1u8..).zip(waiting) {
        first.finish().await;
        first.end().await;
        assert_eq!(next.exactly(1).await, [n]);
        assert_eq!(sluice.pool("site").queue().length(), 3 - usize::from(n));
        first = next;
    }
    assert_eq!(sluice.pool("site").queue_ends(), [3, 0, 0]);
}

#[tokio::test]
async fn a_queue_has_an_end_in_length_and_in_time() {
    let echo = Peer::echo().await;
    let sluice = Sluice::start(queued(&echo, 1, queue(1, 300))).await;
    let _held = served(&sluice).await;
    let mut waits = Wire::to(sluice.address(web()).await).await;
    eventually("it to wait", || (sluice.pool("site").queue().length() == 1).then_some(())).await;
    refused(&sluice).await;
    let listener = sluice.listener(web());
    eventually("the refusal to be counted", || (listener.ended(Outcome::QueueFull) == 1).then_some(())).await;
    let (came, how) = waits.rest().await;
    assert!(came.is_empty() && how.is_err());
    eventually("the end to be counted", || (listener.ended(Outcome::QueueTimeout) == 1).then_some(())).await;
    assert_eq!(sluice.pool("site").queue_ends(), [0, 1, 1]);
    assert_eq!(sluice.pool("site").queue().length(), 0);
}

#[tokio::test]
async fn who_resets_leaves_the_line() {
    let echo = Peer::echo().await;
    let sluice = Sluice::start(queued(&echo, 1, queue(1, 3_600_000))).await;
    let _held = served(&sluice).await;
    let waits = Wire::to(sluice.address(web()).await).await;
    eventually("it to wait", || (sluice.pool("site").queue().length() == 1).then_some(())).await;
    waits.reset();
    eventually("its place to be free", || (sluice.pool("site").queue().length() == 0).then_some(())).await;
    assert_eq!(sluice.listener(web()).ended(Outcome::ClientGone), 1);
}

#[tokio::test]
async fn a_raised_limit_and_a_new_backend_serve_who_waits_already() {
    let echo = Peer::echo().await;
    let asked = queued(&echo, 1, queue(10, 9000));
    let sluice = Sluice::start(asked.clone()).await;
    let _held = served(&sluice).await;
    let wait = async |byte: u8| {
        let mut client = Wire::to(sluice.address(web()).await).await;
        client.send([byte]).await;
        eventually("it to wait", || (sluice.pool("site").queue().length() > 0).then_some(())).await;
        client
    };
    let mut one = wait(1).await;
    sluice.publish(&asked.clone().change_pool("site", |pool| pool.max_connections = 2).into());
    assert_eq!(one.exactly(1).await, [1]);
    let mut two = wait(2).await;
    let fresh = Peer::echo().await;
    let more = asked.change_pool("site", |pool| {
        pool.max_connections = 2;
        pool.backends.extend(support::asked::pool(&[fresh.address]).backends);
    });
    sluice.publish(&more.into());
    assert_eq!(two.exactly(1).await, [2]);
    assert_eq!((echo.connections(), fresh.connections()), (2, 1));
}

#[tokio::test]
async fn a_line_outlives_its_limit_and_its_pool() {
    let echo = Peer::echo().await;
    let asked = queued(&echo, 1, queue(10, 30_000));
    let sluice = Sluice::start_with(2, asked.clone()).await;
    let line = async |most: usize| {
        let mut line = Vec::new();
        for n in 1..=most {
            let mut client = Wire::to(sluice.address(web()).await).await;
            client.send([n as u8]).await;
            eventually("it to wait", || (sluice.pool("site").queue().length() == n).then_some(())).await;
            line.push(client);
        }
        line
    };
    let mut held = served(&sluice).await;
    let free = asked.clone().change_pool("site", |pool| pool.max_connections = 0);
    let waiting = line(5).await;
    sluice.publish(&free.into());
    for (n, mut client) in (1u8..).zip(waiting) {
        assert_eq!(client.exactly(1).await, [n], "there is no limit any more");
        client.finish().await;
        client.end().await;
    }
    assert_eq!(sluice.pool("site").queue().length(), 0);
    sluice.publish(&asked.clone().into());
    let waiting = line(3).await;
    let mut gone = asked.clone();
    gone.0.pools.clear();
    sluice.publish(&gone.into());
    sluice.publish(&asked.into());
    // Those of before come first, at once and not only when the first looks.
    let begun = Instant::now();
    for (n, mut next) in (1u8..).zip(waiting) {
        held.finish().await;
        held.end().await;
        assert_eq!(next.exactly(1).await, [n]);
        held = next;
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(sluice.pool("site").queue().length(), 0);
}

#[tokio::test]
async fn a_backend_that_comes_up_serves_who_waits_already() {
    let (busy, sick) = (Peer::echo().await, Peer::echo().await);
    let asked = Asked::stream(&[busy.address, sick.address]).change_pool("site", |pool| {
        pool.max_connections = 1;
        pool.queue = queue(10, 9000);
        pool.probe = Some(sluice::model::intent::Probe::default());
    });
    let sluice = Sluice::start(asked).await;
    let probe = |n: usize| {
        sluice.snapshots.current().pools[&sluice::model::intent::PoolName::new("site")].backends[n]
            .probe
            .clone()
            .unwrap()
    };
    probe(1).set(sluice::model::live::probe::Verdict::Down, 0, None);
    let _held = served(&sluice).await;
    let mut waits = Wire::to(sluice.address(web()).await).await;
    waits.send("z").await;
    eventually("it to wait", || (sluice.pool("site").queue().length() == 1).then_some(())).await;
    probe(1).set(sluice::model::live::probe::Verdict::Up, 0, None);
    assert_eq!(waits.exactly(1).await, b"z");
    assert_eq!((busy.connections(), sick.connections()), (1, 1));
}

#[tokio::test]
async fn requests_wait_too_and_are_told_when_it_takes_too_long() {
    let (go, gate) = tokio::sync::watch::channel(0);
    let backend = Peer::serving(move |mut wire| {
        let mut gate = gate.clone();
        async move {
            while wire.message().await.is_some() {
                gate.wait_for(|open| *open > 0).await.unwrap();
                wire.send(peer::answer("200 OK", "late")).await;
            }
        }
    })
    .await;
    let asked = Asked::default()
        .listener(web(), "web", Protocol::Http, vec![route("*", "/", "site")])
        .pool("site", pool(&[backend.address]))
        .change_pool("site", |pool| {
            pool.max_connections = 1;
            pool.queue = queue(1, 1000);
        });
    let sluice = Sluice::start_with(1, asked).await;
    let address = sluice.address(web()).await;
    let get = || async move { Wire::to(address).await.get("site.test", "/").await };
    let first = tokio::spawn(get());
    eventually("the first to be under way", || (backend.connections() == 1).then_some(())).await;
    let second = tokio::spawn(get());
    eventually("the second to wait", || (sluice.pool("site").queue().length() == 1).then_some(())).await;
    let third = get().await;
    assert_eq!((third.status(), third.text()), (503, "503 every backend is busy and the queue is full\n"));
    let second = soon("the second", second).await.unwrap();
    assert_eq!((second.status(), second.text()), (503, "503 every backend was busy for too long\n"));
    go.send_replace(1);
    assert_eq!(soon("the first", first).await.unwrap().text(), "late");
    assert_eq!(get().await.text(), "late");
    assert_eq!(backend.connections(), 1, "one at a time, on one thread, fits one connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_keep_their_connection_are_served_in_turn() {
    const CLIENTS: usize = 5;
    const EACH: usize = 100;
    let backend = Peer::named("x").await;
    let asked = Asked::site(&[backend.address]).change_pool("site", |pool| {
        pool.max_connections = 1;
        pool.queue = queue(100, 9000);
    });
    for threads in [1, 2] {
        let sluice = Sluice::start_with(threads, asked.clone()).await;
        let address = sluice.address(web()).await;
        let order = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut clients = tokio::task::JoinSet::new();
        let begin = std::sync::Arc::new(tokio::sync::Barrier::new(CLIENTS));
        for n in 0..CLIENTS {
            let (order, begin) = (order.clone(), begin.clone());
            clients.spawn(async move {
                let mut client = Wire::to(address).await;
                begin.wait().await;
                for _ in 0..EACH {
                    assert_eq!(client.get("a", "/").await.status(), 200);
                    order.lock().unwrap().push(n);
                }
            });
        }
        clients.join_all().await;
        let order = order.lock().unwrap();
        // While all have something to ask, nobody is ahead of another by more than a few.
        let mut counts = [0i64; CLIENTS];
        let mut ahead = 0;
        for n in &*order {
            counts[*n] += 1;
            if counts.iter().all(|count| *count < EACH as i64) {
                ahead = ahead.max(counts.iter().max().unwrap() - counts.iter().min().unwrap());
            }
        }
        println!("{threads} threads: at most {ahead} ahead");
        assert!(ahead <= 20, "{ahead}");
        assert_eq!(sluice.pool("site").queue_ends()[1..], [0, 0]);
    }
}

/// Takes so many bytes from a listener; how long it took after the first came.
async fn download(sluice: &Sluice, bytes: usize) -> Duration {
    let mut client = Wire::to(sluice.address(web()).await).await;
    client.exactly(1).await;
    let begun = Instant::now();
    client.exactly(bytes - 1).await;
    begun.elapsed()
}

#[tokio::test]
async fn a_bulk_transfer_goes_at_the_rate_of_its_connection_and_of_its_listener() {
    let source = Peer::serving(|mut wire| async move {
        let block = vec![7; 1 << 16];
        while wire.try_send(&block).await.is_ok() {}
    })
    .await;
    const RATE: usize = 4_000_000;
    let rate = NonZeroU64::new(RATE as u64);
    let sluice = Sluice::start(limited(&source, Limits { connection_bandwidth: rate, ..Limits::default() })).await;
    // Two at a time, each at the full rate of its own.
    let (one, two) = tokio::join!(download(&sluice, RATE), download(&sluice, RATE));
    for took in [one, two] {
        assert!(took > Duration::from_millis(800) && took < Duration::from_millis(1300), "{took:?}");
    }
    sluice.publish(&limited(&source, Limits { bandwidth: rate, ..Limits::default() }).into());
    let (one, two) = tokio::join!(download(&sluice, RATE / 2), download(&sluice, RATE / 2));
    // Who is first has the slack, and is ahead by the other's first small turns.
    assert!(one.min(two) > Duration::from_millis(600), "{one:?} {two:?}");
    let both = one.max(two);
    assert!(both > Duration::from_millis(800) && both < Duration::from_millis(1600), "{one:?} {two:?}");
}

#[tokio::test]
async fn bodies_go_at_the_rate_of_their_connection() {
    const RATE: usize = 4_000_000;
    let backend = Peer::http(|_| peer::ok(&"b".repeat(RATE))).await;
    let asked = Asked::site(&[backend.address]).change_listener(web(), |listener| {
        listener.limits.connection_bandwidth = NonZeroU64::new(RATE as u64);
    });
    let sluice = Sluice::start(asked).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    let begun = Instant::now();
    let answer = client.get("site.test", "/").await;
    let took = begun.elapsed();
    assert_eq!(answer.body.len(), RATE);
    assert!(took > Duration::from_millis(800) && took < Duration::from_millis(1400), "{took:?}");
    let begun = Instant::now();
    let head = format!("POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: {RATE}\r\n\r\n");
    client.send([head.into_bytes(), vec![b'a'; RATE]].concat()).await;
    // The peer reads bodies whole before it answers.
    client.message().await.unwrap();
    assert!(begun.elapsed() > Duration::from_millis(1700), "up, and down again: {:?}", begun.elapsed());
}

#[tokio::test]
async fn near_the_memory_limit_new_connections_are_refused_and_open_ones_live() {
    let echo = Peer::echo().await;
    // Any process has more than a mebibyte.
    let sluice = Sluice::start_in(1, Some(1 << 20), Asked::stream(&[echo.address])).await;
    let listener = sluice.listener(web());
    eventually("a refusal", || {
        drop(std::net::TcpStream::connect(match listener.socket() {
            sluice::model::live::listener::Socket::Open(address) => address,
            other => panic!("{other:?}"),
        }));
        (listener.refused(Refusal::Memory) > 0).then_some(())
    })
    .await;
    refused(&sluice).await;
    let roomy = Sluice::start_in(1, Some(1 << 40), Asked::stream(&[echo.address])).await;
    drop(served(&roomy).await);
}

#[tokio::test]
async fn flows_of_udp_clients_are_limited_by_source_too() {
    let backend = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = backend.local_addr().unwrap();
    let echo = tokio::spawn(async move {
        let mut buffer = [0; 64];
        while let Ok((length, from)) = backend.recv_from(&mut buffer).await {
            backend.send_to(&buffer[..length], from).await.unwrap();
        }
    });
    let key = ListenerKey::udp("127.0.0.1:0".parse().unwrap());
    let asked = Asked::default()
        .listener(key, "dns", Protocol::Udp, vec![route("*", "/", "site")])
        .pool("site", pool(&[at]))
        .change_listener(key, |listener| listener.limits.per_source = 2);
    let sluice = Sluice::start(asked).await;
    let address = sluice.address(key).await;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let client = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(address).await.unwrap();
        client.send(b"q").await.unwrap();
        assert_eq!(soon("the echo", client.recv(&mut [0; 8])).await.unwrap(), 1);
        clients.push(client);
    }
    let third = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    third.send_to(b"q", address).await.unwrap();
    let listener = sluice.listener(key);
    eventually("the refusal", || (listener.refused(Refusal::SourceTooMany) == 1).then_some(())).await;
    assert_eq!(listener.active(), 2);
    echo.abort();
}

#[tokio::test]
async fn a_client_that_never_reads_costs_what_the_sockets_hold_and_is_given_up() {
    let endless = Peer::serving(|mut wire| async move {
        let block = vec![7; 1 << 16];
        while wire.stream.write_all(&block).await.is_ok() {}
    })
    .await;
    let asked = Asked::stream(&[endless.address]).change_pool("site", |pool| {
        pool.timeouts.idle = Duration::from_millis(300);
        pool.timeouts.stall = Duration::from_millis(300);
    });
    let sluice = Sluice::start(asked).await;
    let before = sluice::net::memory::resident().unwrap();
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(Wire::to(sluice.address(web()).await).await);
    }
    let listener = sluice.listener(web());
    let ended = || listener.ended(Outcome::Stalled) + listener.ended(Outcome::Idle);
    eventually("all to be given up", || (ended() == 50 && listener.active() == 0).then_some(())).await;
    let grown = sluice::net::memory::resident().unwrap().saturating_sub(before);
    assert!(grown < 50 * (1 << 20), "{grown} bytes for 50 clients");
}
