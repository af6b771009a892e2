//! What is spoken to the backends of a pool.

use super::*;

fn spoken(pool: &str) -> String {
    let all = loaded(&format!("pools: {{p: {{{pool}}}}}\n"));
    let shown = all.fragment.to_string();
    let line = shown.lines().find(|line| line.starts_with("pool p ")).unwrap();
    line.split_once(" speaks ").map_or("http", |(_, after)| after.split_once("  #").unwrap().0).to_owned()
}

#[test]
fn each_protocol_is_what_it_says() {
    for (pool, expected) in [
        ("backends: [192.0.2.1:80]", "http"),
        ("protocol: http, tls: none, backends: [192.0.2.1:80]", "http"),
        ("protocol: h2c, backends: [192.0.2.1:80]", "h2c"),
        ("protocol: grpc, backends: [192.0.2.1:80]", "h2c"),
        ("protocol: https, backends: [192.0.2.1:443]", "https verify system"),
        ("protocol: h2, tls: none, backends: [192.0.2.1:443]", "h2 verify system"),
        ("protocol: grpc, tls: {ca: ca.crt}, backends: [192.0.2.1:443]", "h2 verify ca"),
        ("protocol: https, tls: {verify: none}, backends: [192.0.2.1:443]", "https verify none"),
        (
            "protocol: https, tls: {name: Shop.test, client_cert: e.crt, client_key: e.key}, backends: [192.0.2.1:443]",
            "https verify system name shop.test client certificate",
        ),
        // Backends by one name are asked for by it.
        ("protocol: https, backends: [nas.lan:443]", "https verify system name nas.lan"),
        ("protocol: https, tls: {verify: none}, backends: [nas.lan:443, nas2.lan:443]", "https verify none"),
    ] {
        assert_eq!(spoken(pool), expected, "{pool}");
    }
}

#[test]
fn mistakes_are_told_with_the_remedy() {
    for (pool, wrong) in [
        ("protocol: spdy", "protocol: is \"spdy\"; write http, https, h2c, grpc or h2"),
        ("tls: {verify: none}", "tls: is for pools that are spoken to in TLS; write protocol: https, grpc or h2"),
        ("protocol: h2c, tls: {verify: none}", "tls: is for pools that are spoken to in TLS"),
        ("protocol: https, tls: {verify: maybe}", "write system or none"),
        ("protocol: https, tls: {verify: none, ca: ca.crt}", "tls.verify: is none beside ca:, which says by whom"),
        ("protocol: https, tls: {ca: gone.txt}", "cannot be read"),
        ("protocol: https, tls: {ca: ca.key}", "it must hold those of authorities"),
        ("protocol: https, tls: {name: \"a b\"}", "is not a host"),
        ("protocol: https, tls: {client_cert: e.crt}", "has client_cert but no client_key"),
        ("protocol: https, probe: grpc", "probe: is grpc, which is asked in the clear"),
    ] {
        let errors = errors(&format!("pools: {{p: {{{pool}, backends: [192.0.2.1:443]}}}}\n"));
        assert!(errors.len() == 1 && errors[0].contains(wrong), "{pool}: {errors:?}");
    }
    let errors = errors("pools: {p: {protocol: https, backends: [a.lan:443, b.lan:443]}}\n");
    assert!(errors.len() == 1 && errors[0].contains("has backends of several names"), "{errors:?}");
}
