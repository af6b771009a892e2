//! Why an address cannot be listened on, and that the reason follows what is the case.

use super::*;
use crate::model::compile::compile;
use crate::model::intent::{Intent, Limits, Listener, Protocol, SourceRules};
use crate::model::problem::Origin;

fn snapshot(live: &Live, addresses: &[SocketAddr]) -> Snapshot {
    let listener = Arc::new(Listener {
        name: "web".into(),
        protocol: Protocol::Tcp,
        routes: vec![],
        certs: vec![],
        strict_sni: false,
        tls: Default::default(),
        essential: true,
        proxies: Vec::new(),
        http: Default::default(),
        limits: Limits::default(),
        flow_idle: None,
        sources: SourceRules::default(),
        origin: Origin::new("file", "listener web"),
    });
    let listeners = addresses.iter().map(|address| (ListenerKey::tcp(*address), listener.clone())).collect();
    compile(&Intent { listeners, ..Intent::default() }, &Snapshot::default(), live).0
}

#[tokio::test]
async fn the_reason_names_who_is_in_the_way_and_follows() {
    let (live, ready) = (Arc::new(Live::new(1)), Ready::default());
    let (_trigger, drain) = drain::channel();
    let settings = Settings { workers: 1, seed: 1, memory_limit: None };
    let mut proxy = Proxy::start(settings, Arc::default(), live.clone(), ready.clone(), &drain).unwrap();
    proxy.first = None;
    let blocker = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let one = blocker.local_addr().unwrap();
    let every = SocketAddr::from(([0, 0, 0, 0], one.port()));
    let state = live.listener(&ListenerKey::tcp(one));
    let reason = || match state.socket() {
        Socket::Failed(reason) => reason.to_string(),
        open => panic!("{open:?}"),
    };

    proxy.match_sockets(&snapshot(&live, &[one])).await;
    assert!(reason().starts_with(&format!("{one} is taken by sluice itself (see process.admin")), "{}", reason());

    drop(blocker);
    proxy.match_sockets(&snapshot(&live, &[one, every])).await;
    let ours = format!("{one} is taken by our own listener {every}; keep one, or choose another port");
    assert_eq!(reason(), ours, "the same error, another reason");
    assert_eq!(ready.waiting_for(), [format!("listener tcp://{one}: {ours}")]);

    let until = Instant::now() + Duration::from_secs(10);
    while state.socket() != Socket::Open(one) {
        assert!(Instant::now() < until, "{:?}", state.socket());
        proxy.match_sockets(&snapshot(&live, &[one])).await;
        tokio::task::yield_now().await;
    }
    assert!(ready.waiting_for().is_empty());
    proxy.force();
}

#[tokio::test]
async fn a_lack_of_descriptors_has_its_remedy() {
    let error = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
    let reason = explain(ListenerKey::tcp("192.0.2.1:80".parse().unwrap()), &error, None).await;
    assert!(reason.ends_with("raise the limit of open files (LimitNOFILE)"), "{reason}");
}

#[tokio::test]
async fn a_proxy_may_serve_on_the_thread_of_who_starts_it() {
    let serve = async {
        let (live, snapshots) = (Arc::new(Live::new(1)), Arc::new(Snapshots::default()));
        let (_trigger, drain) = drain::channel();
        let settings = Settings { workers: 3, seed: 1, memory_limit: None };
        let (mut proxy, serving) =
            Proxy::on_this_thread(settings, snapshots.clone(), live.clone(), Ready::default(), &drain);
        let serving = tokio::task::spawn_local(serving);
        let asked = SocketAddr::from(([127, 0, 0, 1], 0));
        snapshots.publish(snapshot(&live, &[asked]));
        proxy.match_sockets(&snapshots.current()).await;
        let state = live.listener(&ListenerKey::tcp(asked));
        let Socket::Open(address) = state.socket() else { panic!("{:?}", state.socket()) };
        let client = tokio::net::TcpStream::connect(address).await.unwrap();
        // It leads nowhere, and so it ends.
        client.readable().await.unwrap();
        assert_eq!(state.accepted(), 1);
        proxy.force();
        serving.await.unwrap();
    };
    tokio::task::LocalSet::new().run_until(serve).await;
}
