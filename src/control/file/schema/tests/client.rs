//! How long HTTP clients may take.

use super::*;
use crate::model::intent::ClientLimits;

fn listener(rest: &str) -> String {
    format!("pools: {{p: {{backends: [127.0.0.1:1]}}}}\nlisteners:\n  a: {{bind: 127.0.0.1:80, pool: p, {rest}}}\n")
}

#[test]
fn every_time_arrives_where_it_belongs() {
    let key = ListenerKey::tcp("127.0.0.1:80".parse().unwrap());
    let limits = |rest: &str| loaded(&listener(rest)).fragment.listeners[&key].limits.client;
    assert_eq!(limits("protocol: http"), ClientLimits::default());
    let second = Duration::from_secs(1);
    let all = "protocol: https, certificates: [{cert: a.crt, key: a.key}], requests_per_connection: 6, \
               timeouts: {handshake: 1s, head: 2s, body: 3s, stall: 4s, keep_alive: 5m}";
    let expected = ClientLimits {
        handshake: second,
        head: 2 * second,
        body: 3 * second,
        stall: 4 * second,
        keep_alive: 300 * second,
        requests: 6,
    };
    assert_eq!(limits(all), expected);
    let shown = loaded(&listener(all)).fragment.to_string();
    let line = "  limits handshake 1s head 2s body 3s stall 4s keep_alive 300s requests 6\n";
    assert!(shown.contains(line), "{shown}");
    assert_eq!(limits("protocol: http, timeouts: {head: 2s}").head, 2 * second);
    assert_eq!(limits("protocol: http, requests_per_connection: 0").requests, 0);
}

#[test]
fn mistakes_are_told_with_the_remedy() {
    for (rest, said) in [
        ("protocol: tcp, timeouts: {head: 2s}", "this listener is tcp: write timeouts: at the pool"),
        ("protocol: tcp, requests_per_connection: 5", "is for http and https; this listener is tcp: leave it out"),
        ("protocol: http, timeouts: {handshake: 2s}", "timeouts.handshake: is for https; this listener is http"),
        ("protocol: http, timeouts: {heads: 2s}", "did you mean \"head\"?"),
        ("protocol: http, timeouts: {head: 100ms}", "timeouts.head: is \"100ms\"; write a time with its unit, from 1s"),
        ("protocol: http, timeouts: 5s", "timeouts: is \"5s\"; write keys: handshake, head, body, stall, keep_alive"),
        ("protocol: http, requests_per_connection: -1", "write none or a whole number from 0"),
    ] {
        let errors = errors(&listener(rest));
        assert!(errors.len() == 1 && errors[0].contains(said), "{rest}: {errors:?}");
    }
}
