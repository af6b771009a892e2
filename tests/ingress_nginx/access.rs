//! Who may use an Ingress, and how often.

use super::support::Peer;
use super::support::Reply;
use super::{Lab, asked_path, ingress, secret, service, translated, whole};

/// bob, whose password is secret.
const HASH: &str = "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/";
const BOB: &str = "Authorization: Basic Ym9iOnNlY3JldA==";

#[tokio::test]
async fn sources_are_allowed_and_denied() {
    for (annotations, expected) in [
        (&[("allowlist-source-range", "192.0.2.0/24")][..], 403),
        (&[("allowlist-source-range", "192.0.2.0/24, 127.0.0.0/8")], 200),
        (&[("whitelist-source-range", "192.0.2.7")], 403),
        (&[("whitelist-source-range", "127.0.0.1")], 200),
        (&[("whitelist-source-range", "127.0.0.1"), ("allowlist-source-range", "192.0.2.1")], 403),
        (&[("denylist-source-range", "127.0.0.0/8")], 403),
        (&[("denylist-source-range", "192.0.2.0/24")], 200),
        (&[("allowlist-source-range", "127.0.0.1"), ("denylist-source-range", "127.0.0.1")], 403),
    ] {
        let lab = Lab::of(&whole(annotations)).await.quiet();
        assert_eq!(lab.get("a.test", "/").await.status(), expected, "{annotations:?}");
        assert_eq!(lab.web.requests().len(), usize::from(expected == 200));
    }
    // What cannot be read opens nothing.
    let lab = Lab::of(&whole(&[("whitelist-source-range", "the office")])).await;
    assert_eq!(lab.get("a.test", "/").await.status(), 503);
    assert!(lab.told.contains("whitelist-source-range: \"the office\" cannot be had"), "{}", lab.told);
}

#[tokio::test]
async fn a_file_or_a_map_says_who_may_pass() {
    let file = secret("users", "Opaque", &[("auth", &format!("bob:{HASH}\n"))]);
    let map = secret("users", "Opaque", &[("bob", HASH)]);
    let basic = [("auth-type", "basic"), ("auth-secret", "users"), ("auth-realm", "the cellar")];
    let by_map = [basic.as_slice(), &[("auth-secret-type", "auth-map")]].concat();
    let by_file = [basic.as_slice(), &[("auth-secret-type", "auth-file")]].concat();
    for (annotations, secret) in [(basic.to_vec(), &file), (by_file, &file), (by_map, &map)] {
        let lab = Lab::of(&(whole(&annotations) + secret)).await.quiet();
        let asked = lab.get("a.test", "/").await;
        assert_eq!(asked.status(), 401);
        assert!(asked.field("www-authenticate").unwrap().contains("realm=\"the cellar\""));
        assert_eq!(lab.with_field("Authorization: Basic Ym9iOndyb25n").await.status(), 401);
        assert_eq!(lab.with_field(BOB).await.text(), "web");
    }
    // Neither a missing Secret nor one that holds something else opens anything; nor one of another namespace, nor digest.
    for (annotations, secret) in [
        (basic.to_vec(), String::new()),
        (basic.to_vec(), map.clone()),
        (vec![("auth-type", "basic"), ("auth-secret", "other/users")], file.clone()),
        (vec![("auth-type", "digest"), ("auth-secret", "users")], file.clone()),
        (vec![("auth-type", "basic")], file.clone()),
    ] {
        let lab = Lab::of(&(whole(&annotations) + &secret)).await;
        assert_eq!((lab.get("a.test", "/").await.status(), lab.with_field(BOB).await.status()), (503, 503));
        assert!(lab.told.contains("(until then the object is not served)"), "{}", lab.told);
    }
}

#[tokio::test]
async fn either_of_two_guards_is_enough_where_that_is_said() {
    let users = secret("users", "Opaque", &[("auth", &format!("bob:{HASH}"))]);
    let with = |allowed: &str, satisfy: &str| {
        let basic = [("auth-type", "basic"), ("auth-secret", "users")];
        let all = [&basic[..], &[("whitelist-source-range", allowed), ("satisfy", satisfy)]].concat();
        whole(&all) + &users
    };
    for (allowed, satisfy, without, by_name) in [
        ("127.0.0.0/8", "any", 200, 200),
        ("192.0.2.0/24", "any", 401, 200),
        ("127.0.0.0/8", "all", 401, 200),
        ("192.0.2.0/24", "all", 403, 403),
    ] {
        let lab = Lab::of(&with(allowed, satisfy)).await.quiet();
        let statuses = (lab.get("a.test", "/").await.status(), lab.with_field(BOB).await.status());
        assert_eq!(statuses, (without, by_name), "{allowed} {satisfy}");
    }
    // Without ranges nobody is let in for where he comes from.
    let basic = [("auth-type", "basic"), ("auth-secret", "users"), ("satisfy", "any")];
    let lab = Lab::of(&(whole(&basic) + &users)).await.quiet();
    assert_eq!((lab.get("a.test", "/").await.status(), lab.with_field(BOB).await.status()), (401, 200));
    let denied = [&basic[..], &[("denylist-source-range", "192.0.2.0/24")]].concat();
    let lab = Lab::of(&(whole(&denied) + &users)).await.quiet();
    assert_eq!(lab.get("a.test", "/").await.status(), 401, "not to be denied is not to be allowed");
}

