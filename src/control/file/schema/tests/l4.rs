//! What connections and datagrams may be asked for: limits, PROXY protocol, passthrough, how backends are spared.

use super::*;
use crate::model::intent::{ProbeKind, Transport};

pub(super) const EVERYTHING: &str = r#"
process: {memory_limit: 512MiB}
listeners:
  dns: {bind: 127.0.0.1:53, protocol: udp, pool: dns, idle: 5s, max_connections: 5000, per_source: {rate: 300/m}}
  dns-tcp: {bind: 127.0.0.1:53, protocol: tcp, pool: both}
  dns-udp: {bind: 127.0.0.2:53, protocol: udp, pool: both}
  ssh:
    bind: 127.0.0.1:2222
    protocol: tcp
    pool: ssh
    accept_proxy_protocol: [10.0.0.0/8, 192.0.2.7]
    max_connections: 1000
    per_source: {connections: 20, rate: 20/s}
    bandwidth: {connection: 10MB, total: 1GiB/s}
  tls:
    bind: 127.0.0.1:443
    protocol: tls-passthrough
    routes:
      - {host: shop.example.test, alpn: h2, pool: grpc}
      - {host: shop.example.test, alpn: [http/1.1, h2], pool: ssh}
      - {host: "*.example.test", pool: ssh}
    pool: ssh
pools:
  dns: {backends: [192.0.2.53:53]}
  both: {backends: [192.0.2.53:53]}
  unused: {backends: [192.0.2.53:53], balance: {hash: uri}}
  shop:
    backends: [192.0.2.53:53]
    balance: {hash: cookie:Sid}
    sticky: {cookie: SRV, ttl: 1h, secure: true, same_site: none, key: sticky.key}
    retry_budget: none
  grpc: {backends: [192.0.2.1:50051], probe: {grpc: shop.v1.Cart, port: 81, every: 5s}, balance: {hash: source}}
  ssh:
    balance: random-two
    sticky: {source: 10m}
    probe: {https: /healthz, host: a.test}
    agent: {port: 9777, every: 2s}
    ejection: {failures: 5, time: 30s, on: [connect, 5xx]}
    retry_budget: 5%
    retry_on: [504, 502]
    slow_start: 30s
    max_connections: 100
    queue: {length: 10, wait: 1s}
    send_proxy_protocol: v2
    timeouts: {half_closed: 1m, stall: 2m}
    backends:
      - {address: 192.0.2.1:22, node: pi-1, instance: x}
      - nas.lan:2222
      - {address: NAS2.lan.:2222, weight: 3, backup: true, state: drain}
"#;

#[test]
fn every_setting_arrives_where_it_belongs() {
    let all = loaded(EVERYTHING);
    assert_eq!(all.process.memory_limit, Some(512 << 20));
    let shown = all.fragment.to_string();
    for line in [
        "listener dns udp udp://127.0.0.1:53",
        "  limits connections 5000 rate 300 in 60s",
        "  flow_idle 5s",
        "listener dns-tcp tcp tcp://127.0.0.1:53",
        "  proxies 10.0.0.0/8 192.0.2.7/32",
        "  limits connections 1000 per_source 20 rate 20 in 1s connection_bandwidth 10000000 bandwidth 1073741824",
        "listener tls tls-passthrough tcp://127.0.0.1:443",
        "  shop.example.test / alpn h2 -> pool grpc  # file: listener tls route 1",
        "  shop.example.test / alpn http/1.1,h2 -> pool ssh",
        "  *.example.test / -> pool ssh",
        "  * / -> pool ssh  # file: listener tls pool",
        "pool dns round-robin probe none",
        "pool both round-robin probe tcp",
        "pool unused hash uri probe tcp",
        "pool shop hash cookie Sid sticky cookie SRV ttl 3600s secure true same_site none key hidden probe tcp",
        "retries 2 budget none",
        "pool grpc hash source probe grpc \"shop.v1.Cart\" port 81 every 5s",
        "pool ssh random-two sticky 600s probe https /healthz host a.test every 1s timeout 1s fall 2 rise 1 agent port \
         9777 every 2s send_proxy v2",
        "  connect 1s response 60s idle 3600s half_closed 60s stall 120s retries 2 budget 5% on 502 504",
        "  ejection failures 5 time 30s on connect,5xx",
        "  slow_start 30s",
        "  max_connections 100 queue 10 wait 1s",
        "  backend 192.0.2.1:22 weight 1 instance x node pi-1",
        "  name nas.lan:2222 weight 1",
        "  name nas2.lan:2222 weight 3 drain backup",
    ] {
        assert!(shown.contains(line), "{line:?} is missing in\n{shown}");
    }
    let transports: Vec<_> = all.fragment.listeners.keys().map(|key| key.transport).collect();
    assert_eq!(transports.iter().filter(|transport| **transport == Transport::Udp).count(), 2);
}

