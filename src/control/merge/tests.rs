//! What is united, what clashes, and what merge promises of any fragments.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::intent::Limits;
use crate::model::intent::{Action, Backend, Cert, CertName, Pool, PoolName, SourceRules};
use crate::model::secret::Secret;

fn key(port: u16) -> ListenerKey {
    ListenerKey::tcp(std::net::SocketAddr::from(([192, 0, 2, 1], port)))
}

fn route(source: &str, host: &str, path: &str, pool: &str) -> Route {
    Route {
        host: HostPattern::parse(host).unwrap(),
        alpn: Vec::new(),
        path: PathMatch::Prefix(path.into()),
        action: Action::Forward(PoolName::new(pool)),
        filters: None,
        origin: Origin::new(source, format!("route {host}{path}")),
    }
}

fn listener(source: &str, protocol: Protocol, routes: Vec<Route>) -> Listener {
    Listener {
        name: "web".into(),
        protocol,
        routes,
        certs: vec![],
        strict_sni: false,
        tls: Default::default(),
        sources: SourceRules::default(),
        essential: true,
        proxies: Vec::new(),
        http: Default::default(),
        limits: Limits::default(),
        flow_idle: None,
        origin: Origin::new(source, "listener web"),
    }
}

fn on(port: u16, listener: Listener) -> Intent {
    Intent { listeners: [(key(port), Arc::new(listener))].into(), ..Intent::default() }
}

fn cert(source: &str) -> Arc<Cert> {
    let origin = Origin::new(source, "certificate");
    Arc::new(Cert {
        names: vec![],
        chain: vec![],
        key: Secret::new(*b"k"),
        not_before: 0,
        not_after: 0,
        must_staple: false,
        staple: None,
        origin,
    })
}