#[tokio::test]
async fn so_many_requests_pass_and_no_more() {
    for (annotations, expected) in [
        (&[("limit-rpm", "2")][..], 2 * 5 + 1),
        (&[("limit-rpm", "3"), ("limit-burst-multiplier", "2")], 3 * 2 + 1),
        (&[("limit-rpm", "3"), ("limit-burst-multiplier", "1")], 3 + 1),
        // Of both the smaller burst and the slower rate.
        (&[("limit-rpm", "4"), ("limit-rps", "1")], 5 + 1),
        (&[("limit-rpm", "2"), ("limit-whitelist", "127.0.0.0/8")], 40),
        (&[("limit-rpm", "2"), ("limit-allowlist", "127.0.0.1")], 40),
        (&[("limit-rpm", "2"), ("limit-allowlist", "192.0.2.0/24")], 11),
    ] {
        let lab = Lab::of(&whole(annotations)).await.quiet();
        let mut client = lab.client().await;
        let mut statuses = Vec::new();
        for _ in 0..40 {
            statuses.push(client.get("a.test", "/").await.status());
        }
        let passed = statuses.iter().filter(|status| **status == 200).count();
        assert_eq!(passed, expected, "{annotations:?}");
        assert!(statuses.iter().all(|status| [200, 429].contains(status)));
    }
    let lab = Lab::of(&whole(&[("limit-rps", "1")])).await.quiet();
    let mut client = lab.client().await;
    let mut passed = 0;
    for _ in 0..30 {
        passed += usize::from(client.get("a.test", "/").await.status() == 200);
    }
    assert!((6..30).contains(&passed), "{passed}: six at once, and one more each second");
}

/// A server that lets those with a cookie pass.
async fn guard() -> Peer {
    Peer::http(|request| {
        let is_known = request.field("cookie").is_some_and(|cookie| cookie.contains("session=1"));
        let answer = if is_known {
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nRemote-User: ann\r\nSet-Cookie: session=1; Path=/\r\n\r\n"
        } else {
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
        };
        Reply::Send(answer.as_bytes().to_vec())
    })
    .await
}

#[tokio::test]
async fn a_server_is_asked_whether_a_request_may_pass() {
    for url in [
        "http://guard/oauth2/auth",
        "http://guard.default.svc.cluster.local:80/oauth2/auth",
        "https://$host/oauth2/auth",
        "https://login.test/oauth2/auth",
    ] {
        let guard = guard().await;
        let asked = [
            ("auth-url", url),
            ("auth-signin", "https://$host/oauth2/start?rd=$escaped_request_uri"),
            ("auth-response-headers", "Remote-User, X-Team"),
            ("auth-method", "GET"),
            ("auth-always-set-cookie", "true"),
        ];
        let login = ingress(
            "login",
            &[],
            &[("a.test", "/oauth2", "Prefix", "guard"), ("login.test", "/oauth2", "Prefix", "guard")],
        );
        let lab = Lab::of(&(whole(&asked) + &login + &service("guard", &[guard.address]))).await.quiet();
        let sent = lab.get("a.test", "/x?y=1").await;
        assert_eq!(sent.status(), 302, "{url}");
        assert_eq!(sent.field("location"), Some("https://a.test/oauth2/start?rd=%2Fx%3Fy%3D1"));
        assert_eq!(lab.web.requests().len(), 0);
        let passed = lab.with_field("Cookie: session=1\r\nRemote-User: eve\r\nX-Team: root").await;
        assert_eq!((passed.text(), passed.field("set-cookie")), ("web", Some("session=1; Path=/")));
        let request = lab.web.request();
        assert_eq!((request.fields("remote-user"), request.field("x-team")), (vec!["ann"], None));
        let question = guard.requests().pop().unwrap();
        assert_eq!(question.first_line(), "GET /oauth2/auth HTTP/1.1");
        let (by, _) = url.split_once("://").unwrap().1.split_once('/').unwrap();
        assert_eq!(question.field("host"), Some(by.replace("$host", "a.test").as_str()));
        assert_eq!(lab.get("a.test", "/oauth2/start").await.status(), 401, "the page itself is not guarded");
    }
}

