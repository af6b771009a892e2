//! How a listener takes requests.

use super::*;

#[test]
fn paths_and_trusted_proxies_arrive_and_defaults_are_silent() {
    let all = loaded(
        "listeners:
  a:
    bind: 127.0.0.1:80
    protocol: http
    pool: p
    paths: {slashes: keep, dots: resolve, encoded_slash: refuse}
    trusted_proxies: [10.0.0.0/8, 192.0.2.7]
  b: {bind: 127.0.0.1:81, protocol: http, pool: p, paths: {slashes: merge}, trusted_proxies: []}
pools: {p: {backends: [192.0.2.1:80]}}
",
    );
    let shown = all.fragment.to_string();
    let line = r#"  paths {"slashes":"keep","dots":"resolve","encoded_slash":"refuse"}"#;
    assert_eq!(shown.lines().filter(|l| l.starts_with("  paths")).collect::<Vec<_>>(), [line]);
    let trusted: Vec<_> = shown.lines().filter(|l| l.starts_with("  trusted")).collect();
    assert_eq!(trusted, ["  trusted_proxies 10.0.0.0/8 192.0.2.7/32"]);
}

#[test]
fn a_redirect_to_https_may_have_a_pool_for_who_is_there() {
    let all = loaded(
        "listeners:
  a:
    bind: 127.0.0.1:80
    protocol: http
    trusted_proxies: [10.0.0.0/8]
    routes: [{redirect: {scheme: https}, pool: p, rewrite_path: /x}]
pools: {p: {backends: [192.0.2.1:80]}}
",
    );
    let shown = all.fragment.to_string();
    let line =
        "  * / -> redirect 308 scheme https or pool p  # file: listener a route 1\n    filters {\"rewrite_path\"";
    assert!(shown.contains(line), "{shown}");
}

#[test]
fn what_is_wrong_with_them_is_told() {
    let wrong = |listener: &str| {
        errors(&format!("listeners: {{a: {listener}}}\npools: {{p: {{backends: [192.0.2.1:80]}}}}\n")).join("; ")
    };
    for (listener, said) in [
        ("{bind: 127.0.0.1:80, protocol: http, pool: p, paths: {slashes: squash}}", "slashes"),
        ("{bind: 127.0.0.1:80, protocol: http, pool: p, paths: {backslash: keep}}", "backslash"),
        ("{bind: 127.0.0.1:80, protocol: http, pool: p, trusted_proxies: [cloud]}", "is not a source range"),
        (
            "{bind: 127.0.0.1:80, protocol: tcp, pool: p, paths: {slashes: keep}}",
            "is for http and https; this listener is tcp",
        ),
        ("{bind: 127.0.0.1:80, protocol: tcp, pool: p, trusted_proxies: [10.0.0.0/8]}", "is for http and https"),
    ] {
        let told = wrong(listener);
        assert!(told.contains(said), "{listener}: {told}");
    }
}
