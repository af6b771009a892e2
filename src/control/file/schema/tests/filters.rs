//! What routes may be asked to do to requests and answers.

use super::*;

const EVERYTHING: &str = r#"
listeners:
  web:
    bind: 127.0.0.1:8080
    protocol: http
    trusted_proxies: [10.0.0.0/8]
    routes:
      - host: shop.example.test
        path: /api
        allow: [10.0.0.0/8]
        deny: [10.6.6.6]
        rate: {limit: 100/s, burst: 50, key: "header:X-Api-Key"}
        max_body: 10MB
        cors:
          origins: [https://app.example.test, "https://*.example.test"]
          methods: PUT
          headers: [X-Team]
          expose: X-Total
          credentials: true
          max_age: 1h
        hsts: {subdomains: true, preload: true}
        rewrite_path: {regex: ^/api/(.*), to: /v2/$1}
        rewrite_host: inner.example.test
        request_headers: {remove: [Cookie], set: {X-Team: shop, X-Number: 7}, add: {X-Many: [a, b]}}
        response_headers: {remove: Server}
        pool: site
      - {path: /short, rate: 5/m, cors: "*", hsts: 180d, rewrite_path: /, pool: site}
      - {path: /none, rate: none, cors: none, hsts: none, max_body: none, pool: site}
      - {path: /old, redirect: {path: /new, code: 301}, rate: 1/s}
      - {path: /away, redirect: {scheme: https, host: b.example.test, port: 8443, path: {whole: /x}}}
pools: {site: {backends: [192.0.2.1:80]}}
"#;

#[test]
fn every_filter_arrives_where_it_belongs() {
    let shown = loaded(EVERYTHING).fragment.to_string();
    for line in [
        "  shop.example.test /api -> pool site  # file: listener web route 1",
        concat!(
            r#"    filters {"sources":{"allow":["10.0.0.0/8"],"deny":["10.6.6.6/32"]},"#,
            r#""rate":{"rate":"100 in 1s","burst":50,"key":{"header":"x-api-key"}},"max_body":10000000,"#,
            r#""cors":{"origins":["https://app.example.test","https://*.example.test"],"methods":["PUT"],"#,
            r#""headers":["x-team"],"expose":["x-total"],"credentials":true,"max_age":3600.0},"#,
            r#""rewrite_path":{"regex":{"find":"^/api/(.*)","put":"/v2/$1"}},"rewrite_host":"inner.example.test","#,
            r#""request_headers":{"remove":["cookie"],"set":[["x-team","shop"],["x-number","7"]],"#,
            r#""add":[["x-many","a"],["x-many","b"]]},"response_headers":{"remove":["server"],"set":[],"add":[]},"#,
            r#""hsts":{"max_age":31536000.0,"subdomains":true,"preload":true}}"#,
        ),
        concat!(
            r#"    filters {"rate":{"rate":"5 in 60s","burst":0,"key":"source"},"cors":{"origins":["*"],"#,
            r#""methods":["GET","HEAD","POST","PUT","PATCH","DELETE"],"headers":[],"expose":[],"credentials":false,"#,
            r#""max_age":600.0},"rewrite_path":{"prefix":"/"},"#,
            r#""hsts":{"max_age":15552000.0,"subdomains":false,"preload":false}}"#,
        ),
        "  * /none -> pool site  # file: listener web route 3\n  * /old -> redirect 301 path /new  # file: ",
        r#"    filters {"rate":{"rate":"1 in 1s","burst":0,"key":"source"}}"#,
        "  * /away -> redirect 308 scheme https host b.example.test port 8443 path = /x  # file: ",
    ] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
}

#[test]
fn every_mistake_in_a_filter_has_its_place_and_remedy() {
    let route = |filters: &str| {
        format!(
            "pools: {{p: {{backends: [192.0.2.1:80]}}}}\nlisteners:\n  a: {{bind: 127.0.0.1:80, protocol: http, \
             routes: [{{path: /a, {filters}}}]}}"
        )
    };
    for (filters, expected) in [
        ("pool: p, redirect: {path: /b}", "redirect: the route has a pool too; keep one of them"),
        ("pool: p, redirect: {scheme: https, path: /b}", "redirect: the route has a pool too; keep one of them"),
        ("pool: p, redirect: {scheme: https}", "sends all clients away, so nobody reaches its pool; name the proxies"),
        ("redirect: {}", "leads to where the request is already; say where, as in {scheme: https}"),
        ("redirect: {scheme: http}", "leads to where the request is already"),
        (
            "redirect: {scheme: http, port: 80}",
            "listener a route 1: its redirect leads to this listener, host and path",
        ),
        ("redirect: {port: 80}", "so that clients go round in circles; name another scheme, host, port or path"),
        ("host: b.test, redirect: {host: b.test}", "its redirect leads to this listener"),
        ("redirect: {scheme: ftp, port: 1}", "redirect.scheme: is \"ftp\"; write http or https"),
        ("redirect: {scheme: https, code: 200}", "redirect.code: is 200; write 301, 302, 303, 307 or 308"),
        ("redirect: {host: \"*.b.test\"}", "redirect.host: host pattern"),
        ("redirect: {host: b.test, port: 0}", "redirect.port: is 0; write a whole number from 1 to 65535"),
        ("redirect: {path: x}", "redirect.path: \"x\" is not a path; write one like /v2"),
        ("redirect: {path: /b}, rewrite_path: /c", "rewrite_path: is for requests that go to a pool"),
        ("pool: p, rate: fast", "rate: is \"fast\"; write none, or how many in a second"),
        ("pool: p, rate: {burst: 5}", "rate: has no limit; add limit: 100/s"),
        ("pool: p, rate: {limit: 1/s, key: cookie}", "rate.key: is \"cookie\"; write source or header:NAME"),
        ("pool: p, rate: {limit: 1/s, key: \"header:a b\"}", "rate.key: \"a b\" is not the name of a field"),
        ("pool: p, rate: {limit: 1/s, burst: 9999999}", "rate.burst: is 9999999; write none or a whole number"),
        ("pool: p, max_body: 5", "max_body: is 5; write bytes with their unit"),
        ("pool: p, cors: {}", "cors: names no origin; add origins: [https://app.example.test]"),
        ("pool: p, cors: app.example.test", "cors: \"app.example.test\" is not an origin; write one like https://"),
        ("pool: p, cors: {origins: \"*\", credentials: true}", "cors: credentials for the origin * would open"),
        ("pool: p, cors: {origins: \"*\", methods: [\"P T\"]}", "cors: \"P T\" is not the name of a method"),
        ("pool: p, hsts: 1d", "hsts is said over https only, and nobody comes to this listener so; leave it out, or"),
        ("pool: p, hsts: yes please", "hsts: is \"yes please\"; write a time with its unit"),
        ("pool: p, hsts: {max_age: 1d, preload: true}", "hsts: asks for preload, which takes subdomains"),
        ("pool: p, rewrite_path: {whole: /x, regex: y, to: z}", "rewrite_path: is not an edit; write /v2,"),
        ("pool: p, rewrite_path: {regex: \"(\", to: /}", "rewrite_path: path expression \"(\" is not valid"),
        ("pool: p, rewrite_path: {regex: ^/, to: /$1}", "refers to the group 1, which \"^/\" does not have"),
        ("pool: p, rewrite_host: a..b", "rewrite_host: host name"),
        ("pool: p, request_headers: {set: {Host: b}}", "Host is not a field to edit; write rewrite_host: NAME"),
        ("pool: p, request_headers: {set: {Content-Length: 1}}", "set.Content-Length: Content-Length frames"),
        ("pool: p, request_headers: {set: {X-A: 1, x-a: 2}}", "set.x-a: x-a is set twice; keep one"),
        ("pool: p, request_headers: {remove: [a b]}", "remove[1]: \"a b\" is not the name of a field"),
        (
            "pool: p, response_headers: {add: {X-A: \"a\\nb\"}}",
            "what is written is not the value of a field; write plain characters",
        ),
        ("pool: p, response_headers: {append: {X-A: b}}", "unknown key \"append\""),
    ] {
        let errors = errors(&route(filters));
        assert!(errors.len() == 1 && errors[0].contains(expected), "{filters}\n{expected}\n{errors:#?}");
        assert!(errors[0].starts_with("f.yaml:3:"), "{errors:?}");
    }
    for fine in [
        "redirect: {port: 81}",
        "redirect: {host: b.test}",
        "redirect: {scheme: https, port: 80}",
        "host: b.test, redirect: {host: c.test}",
        "host: b.test, redirect: {host: b.test, path: /b}",
    ] {
        loaded(&route(fine));
    }
    let on_an_expression = route("pool: p, rewrite_path: /b").replace("path: /a", "regex: ^/a");
    assert!(errors(&on_an_expression)[0].contains("write {regex: ^/old/(.*), to: /b}"));
    let passed_through = route("pool: p, rate: 1/s").replace("http,", "tls-passthrough,").replace("path: /a, ", "");
    assert!(errors(&passed_through)[0].contains("rate: a tls-passthrough listener sees no requests"));
}