#[tokio::test]
async fn the_sign_in_page_is_told_where_to_go_back() {
    for (page, parameter, expected) in [
        ("https://login.test/", None, "https://login.test/?rd=http%3A%2F%2Fa.test%2Fx"),
        ("https://login.test/?a=b", Some("back"), "https://login.test/?a=b&back=http%3A%2F%2Fa.test%2Fx"),
        ("https://login.test/?rd=$scheme://$host$request_uri", None, "https://login.test/?rd=http%3A%2F%2Fa.test%2Fx"),
    ] {
        let guard = guard().await;
        let mut asked = vec![("auth-url", "http://guard/"), ("auth-signin", page)];
        asked.extend(parameter.map(|name| ("auth-signin-redirect-param", name)));
        let lab = Lab::of(&(whole(&asked) + &service("guard", &[guard.address]))).await.quiet();
        assert_eq!(lab.get("a.test", "/x").await.field("location"), Some(expected));
    }
}

#[tokio::test]
async fn who_cannot_be_asked_opens_nothing() {
    let elsewhere =
        service("guard", &["127.0.0.1:1".parse().unwrap()]).replace("{name: guard", "{namespace: sso, name: guard");
    let guarded =
        ingress("login", &[("whitelist-source-range", "192.0.2.1")], &[("login.test", "/", "Prefix", "guard")])
            .replace("  name: login\n", "  name: login\n  namespace: sso\n");
    for (asked, says) in [
        (("auth-url", "http://nobody/"), "service/default/nobody does not exist"),
        (("auth-url", "http://guard.sso/"), "sluice.dev/shared"),
        (("auth-url", "https://login.test/check"), "ingress/sso/login leads there, but has nginx.ingress"),
        (("auth-url", "https://outside.test/check"), "no Ingress that is served here leads"),
        (("auth-url", "http://guard/$request_uri"), "variables in its path"),
        (("auth-url", "gopher://x"), "it is the address of a Service"),
        (("auth-method", "POST"), "asked by GET"),
        (("auth-signin", "https://x.test/$args"), "the variable $args"),
        (("auth-response-headers", "Content-Length"), "frames the message"),
        (("auth-proxy-set-headers", "default/fields"), "ConfigMaps are not read"),
        (("enable-global-auth", "true"), "ConfigMaps are not read"),
    ] {
        let base = if asked.0 == "auth-url" { vec![] } else { vec![("auth-url", "http://web/")] };
        let all = [&base[..], &[asked]].concat();
        let lab = Lab::of(&(whole(&all) + &elsewhere + &guarded)).await;
        assert_eq!(lab.get("a.test", "/").await.status(), 503, "{asked:?}");
        assert!(lab.told.contains(says), "{asked:?}: {}", lab.told);
        assert_eq!(lab.web.requests().len(), 0);
    }
}

#[tokio::test]
async fn a_refused_ingress_keeps_its_paths() {
    let refused = ingress(
        "admin",
        &[("auth-tls-secret", "default/ca"), ("use-regex", "true")],
        &[("a.test", "/admin(/|$)(.*)", "ImplementationSpecific", "web")],
    );
    let lab = Lab::of(&(refused + &whole(&[]))).await;
    assert_eq!(lab.get("a.test", "/admin/x").await.status(), 503);
    assert_eq!(lab.get("a.test", "/ADMIN").await.status(), 503, "nor by another spelling");
    assert_eq!((lab.get("a.test", "/x").await.text(), asked_path(&lab.web)), ("web", "/x".to_owned()));
    assert!(lab.told.contains("auth-tls-secret"), "{}", lab.told);
    assert!(lab.next.requests().is_empty());
}

#[tokio::test]
async fn what_is_off_guards_nothing() {
    let (_, told) = translated(
        &whole(&[
            ("enable-global-auth", "false"),
            ("auth-realm", "x"),
            ("auth-signin", "https://x.test/$args"),
            ("ssl-passthrough", "false"),
            ("auth-tls-verify-depth", "1"),
            ("enable-modsecurity", "false"),
        ]),
        false,
    );
    assert!(!told.contains("annotation"), "{told}");
}