#[test]
fn short_forms_mean_what_the_long_ones_say() {
    let pool = |rest: &str| {
        let text = format!("pools: {{p: {{backends: [192.0.2.1:1], {rest}}}}}");
        loaded(&text).fragment.pools[&PoolName::new("p")].clone()
    };
    for (short, long) in [
        ("sticky: source", "sticky: {source: 3h}"),
        ("probe: grpc", "probe: {grpc: }"),
        ("probe: grpc", "probe: {grpc: \"\", every: 1s}"),
        ("probe: tcp", "probe: {tcp: }"),
        ("retries: 2", "sticky: none"),
        ("retries: 2", "ejection: {}"),
        ("retries: 2", "ejection: {on: [timeout, broken, connect]}"),
        ("retries: 2", "retry_budget: 20%"),
        ("retries: 2", "retry_on: none"),
        ("retry_on: [503, 502, 503]", "retry_on: [502, 503]"),
        ("sticky: {cookie: SRV}", "sticky: {cookie: SRV, ttl: none, secure: auto, same_site: lax}"),
        ("balance: {hash: header:X-User}", "balance: {hash: \"header:x-user\"}"),
        ("retries: 2", "agent: none"),
        ("retries: 2", "slow_start: none"),
        ("retries: 2", "max_connections: none"),
        ("queue: none", "queue: {length: 0}"),
        ("agent: {port: 1}", "agent: {port: 1, every: 1s}"),
        ("balance: round-robin", "send_proxy_protocol: none"),
    ] {
        assert_eq!(pool(short), pool(long), "{short} is not {long}");
    }
    assert_eq!(pool("ejection: none").ejection, None);
    let probe = pool("probe: {grpc: , port: 5}").probe.clone().unwrap();
    assert!(matches!(probe.kind, ProbeKind::Grpc { port: Some(5), .. }));
    let of = |rest: &str| {
        let text = format!("pools: {{p: {{backends: []}}}}\nlisteners: {{a: {{bind: 127.0.0.1:1, pool: p, {rest}}}}}");
        loaded(&text).fragment.listeners.into_values().next().unwrap()
    };
    for rest in [
        "max_connections: none, per_source: none, bandwidth: none, accept_proxy_protocol: none",
        "max_connections: 0, per_source: {rate: none, connections: 0}, bandwidth: {connection: none, total: none}",
    ] {
        assert_eq!(of(&format!("protocol: tcp, {rest}")), of("protocol: tcp"));
    }
}

/// A pool whose probe is written is checked that way, whoever leads to it.
#[test]
fn a_probe_that_is_written_is_kept_for_datagrams() {
    let text = "listeners: {a: {bind: 127.0.0.1:1, protocol: udp, pool: p}}\n\
                pools: {p: {backends: [192.0.2.1:1], probe: tcp}}\n";
    assert_eq!(loaded(text).fragment.pools[&PoolName::new("p")].probe, Some(crate::model::intent::Probe::default()));
}

