//! Compile is total, tells each problem in every round, and takes over what did not change.

use proptest::prelude::*;

use super::*;
use crate::model::balance::Ask;
use crate::model::host::HostPattern;
use crate::model::intent::Cert;
use crate::model::intent::Limits;
use crate::model::intent::{Backend, CertName, PathMatch, SourceRules};
use crate::model::secret::Secret;
use crate::model::snapshot::Decision;

const ASK: Ask = Ask {
    chance: 12345,
    source: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
    now: std::time::Duration::ZERO,
    hash: None,
    kept: None,
};

fn origin(object: &str) -> Origin {
    Origin::new("test", object)
}

fn route(host: &str, path: PathMatch, pool: &str) -> Route {
    Route {
        host: HostPattern::parse(host).unwrap(),
        alpn: Vec::new(),
        path,
        action: Action::Forward(PoolName::new(pool)),
        filters: None,
        origin: origin(&format!("route {host}")),
    }
}

fn listener(protocol: Protocol, routes: Vec<Route>) -> Listener {
    Listener {
        name: "web".into(),
        protocol,
        routes,
        certs: Vec::new(),
        strict_sni: false,
        tls: Default::default(),
        sources: SourceRules::default(),
        essential: true,
        proxies: Vec::new(),
        http: Default::default(),
        limits: Limits::default(),
        flow_idle: None,
        origin: origin("listener web"),
    }
}

fn key() -> ListenerKey {
    ListenerKey::tcp(([127, 0, 0, 1], 80).into())
}

fn intent(listener: Listener, pools: &[&str]) -> Intent {
    let mut intent = Intent::default();
    intent.listeners.insert(key(), Arc::new(listener));
    for name in pools {
        let mut pool = Pool::new(origin(&format!("pool {name}")));
        pool.backends = vec![Backend::new(([127, 0, 0, 1], 9001).into())];
        intent.pools.insert(PoolName::new(*name), Arc::new(pool));
    }
    intent
}