fn reasons(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn routes_and_certificates_of_one_address_are_united_in_order() {
    let mut a = on(80, listener("file", Protocol::Https, vec![route("file", "a.test", "/", "a")]));
    let mut b = on(80, listener("home", Protocol::Https, vec![route("home", "b.test", "/", "b")]));
    for (fragment, name) in [(&mut a, "one"), (&mut b, "two")] {
        fragment.certs.insert(CertName::new(name), cert(name));
        Arc::make_mut(fragment.listeners.get_mut(&key(80)).unwrap()).certs.push(CertName::new(name));
    }
    let (merged, problems) = merge([&a, &b]);
    assert_eq!(problems, []);
    let both = &merged.listeners[&key(80)];
    assert_eq!(both.routes.iter().map(|r| r.host.to_string()).collect::<Vec<_>>(), ["a.test", "b.test"]);
    assert_eq!(both.certs, [CertName::new("one"), CertName::new("two")]);
    assert_eq!(both.origin.source.as_ref(), "file");
    assert_eq!(merged.certs.len(), 2);
}

#[test]
fn a_union_is_strict_about_names_when_either_is() {
    let lax = on(443, listener("file", Protocol::Https, vec![route("file", "a.test", "/", "a")]));
    let mut strict = on(443, listener("home", Protocol::Https, vec![route("home", "b.test", "/", "b")]));
    Arc::make_mut(strict.listeners.get_mut(&key(443)).unwrap()).strict_sni = true;
    let mut bare = strict.clone();
    Arc::make_mut(bare.listeners.get_mut(&key(443)).unwrap()).routes.clear();
    let cases = [(&lax, &strict, true), (&strict, &lax, true), (&lax, &bare, true), (&lax, &lax, false)];
    for (first, later, is_strict) in cases {
        let (merged, problems) = merge([first, later]);
        assert_eq!(problems, []);
        assert_eq!(merged.listeners[&key(443)].strict_sni, is_strict);
        assert_eq!(merged.to_string().contains("\n  strict_sni\n"), is_strict, "{merged}");
    }
}

#[test]
fn the_first_keeps_host_and_path_and_the_later_is_told_once() {
    let mut a = on(80, listener("file", Protocol::Http, vec![route("file", "a.test", "/x", "a")]));
    a.listeners.insert(key(81), a.listeners[&key(80)].clone());
    let mut b = on(
        80,
        listener("home", Protocol::Http, vec![route("home", "a.test", "/x/", "b"), route("home", "*", "/", "b")]),
    );
    b.listeners.insert(key(81), b.listeners[&key(80)].clone());
    let (merged, problems) = merge([&a, &b]);
    assert_eq!(
        reasons(&problems),
        ["home: route a.test/x/: a.test /x/ on web is already given to file: route a.test/x, which keeps it; \
          choose another host or path"]
    );
    assert_eq!(merged.listeners[&key(80)].routes.len(), 2);
    let (_, more) = crate::model::compile::compile(&merged, &Default::default(), &crate::model::live::Live::new(1));
    assert!(more.iter().all(|p| !p.reason.contains("taken")), "told once only: {more:?}");
}

#[test]
fn a_route_that_does_the_same_as_the_first_is_no_clash() {
    let a = on(80, listener("home", Protocol::Http, vec![route("home", "a.test", "/", "a")]));
    let b = on(80, listener("home", Protocol::Http, vec![route("other", "a.test", "/", "a")]));
    let (merged, problems) = merge([&a, &b]);
    assert_eq!(problems, []);
    assert_eq!(merged.listeners[&key(80)].routes.len(), 1);
}

#[test]
fn another_protocol_or_other_source_ranges_cannot_share_an_address() {
    let a = on(80, listener("file", Protocol::Http, vec![route("file", "*", "/", "a")]));
    let b = on(80, listener("home", Protocol::Tcp, vec![route("home", "*", "/", "b")]));
    let (merged, problems) = merge([&a, &b]);
    assert_eq!(merged, merge([&a]).0);
    assert!(reasons(&problems)[0].contains("asks for 192.0.2.1:80 as tcp, but file: listener web has it as http"));

    let narrow = SourceRules { allow: vec!["10.0.0.0/8".parse().unwrap()], deny: vec![] };
    let mut c = on(80, listener("home", Protocol::Http, vec![route("home", "c.test", "/", "c")]));
    Arc::make_mut(c.listeners.get_mut(&key(80)).unwrap()).sources = narrow.clone();
    let (merged, problems) = merge([&a, &c]);
    assert_eq!(merged, merge([&a]).0, "a narrower rule is not widened");
    assert!(reasons(&problems)[0].contains("other source ranges"));
    let (merged, problems) = merge([&c, &a]);
    assert_eq!(problems, []);
    assert_eq!(merged.listeners[&key(80)].sources, narrow);
    assert_eq!(merged.listeners[&key(80)].routes.len(), 2);
}

#[test]
fn who_asks_nothing_of_http_lives_by_the_rules_of_who_was_first() {
    let plain = on(80, listener("home", Protocol::Http, vec![route("home", "b.test", "/", "b")]));
    let mut ruled = on(80, listener("file", Protocol::Http, vec![]));
    let rules = &mut Arc::make_mut(ruled.listeners.get_mut(&key(80)).unwrap()).http;
    rules.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    let rules = rules.clone();
    let (merged, problems) = merge([&ruled, &plain]);
    assert_eq!(problems, []);
    assert_eq!((&merged.listeners[&key(80)].http, merged.listeners[&key(80)].routes.len()), (&rules, 1));
    let (merged, problems) = merge([&plain, &ruled]);
    assert_eq!(merged, merge([&plain]).0, "nobody is trusted on behalf of another");
    assert!(reasons(&problems)[0].contains("other paths or trusted_proxies"));
}

#[test]
fn two_tcp_askers_of_one_address_and_two_pools_of_one_name() {
    let pool = |source: &str, port: u16| {
        let mut pool = Pool::new(Origin::new(source, "pool p"));
        pool.backends.push(Backend::new(std::net::SocketAddr::from(([127, 0, 0, 1], port))));
        Arc::new(pool)
    };
    let mut a = on(22, listener("file", Protocol::Tcp, vec![route("file", "*", "/", "p")]));
    let mut b = on(22, listener("home", Protocol::Tcp, vec![route("home", "*", "/", "q")]));
    a.pools.insert(PoolName::new("p"), pool("file", 1));
    b.pools.insert(PoolName::new("p"), pool("home", 2));
    let (merged, problems) = merge([&a, &b]);
    assert_eq!(
        reasons(&problems),
        [
            "home: pool p: pool p already comes from file: pool p, which keeps the name; choose another",
            "home: route */: 192.0.2.1:22 is already given to file: route */, which keeps it; choose another address",
        ]
    );
    assert_eq!(merged, a);
}

#[test]
fn who_asks_for_a_part_of_an_address_that_is_taken_whole_is_left_out_and_the_other_way_round() {
    let asker = |source: &str, address: &str| {
        let listener = listener(source, Protocol::Tcp, vec![route(source, "*", "/", source)]);
        let key = ListenerKey::tcp(address.parse().unwrap());
        Intent { listeners: [(key, Arc::new(listener))].into(), ..Intent::default() }
    };
    let (part, whole) = (asker("file", "127.0.0.1:22"), asker("home", "0.0.0.0:22"));
    let (merged, problems) = merge([&part, &whole]);
    assert_eq!(merged, part);
    assert_eq!(
        reasons(&problems),
        [
            "home: listener web: 0.0.0.0:22 overlaps with 127.0.0.1:22, which file: listener web has; choose another port, \
             or give each an address of its own"
        ]
    );
    let (merged, problems) = merge([&whole, &part]);
    assert_eq!((&merged, problems.len()), (&whole, 1));
    let others = [asker("a", "127.0.0.2:22"), asker("b", "[::]:22"), asker("c", "0.0.0.0:23"), asker("d", "0.0.0.0:0")];
    let (merged, problems) = merge([&part].into_iter().chain(&others));
    assert_eq!((merged.listeners.len(), problems), (5, vec![]), "other addresses, families and ports are free");
}

#[test]
fn an_address_is_essential_when_anyone_says_so() {
    let asker = |essential: bool| {
        let route = route("s", "a.test", "/", "p");
        on(80, Listener { essential, ..listener("s", Protocol::Http, vec![route]) })
    };
    for (a, b, both) in [(false, false, false), (false, true, true), (true, false, true)] {
        assert_eq!(merge([&asker(a), &asker(b)]).0.listeners[&key(80)].essential, both, "{a} {b}");
    }
}

#[test]
fn what_nobody_touches_keeps_its_allocation() {
    let a = on(80, listener("file", Protocol::Http, vec![route("file", "a.test", "/", "a")]));
    let (merged, _) = merge([&a]);
    assert!(Arc::ptr_eq(&merged.listeners[&key(80)], &a.listeners[&key(80)]));
}

/// A fragment whose hosts and pools carry its own number, so that no two fragments clash; ports are shared.
fn fragment(number: usize) -> impl Strategy<Value = Intent> {
    let routes = prop::collection::btree_map((1u16..4, 0usize..5, 0usize..3), 0usize..3, 0..12);
    let pools = prop::collection::btree_map(0usize..3, 0u64..5, 0..3);
    (routes, pools).prop_map(move |(routes, pools)| {
        let source = format!("s{number}");
        let mut intent = Intent::default();
        for ((port, host, path), pool) in routes {
            let route =
                route(&source, &format!("h{host}.s{number}.test"), &format!("/{path}"), &format!("s{number}/{pool}"));
            let listener = intent
                .listeners
                .entry(key(port))
                .or_insert_with(|| Arc::new(listener("shared", Protocol::Http, vec![])));
            Arc::make_mut(listener).routes.push(route);
        }
        for (name, seconds) in pools {
            let mut pool = Pool::new(Origin::new(source.as_str(), format!("pool {name}")));
            pool.timeouts.idle = Duration::from_secs(seconds);
            intent.pools.insert(PoolName::new(format!("s{number}/{name}")), Arc::new(pool));
        }
        intent
    })
}

/// Any fragments, clashes likely.
fn wild() -> impl Strategy<Value = Intent> {
    let routes = prop::collection::vec((1u16..4, 0usize..3, 0usize..3, 0usize..3, any::<bool>()), 0..12);
    (routes, 0usize..3).prop_map(|(routes, number)| {
        let source = format!("s{number}");
        let mut intent = Intent::default();
        for (port, host, path, pool, tcp) in routes {
            let protocol = if tcp { Protocol::Tcp } else { Protocol::Http };
            let listener =
                intent.listeners.entry(key(port)).or_insert_with(|| Arc::new(listener(&source, protocol, vec![])));
            let route = route(&source, &format!("h{host}.test"), &format!("/{path}"), &format!("{pool}"));
            Arc::make_mut(listener).routes.push(route);
        }
        intent
    })
}

proptest! {
    #[test]
    fn merge_is_associative_where_nothing_clashes(a in fragment(1), b in fragment(2), c in fragment(3)) {
        let (flat, problems) = merge([&a, &b, &c]);
        prop_assert_eq!(problems, vec![]);
        let left = merge([&merge([&a, &b]).0, &c]).0;
        let right = merge([&a, &merge([&b, &c]).0]).0;
        prop_assert_eq!(&left, &flat);
        prop_assert_eq!(&right, &flat);
    }

    #[test]
    fn merge_is_idempotent(a in wild(), b in wild()) {
        let (once, _) = merge([&a, &b]);
        let (twice, problems) = merge([&once, &once]);
        prop_assert_eq!(problems, vec![]);
        prop_assert_eq!(&twice, &once);
    }

    #[test]
    fn what_does_not_clash_is_never_lost_and_what_clashes_is_told(a in wild(), b in wild()) {
        let (merged, problems) = merge([&a, &b]);
        for (key, asked) in a.listeners.iter().chain(&b.listeners) {
            let served = &merged.listeners[key];
            for route in &asked.routes {
                let is_served = served.routes.iter().any(|r| slot(r) == slot(route) && r.action == route.action);
                let is_told = problems.iter().any(|p| p.origin == route.origin || p.origin == asked.origin);
                prop_assert!(is_served || is_told, "{} {} vanished", route.host, route.path);
            }
        }
    }
}