#[test]
fn mistakes_have_place_key_and_remedy() {
    let pool = "pools: {p: {backends: [127.0.0.1:1]}}";
    let listener = |rest: &str| format!("{pool}\nlisteners:\n  a: {{bind: 127.0.0.1:80, {rest}}}\n");
    let tcp = |rest: &str| listener(&format!("protocol: tcp, pool: p, {rest}"));
    let udp = |rest: &str| listener(&format!("protocol: udp, pool: p, {rest}"));
    let tls = |rest: &str| listener(&format!("protocol: tls-passthrough, {rest}"));
    let with_pool = |rest: &str| format!("pools:\n  p: {{backends: [127.0.0.1:1], {rest}}}\n");
    let backends = |rest: &str| format!("pools: {{p: {{backends: [{rest}]}}}}");
    let table = [
        (udp("routes: [{pool: p}]"), "f.yaml:3:59", "a udp listener has nothing to route by; write pool: instead"),
        (listener("protocol: udp"), "f.yaml:3:3", "leads nowhere; add pool: NAME"),
        (udp("bandwidth: {total: 1MB}"), "f.yaml:3:62", "is for connections; a udp listener has none"),
        (udp("accept_proxy_protocol: [10.0.0.0/8]"), "f.yaml:3:74", "is for connections; a udp listener has none"),
        (udp("idle: 10ms"), "f.yaml:3:57", "listeners.a.idle: is \"10ms\"; write a time with its unit, from 1s to 1d"),
        (tcp("idle: 1m"), "f.yaml:3:57", "is for udp; this listener is tcp: for connections, write timeouts:"),
        (tcp("accept_proxy_protocol: all"), "f.yaml:3:74", "write a list of ranges"),
        (tcp("max_connections: many"), "f.yaml:3:68", "write none or a whole number from 0 to 10000000"),
        (tcp("per_source: 5"), "f.yaml:3:63", "is 5; write none or keys: connections, rate"),
        (tcp("per_source: {rates: 1/s}"), "f.yaml:3:64", "did you mean \"rate\"?"),
        (tcp("per_source: {rate: 20}"), "f.yaml:3:70", "is 20; write none, or how many in a second,"),
        (tcp("per_source: {rate: 0/s}"), "f.yaml:3:70", "is \"0/s\"; write none, or how many"),
        (tcp("per_source: {connections: -1}"), "f.yaml:3:77", "from 0 to 10000000"),
        (tcp("bandwidth: 10MB"), "f.yaml:3:62", "write none or keys: connection, total"),
        (tcp("bandwidth: {total: 10}"), "f.yaml:3:70", "is 10; write bytes with their unit, from 1kB to 1000GB"),
        (tcp("bandwidth: {total: 10mb/s}"), "f.yaml:3:70", "is \"10mb/s\"; write bytes"),
        (tcp("bandwidth: {connection: 5B}"), "f.yaml:3:75", "from 1kB to 1000GB"),
        (
            tls("routes: [{host: a.test, path: /x, pool: p}]"),
            "f.yaml:3:84",
            "a tls-passthrough listener sees no paths; leave it out, or end TLS here with protocol: https",
        ),
        (tls("routes: [{alpn: [], pool: p}]"), "f.yaml:3:70", "is empty; write one like h2"),
        (tls("routes: [{alpn: \"h 2\", pool: p}]"), "f.yaml:3:70", "is not an application protocol"),
        (
            tls("pool: p, certificates: [{cert: a.crt, key: a.key}]"),
            "f.yaml:3:77",
            "is for https; this listener is tls",
        ),
        (listener("protocol: http, routes: [{alpn: h2, pool: p}]"), "f.yaml:3:59", "is for tls-passthrough; this"),
        (
            backends("web:0"),
            "f.yaml:1:24",
            "is not a place to go to; write an address and a port like 192.0.2.7:8080, or",
        ),
        (backends("web"), "f.yaml:1:24", "\"web\" is not a place to go to"),
        (
            backends("\"http://192.0.2.7:80/\""),
            "f.yaml:1:24",
            "is a URL; write an address and a port like 192.0.2.7:8080",
        ),
        (backends("192.0.2.300:80"), "f.yaml:1:24", "is not an IP address; write an address and a port"),
        (backends("\"2001:db8::1:80\""), "f.yaml:1:24", "needs brackets; write \"[2001:db8::1]:80\""),
        (backends("a..b:80"), "f.yaml:1:24", "has a label that is empty"),
        (backends("\"*.lan:80\""), "f.yaml:1:24", "'*' can only stand alone"),
        (backends("nas.lan:80, NAS.lan.:80"), "f.yaml:1:36", "nas.lan:80 is listed twice"),
        (
            backends("{address: nas.lan:80, node: pi-1}"),
            "f.yaml:1:52",
            "is for one address, and nas.lan may have several",
        ),
        (with_pool("balance: hash:source"), "f.yaml:2:41", "is no word of its own; write {hash: source}"),
        (
            with_pool("balance: {hash: path}"),
            "f.yaml:2:48",
            "is \"path\"; write source, uri, header:NAME or cookie:NAME",
        ),
        (with_pool("balance: {hash: \"header:a b\"}"), "f.yaml:2:48", "write source, uri, header:NAME or cookie:NAME"),
        (with_pool("balance: {}"), "f.yaml:2:41", "does not say by what; write {hash: source}"),
        (with_pool("sticky: cookie"), "f.yaml:2:40", "is no word of its own; write {cookie: NAME}"),
        (with_pool("sticky: {cookie: a;b}"), "f.yaml:2:49", "is not a name; write letters, digits"),
        (with_pool("sticky: {cookie: a, ttl: 500d}"), "f.yaml:2:57", "from 1s to 400d"),
        (with_pool("sticky: {cookie: a, same_site: none}"), "f.yaml:2:49", "take with secure: true alone"),
        (with_pool("sticky: {cookie: a, secure: maybe}"), "f.yaml:2:60", "true or false"),
        (with_pool("sticky: {cookie: a, source: 1h}"), "f.yaml:2:49", "clients keep their backend by one of them"),
        (with_pool("sticky: {source: 1h, ttl: 1h}"), "f.yaml:2:58", "belongs to a cookie"),
        (with_pool("sticky: {cookie: a, key: nowhere}"), "f.yaml:2:57", "cannot be read"),
        (with_pool("retry_budget: 20"), "f.yaml:2:46", "is 20; write a part of the requests from 0% to 100%, or none"),
        (with_pool("retry_budget: 101%"), "f.yaml:2:46", "from 0% to 100%"),
        (with_pool("retry_on: 503"), "f.yaml:2:42", "a list of statuses like [502, 503, 504]"),
        (with_pool("retry_on: [503, 200]"), "f.yaml:2:48", "is 200; write some of 404, 408"),
        (
            with_pool("retries: 0, retry_on: [503]"),
            "f.yaml:2:54",
            "retry_on: is for what is asked again, and retries: 0",
        ),
        (with_pool("retries: 0, retry_budget: none"), "f.yaml:2:58", "retry_budget: is for what is asked again"),
        (with_pool("queue: {length: 10}"), "f.yaml:2:39", "nobody waits where max_connections sets no limit; add"),
        (with_pool("ejection: {on: [slow]}"), "f.yaml:2:48", "write connect, broken, timeout or 5xx"),
        (with_pool("ejection: {on: []}"), "f.yaml:2:47", "is empty, so nothing is left out"),
        (with_pool("sticky: {source: 2d}"), "f.yaml:2:49", "from 1s to 1d"),
        (with_pool("sticky: {}"), "f.yaml:2:40", "does not say by what; write source, {source: 3h} or {cookie: NAME}"),
        (with_pool("probe: {grpc: a, host: x}"), "f.yaml:2:55", "belongs to an http or https probe"),
        (with_pool("probe: {grpc: \"a b\"}"), "f.yaml:2:46", "is not the name of a service"),
        (with_pool("probe: {https: x}"), "f.yaml:2:47", "is not a path; write one like /healthz"),
        (with_pool("probe: {http: , every: 1s}"), "f.yaml:2:39", "http: names no path"),
        (with_pool("probe: {http: /, https: /}"), "f.yaml:2:39", "has both http: and https:; keep one"),
        (with_pool("agent: {every: 1s}"), "f.yaml:2:39", "has no port; write {port: 9777}"),
        (with_pool("agent: {port: 0}"), "f.yaml:2:46", "from 1 to 65535"),
        (with_pool("ejection: 3"), "f.yaml:2:42", "write none or keys: failures, time, on"),
        (with_pool("ejection: off"), "f.yaml:2:42", "is false; write none or keys: failures, time, on"),
        (with_pool("agent: 9777"), "f.yaml:2:39", "is 9777; write none or keys: port, every"),
        (with_pool("probe: off"), "f.yaml:2:39", "is false; write none, tcp, grpc or keys: http, https"),
        (with_pool("probe: https"), "f.yaml:2:39", "does not say which path; write {https: /healthz}"),
        (with_pool("queue: 5"), "f.yaml:2:39", "is 5; write none or keys: length, wait"),
        (with_pool("ejection: {failures: 0}"), "f.yaml:2:53", "from 1 to 1000"),
        (with_pool("slow_start: 2h"), "f.yaml:2:44", "from 0s to 1h"),
        (with_pool("max_connections: -1"), "f.yaml:2:49", "from 0 to 1000000"),
        (with_pool("queue: {wait: 0s}"), "f.yaml:2:46", "from 1ms to 1h"),
        (with_pool("send_proxy_protocol: v3"), "f.yaml:2:53", "write none, v1 or v2"),
        (with_pool("timeouts: {stal: 1s}"), "f.yaml:2:43", "did you mean \"stall\"?"),
        (
            "listeners: {a: {bind: 127.0.0.1:9, protocol: udp, pool: p}}\n".to_owned()
                + &with_pool("send_proxy_protocol: v2"),
            "f.yaml:1:57",
            "listener a pool: pool p has send_proxy_protocol, which no datagram can carry; give udp a pool of its own",
        ),
        (
            "listeners: {a: {bind: 127.0.0.1:1, protocol: tcp, pool: p}}\n".to_owned() + &with_pool("retries: 2"),
            "f.yaml:1:57",
            "listener a pool: pool p has backend 127.0.0.1:1, which is this listener itself: what it takes would come back",
        ),
        (
            "listeners: {a: {bind: 0.0.0.0:1, protocol: http, pool: p}}\n".to_owned() + &with_pool("retries: 2"),
            "f.yaml:1:56",
            "pool p has backend 127.0.0.1:1, which is this listener itself",
        ),
    ];
    let mut unmet = String::new();
    for (text, place, remedy) in &table {
        let said = errors(text);
        if said.len() != 1 || !said[0].starts_with(place) || !said[0].contains(remedy) {
            unmet += &format!("{text}\n  said {said:?}\n  not {place} … {remedy}\n");
        }
    }
    assert!(unmet.is_empty(), "{unmet}");
}