fn reasons(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn an_unchanged_pool_and_listener_are_the_same_in_the_next_snapshot() {
    let live = Live::new(1);
    let asked = intent(listener(Protocol::Http, vec![route("*", PathMatch::any(), "site")]), &["site", "other"]);
    let (first, problems) = compile(&asked, &Snapshot::default(), &live);
    assert_eq!(reasons(&problems), [""; 0]);
    let mut changed = asked;
    Arc::make_mut(changed.pools.get_mut(&PoolName::new("other")).unwrap()).retries = 5;
    let (second, _) = compile(&changed, &first, &live);
    let (site, other) = (PoolName::new("site"), PoolName::new("other"));
    assert!(Arc::ptr_eq(&first.pools[&site], &second.pools[&site]));
    assert!(!Arc::ptr_eq(&first.pools[&other], &second.pools[&other]));
    assert!(Arc::ptr_eq(&first.listeners[&key()], &second.listeners[&key()]), "pools are found by name");
    assert_eq!(second.generation, first.generation + 1);
    let states = |s: &Snapshot| s.pools[&other].backends[0].state.clone();
    assert!(Arc::ptr_eq(&states(&first), &states(&second)), "counters go on");
}

#[test]
fn a_route_that_says_404_keeps_broader_ones_out() {
    let live = Live::new(1);
    let none = Route { action: Action::NotFound, ..route("shop.test", PathMatch::any(), "unused") };
    let shop = route("shop.test", PathMatch::Prefix("/api".into()), "site");
    let asked = intent(listener(Protocol::Http, vec![shop, none, route("*", PathMatch::any(), "site")]), &["site"]);
    let (snapshot, problems) = compile(&asked, &Snapshot::default(), &live);
    assert_eq!(reasons(&problems), [""; 0]);
    let decide = |host, path| snapshot.decide(&key(), Some(host), path);
    assert!(matches!(decide("shop.test", "/api/x"), Decision::Forward { .. }));
    let Decision::NoRoute { unrouted } = decide("shop.test", "/.well-known/acme-challenge/x") else {
        panic!("not 404")
    };
    assert!(Arc::ptr_eq(&unrouted, &snapshot.listeners[&key()].unrouted), "counted with the listener's other 404s");
    assert!(matches!(decide("other.test", "/x"), Decision::Forward { .. }));
}

#[test]
fn the_proof_of_a_certificate_goes_before_routes_and_only_in_the_clear() {
    use crate::model::live::acme::Answer;
    let path = "/.well-known/acme-challenge/token";
    let decided = |protocol, path: &str| {
        let live = Live::new(1);
        let redirect =
            Route { action: Action::RedirectHttps { port: 443, pool: None }, ..route("*", PathMatch::any(), "unused") };
        let (snapshot, _) = compile(&intent(listener(protocol, vec![redirect]), &[]), &Snapshot::default(), &live);
        // Offered after the snapshot was made, which needs no other.
        let _offer = live.acme.offer(Answer::Text { token: "token".into(), text: "token.thumb".into() });
        match snapshot.decide(&key(), Some("a.test"), path) {
            Decision::Challenge { text, .. } => Some(text.to_string()),
            Decision::RedirectHttps { .. } => None,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(decided(Protocol::Http, path).as_deref(), Some("token.thumb"));
    assert_eq!(decided(Protocol::Http, "/.well-known/acme-challenge/other"), None);
    assert_eq!(decided(Protocol::Https, path), None);
}

#[test]
fn a_certificate_that_is_ordered_is_missed_by_nobody() {
    use crate::model::intent::Order;
    let order = Order {
        hosts: [crate::model::host::Host::parse("a.test").unwrap()].into(),
        directory: "https://ca.test/".into(),
        email: None,
        roots: Vec::new(),
        challenge: None,
        origin: Origin::new("test", "certificate 1"),
    };
    let secure = Listener { certs: vec![order.name()], ..listener(Protocol::Https, vec![]) };
    let mut asked = intent(secure, &[]);
    let told = |asked: &Intent| reasons(&compile(asked, &Snapshot::default(), &Live::new(1)).1);
    let missing = told(&asked);
    assert_eq!(missing.len(), 2, "{missing:?}");
    assert_eq!(missing[0], "test: listener web: certificate acme:a.test does not exist");
    asked.orders.insert(order.name(), Arc::new(order));
    assert_eq!(told(&asked), [""; 0], "who orders it tells when that fails");
}

#[test]
fn a_route_to_a_pool_that_is_missing_answers_by_itself_and_takes_no_other_route() {
    let live = Live::new(1);
    let routes =
        vec![route("*", PathMatch::any(), "site"), route("*", PathMatch::Prefix("/cart".into()), "never made")];
    let asked = intent(listener(Protocol::Http, routes), &["site"]);
    let (first, problems) = compile(&asked, &Snapshot::default(), &live);
    let told = "test: route *: goes to pool never made, which does not exist, so it answers 503; name one that does";
    assert_eq!(reasons(&problems), [told]);
    assert!(matches!(first.decide(&key(), None, "/cart/1"), Decision::NoPool { .. }));
    assert!(matches!(first.decide(&key(), None, "/"), Decision::Forward { .. }));
    let (_, again) = compile(&asked, &first, &live);
    assert_eq!(reasons(&again), [told], "told in every round, though nothing changed");
}

#[test]
fn a_bad_expression_or_a_taken_place_drops_that_route_alone() {
    let live = Live::new(1);
    let routes = vec![
        route("a.test", PathMatch::any(), "site"),
        route("b.test", PathMatch::Regex("(".into()), "site"),
        route("a.test", PathMatch::Prefix("/".into()), "late"),
    ];
    let asked = intent(listener(Protocol::Http, routes), &["site", "late"]);
    let (first, problems) = compile(&asked, &Snapshot::default(), &live);
    assert_eq!(problems.len(), 2, "{problems:?}");
    let Decision::Forward { pool, .. } = first.decide(&key(), Some("a.test"), "/") else { panic!("no route") };
    assert_eq!(pool.name.as_str(), "site");
    let (_, again) = compile(&asked, &first, &live);
    assert_eq!(again, problems);
}

#[test]
fn https_without_a_usable_certificate_says_so_and_the_rest_stands() {
    let live = Live::new(1);
    let mut asked = intent(listener(Protocol::Https, vec![route("*", PathMatch::any(), "site")]), &["site"]);
    let (first, problems) = compile(&asked, &Snapshot::default(), &live);
    assert!(problems[0].reason.contains("has no certificate"), "{problems:?}");
    let name = CertName::new("broken");
    let cert = Cert {
        names: vec![],
        chain: vec![(*b"not DER").into()],
        key: Secret::new(*b"not a key"),
        not_before: 0,
        not_after: 0,
        must_staple: false,
        staple: None,
        origin: origin("secret broken"),
    };
    asked.certs.insert(name.clone(), Arc::new(cert));
    Arc::make_mut(asked.listeners.get_mut(&key()).unwrap()).certs = vec![name, CertName::new("missing")];
    let (second, problems) = compile(&asked, &first, &live);
    let told = reasons(&problems).join("\n");
    assert!(told.contains("secret broken: the certificate cannot be used"), "{told}");
    assert!(told.contains("certificate missing does not exist"), "{told}");
    assert!(matches!(second.decide(&key(), None, "/"), Decision::Forward { .. }));
    let (_, again) = compile(&asked, &second, &live);
    assert_eq!(again, problems);
}

proptest! {
    /// Whatever is asked, compile answers, and asking again changes nothing but the generation.
    #[test]
    fn compile_is_total(
        routes in proptest::collection::vec(("[a-c*]{0,3}", ".{0,8}", 0..3u8, "[pq]"), 0..12),
        weights in proptest::collection::vec(any::<u16>(), 0..6),
        retries: u8,
    ) {
        let live = Live::new(2);
        let made = routes.iter().filter_map(|(host, path, kind, pool)| {
            let path = match kind { 0 => PathMatch::Exact(path.as_str().into()), 1 => PathMatch::Prefix(path.as_str().into()), _ => PathMatch::Regex(path.as_str().into()) };
            let host = HostPattern::parse(host).ok()?;
            Some(Route { host, alpn: Vec::new(), path, action: Action::Forward(PoolName::new(pool.as_str())), filters: None, origin: origin("any") })
        });
        let mut asked = intent(listener(Protocol::Http, made.collect()), &["p"]);
        let pool = Arc::make_mut(asked.pools.get_mut(&PoolName::new("p")).unwrap());
        pool.retries = retries;
        pool.backends = weights.iter().map(|w| Backend { weight: *w, ..Backend::new(([127, 0, 0, 1], 1).into()) }).collect();
        let (first, problems) = compile(&asked, &Snapshot::default(), &live);
        let (second, again) = compile(&asked, &first, &live);
        prop_assert_eq!(problems, again);
        prop_assert!(Arc::ptr_eq(&first.pools[&PoolName::new("p")], &second.pools[&PoolName::new("p")]));
        for path in ["/", "//", "/a/b/c", ""] {
            if let Decision::Forward { pool, .. } = second.decide(&key(), Some("a"), path) {
                let picked = pool.pick(&Default::default(), &ASK);
                prop_assert_eq!(picked.is_some(), weights.iter().any(|w| *w > 0));
            }
        }
    }
}

#[test]
fn a_node_that_is_corrected_is_the_backends_own_at_once() {
    let live = Live::new(1);
    let mut other = Pool::new(Origin::new("test", "pool a"));
    other.backends = [1, 2].map(|n| Backend::new(([10, 0, 0, 1], n).into())).into();
    let other = Arc::new(other);
    let on = |node: &str, previous: &Snapshot| {
        // One that lists the same and says nothing of nodes.
        let other = other.clone();
        let mut pool = Pool::new(Origin::new("test", "pool p"));
        pool.backends = [1, 2].map(|n| Backend { node: node.into(), ..Backend::new(([10, 0, 0, 1], n).into()) }).into();
        let mut intent = Intent::default();
        intent.pools.insert(PoolName::new("p"), Arc::new(pool));
        intent.pools.insert(PoolName::new("a"), other);
        compile(&intent, previous, &live).0
    };
    let backends = |snapshot: &Snapshot| {
        let plan = &snapshot.pools[&PoolName::new("p")];
        [0, 1].map(|n| (plan.backends[n].state.clone(), plan.backends[n].node.key().to_string()))
    };
    let first = on("", &Snapshot::default());
    let [(state, node), _] = backends(&first);
    assert_eq!(node, "10.0.0.1");
    let second = on("pi-1", &first);
    let third = on("pi-2", &second);
    let [(same, node), (neighbour, _)] = backends(&third);
    assert!(Arc::ptr_eq(&state, &same), "its counts go on");
    assert_eq!((&*node, &*state.node().key().to_string()), ("pi-2", "pi-2"));
    // Both are members there, so that the silence of one alone is not its machine's.
    (0..2).for_each(|_| state.silent(state.node().pulse()));
    assert!(!state.node().is_down());
    neighbour.silent(state.node().pulse());
    for pool in ["p", "a"] {
        assert!(third.pools[&PoolName::new(pool)].backends.iter().all(|backend| !backend.is_up()), "{pool}");
    }
    let last = on("pi-2", &third);
    let is_same = |pool: &str| Arc::ptr_eq(&last.pools[&PoolName::new(pool)], &third.pools[&PoolName::new(pool)]);
    assert!(is_same("p") && is_same("a"), "taken over");
}
