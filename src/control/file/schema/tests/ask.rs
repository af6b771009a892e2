//! Filters that ask, send elsewhere or make other answers, as the file writes them.

use super::*;

fn with(filters: &str) -> String {
    format!(
        "listeners: {{web: {{bind: 127.0.0.1:8080, protocol: http, routes: [{{{filters}, pool: site}}]}}}}\n\
         pools: {{site: {{backends: [192.0.2.1:80]}}, other: {{backends: [192.0.2.2:80]}}}}\n"
    )
}

#[test]
fn what_is_left_out_is_as_usual() {
    for (filters, shown) in [
        (
            "basic_auth: {users: ['ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=']}",
            r#"{"basic_auth":{"realm":"restricted","users":"hidden","pass_on":true}}"#,
        ),
        (
            "forward_auth: {pool: other}",
            r#"{"forward_auth":{"pool":"other","host":null,"path":"/","headers":[],"sign_in":null,"timeout":5.0}}"#,
        ),
        (
            "canary: {pool: other, header: X-Canary, value: '2', share: 0.5%}",
            r#"{"canary":{"pool":"other","header":["x-canary","2"],"cookie":null,"permille":5}}"#,
        ),
        ("mirror: {pool: other}", r#"{"mirror":{"pool":"other","permille":1000,"max_body":262144}}"#),
        (
            "compress: {codings: br, types: [Text/HTML], min_size: 2kB}",
            r#"{"compress":{"codings":["br"],"types":["text/html"],"min_size":2000}}"#,
        ),
        (
            "errors: {503: lost.crt, 404: {file: lost.key, type: text/plain, backends: true}}",
            r#"{"errors":{"404":{"content_type":"text/plain","body":""#,
        ),
    ] {
        let all = loaded(&with(filters)).fragment.to_string();
        assert!(all.contains(shown), "{filters}\n{all}");
    }
    let none = "basic_auth: none, forward_auth: none, canary: none, mirror: none, compress: false, errors: none";
    assert!(!loaded(&with(none)).fragment.to_string().contains("filters"));
    let reading = reading(&with("errors: {503: sorry.crt}"));
    assert!(reading.files.iter().any(|file| file.ends_with("sorry.crt")), "it is watched");
    // Its pools are checked like those of routes.
    let loaded = loaded(&with("mirror: {pool: other}"));
    assert!(loaded.fragment.pools[&PoolName::new("other")].probe.is_some());
}

#[test]
fn what_is_wrong_is_told_with_what_would_be_right() {
    for (filters, said) in [
        ("basic_auth: {}", "has no users"),
        ("basic_auth: {users: gone.txt}", "cannot be read"),
        ("basic_auth: {users: ['ann:secret']}", "line 1: the password of \"ann\" is not a hash"),
        ("basic_auth: {users: [], realm: x}", "has no user"),
        ("basic_auth: {users: [], realm: 'a\"b'}", "is not fit for a prompt"),
        ("forward_auth: {path: /x}", "has no pool; add pool: auth"),
        ("forward_auth: {pool: othr}", "did you mean \"other\"?"),
        ("forward_auth: {pool: other, path: x}", "is not a path"),
        ("forward_auth: {pool: other, host: 'a b'}", "is not a host"),
        ("forward_auth: {pool: other, headers: Host}", "headers"),
        ("forward_auth: {pool: other, headers: 'a b'}", "headers"),
        ("forward_auth: {pool: other, sign_in: //evil.test}", "is no sign-in page"),
        ("forward_auth: {pool: other, timeout: 5m}", "from 10ms to 1m"),
        ("canary: {pool: other}", "says nothing of who goes there"),
        ("canary: {pool: other, share: 10}", "is not a share"),
        ("canary: {pool: other, value: x, share: 1%}", "there is no header"),
        ("canary: {pool: other, cookie: 'a;b'}", "is not the name of a cookie"),
        ("mirror: {pool: other, share: 101%}", "is not a share"),
        ("mirror: {pool: other, max_body: 1GB}", "from 0B to 16MiB"),
        ("compress: {codings: [deflate]}", "write gzip, br or zstd"),
        ("compress: {types: [text]}", "is no media type"),
        ("compress: {types: []}", "compresses nothing"),
        ("compress: all", "true, false or keys"),
        ("errors: sorry.html", "write pages by status"),
        ("errors: {200: a.crt}", "is no status of an error"),
        ("errors: {503: {type: text/html}}", "has no file"),
        ("errors: {503: gone.html}", "cannot be read"),
        ("errors: {503: a.crt, '503': a.crt}", "is written twice"),
    ] {
        let all = errors(&with(filters)).join("\n");
        assert!(all.contains(said), "{filters}\n{all}");
    }
    let redirects = "listeners: {web: {bind: 127.0.0.1:1, protocol: http, routes: [{redirect: {path: /x}, \
        mirror: {pool: site}}]}}\npools: {site: {backends: [192.0.2.1:80]}}\n";
    assert!(errors(redirects).join("\n").contains("this route redirects"));
}