#[test]
fn one_port_may_serve_both_transports_but_not_one_of_them_twice() {
    let pools = "pools: {p: {backends: [127.0.0.1:1]}, q: {backends: [127.0.0.1:2]}}\n";
    let file = |a: &str, b: &str| {
        format!(
            "process: {{admin: 127.0.0.1:9650}}\n{pools}listeners:\n  a: {{bind: {a}, pool: p}}\n  b: {{bind: {b}, pool: q}}\n"
        )
    };
    loaded(&file("0.0.0.0:53, protocol: udp", "127.0.0.1:53, protocol: tcp"));
    // The admin port is a TCP one.
    loaded(&file("127.0.0.1:9650, protocol: udp", "127.0.0.1:53, protocol: udp"));
    let told = errors(&file("127.0.0.1:53, protocol: udp", "127.0.0.1:53, protocol: udp"));
    assert!(told.len() == 1 && told[0].contains("127.0.0.1:53 is already given to file: listener a"), "{told:?}");
    let told = errors(&file("127.0.0.1:443, protocol: tls-passthrough", "127.0.0.1:443, protocol: tls-passthrough"));
    assert!(told.len() == 1 && told[0].contains("* on a is already given to"), "{told:?}");
    assert!(told[0].ends_with("choose another host or other alpn"), "{told:?}");
}
