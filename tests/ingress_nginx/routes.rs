//! Which requests go where.

use super::support::Sluice;
use super::support::peer::{answer, nobody};
use super::support::tls::Client;
use super::support::{Peer, Reply, Wire, eventually, soon};
use super::{Lab, asked_path, at, cert_pem, ingress, secret, service, translated, web, whole};

#[tokio::test]
async fn expressions_are_from_the_start_in_any_case_and_the_longest_first() {
    let regex = ingress(
        "regex",
        &[("use-regex", "true")],
        &[("a.test", "/v[0-9]+", "ImplementationSpecific", "next"), ("a.test", "/v[0-9]+/deep", "Prefix", "web")],
    );
    let plain = ingress("plain", &[], &[("a.test", "/docs", "Prefix", "next"), ("a.test", "/", "Prefix", "web")]);
    let lab = Lab::of(&(plain + &regex)).await.quiet();
    for (path, to) in [
        ("/v1", "next"),
        ("/V22/x", "next"),
        ("/v1abc", "next"),
        ("/v1/deep/x", "web"),
        ("/x/v1", "web"),
        // Of another Ingress of the same host, whose paths are expressions too.
        ("/DOCS", "next"),
        ("/docsy", "next"),
        ("/", "web"),
    ] {
        assert_eq!(lab.get("a.test", path).await.text(), to, "{path}");
    }
}

#[tokio::test]
async fn a_target_takes_the_place_of_the_path() {
    for (path, target, asked, expected) in [
        ("/api(/|$)(.*)", "/$2", "/api/v1/x?q=1", "/v1/x?q=1"),
        ("/api(/|$)(.*)", "/$2", "/API", "/"),
        ("/something", "/", "/something/else", "/"),
        ("/a/(b+)", "/x-$1", "/a/bb/c", "/x-bb"),
        ("/plain", "/$1/y", "/plain", "/y"),
    ] {
        let rules = [("a.test", path, "ImplementationSpecific", "web")];
        let lab = Lab::of(&ingress("all", &[("rewrite-target", target)], &rules)).await.quiet();
        assert_eq!(lab.get("a.test", asked).await.text(), "web");
        assert_eq!(asked_path(&lab.web), expected, "{path} {target} {asked}");
    }
    let prefixed = [("rewrite-target", "/$2"), ("x-forwarded-prefix", "/api")];
    let rules = [("a.test", "/api(/|$)(.*)", "ImplementationSpecific", "web")];
    let lab = Lab::of(&ingress("all", &prefixed, &rules)).await.quiet();
    lab.get("a.test", "/api/x").await;
    assert_eq!(lab.web.request().field("x-forwarded-prefix"), Some("/api"));
    let lab = Lab::of(&ingress("all", &[("rewrite-target", "/$2?x=$1")], &rules)).await;
    assert_eq!(lab.get("a.test", "/api/x").await.status(), 503);
    assert!(lab.told.contains("without a query"), "{}", lab.told);
}

#[tokio::test]
async fn a_path_that_is_no_expression_here_is_nobody_elses() {
    let odd = ingress("odd", &[("use-regex", "true")], &[("a.test", "/a/(?!b).*", "ImplementationSpecific", "next")]);
    let lab = Lab::of(&(odd + &whole(&[]).replace("path: '/'", "path: '/x'"))).await;
    assert_eq!(lab.get("a.test", "/a/c").await.status(), 503);
    assert_eq!(lab.get("a.test", "/x").await.text(), "web");
    assert!(lab.told.contains("there is no look-around"), "{}", lab.told);
}

#[tokio::test]
async fn all_requests_are_sent_elsewhere() {
    for (annotations, code, location) in [
        (&[("permanent-redirect", "https://new.test/y")][..], 301, "https://new.test/y"),
        (&[("permanent-redirect", "https://new.test"), ("permanent-redirect-code", "308")], 308, "https://new.test"),
        (&[("permanent-redirect", "https://new.test$request_uri")], 301, "https://new.test/x?q=1"),
        (&[("permanent-redirect", "$scheme://www.$host/")], 301, "http://www.a.test/"),
        (&[("temporal-redirect", "https://new.test/y?a=b")], 302, "https://new.test/y?a=b"),
        (&[("temporal-redirect", "https://new.test/"), ("temporal-redirect-code", "307")], 307, "https://new.test/"),
        (
            &[("temporal-redirect", "https://t.test/"), ("permanent-redirect", "https://p.test/")],
            302,
            "https://t.test/",
        ),
    ] {
        let lab = Lab::of(&whole(annotations)).await.quiet();
        let sent = lab.get("a.test", "/x?q=1").await;
        assert_eq!((sent.status(), sent.field("location")), (code, Some(location)), "{annotations:?}");
        assert!(lab.web.requests().is_empty());
    }
}

#[tokio::test]
async fn the_root_alone_is_sent_to_the_application() {
    let lab = Lab::of(&whole(&[("app-root", "/app")])).await.quiet();
    let sent = lab.get("a.test", "/").await;
    assert_eq!((sent.status(), sent.field("location")), (302, Some("/app")));
    assert_eq!(lab.get("a.test", "/app").await.text(), "web");
}

#[tokio::test]
async fn a_host_has_other_names() {
    let lab = Lab::of(&whole(&[("server-alias", "b.test, *.c.test"), ("from-to-www-redirect", "true")])).await.quiet();
    for host in ["a.test", "b.test", "x.c.test"] {
        assert_eq!(lab.get(host, "/").await.text(), "web", "{host}");
    }
    let sent = lab.get("www.a.test", "/x?q=1").await;
    assert_eq!((sent.status(), sent.field("location")), (308, Some("http://a.test/x?q=1")));
    let bare = whole(&[("from-to-www-redirect", "true")]).replace("'a.test'", "'www.a.test'");
    let lab = Lab::of(&bare).await.quiet();
    assert_eq!(lab.get("a.test", "/").await.field("location"), Some("http://www.a.test/"));
    // A rule of its own keeps its host.
    let other = ingress("other", &[], &[("b.test", "/", "Prefix", "next")]);
    let lab = Lab::of(&(whole(&[("server-alias", "b.test")]) + &other)).await;
    assert_eq!(lab.get("b.test", "/").await.text(), "next");
    assert!(lab.told.contains("server-alias b.test is the host of another rule"), "{}", lab.told);
}

#[tokio::test]
async fn http_is_sent_to_https_as_it_is_said() {
    let (chain, key) = cert_pem(&["a.test"]);
    let tls = secret("tls", "kubernetes.io/tls", &[("tls.crt", &chain), ("tls.key", &key)]);
    let backend = Peer::named("web").await;
    let serve = async |annotations: &[(&str, &str)], has_tls: bool| {
        let mut objects = whole(annotations) + &service("web", &[backend.address]);
        if has_tls {
            objects = objects.replace("  rules:\n", "  tls: [{hosts: [a.test], secretName: tls}]\n  rules:\n") + &tls;
        } else {
            // Some other Ingress has TLS, so there is a door for it.
            let other = ingress("other", &[], &[("b.test", "/", "Prefix", "web")]);
            objects += &other.replace("  rules:\n", "  tls: [{hosts: [a.test, b.test], secretName: tls}]\n  rules:\n");
            objects += &tls;
            objects = objects.replace("hosts: [a.test, b.test]", "hosts: [b.test]");
        }
        let (fragment, _) = translated(&objects, true);
        Sluice::start(fragment).await
    };
    for (annotations, has_tls, expected) in [
        (&[][..], true, 308),
        (&[("ssl-redirect", "false")], true, 200),
        (&[("ssl-redirect", "true"), ("preserve-trailing-slash", "true")], true, 308),
        (&[], false, 200),
        (&[("force-ssl-redirect", "true")], false, 308),
        (&[("force-ssl-redirect", "true"), ("ssl-redirect", "false")], true, 308),
    ] {
        let sluice = serve(annotations, has_tls).await;
        let sent = Wire::to(sluice.address(web()).await).await.get("a.test", "/x/").await;
        assert_eq!(sent.status(), expected, "{annotations:?} {has_tls}");
        if expected == 308 {
            let location = sent.field("location").unwrap();
            assert!(location.starts_with("https://a.test") && location.ends_with("/x/"), "{location}");
        }
        if has_tls {
            let stream = Client::offering(&["http/1.1"]).connect(sluice.address(at(2)).await, "a.test").await;
            assert_eq!(Wire::new(stream).get("a.test", "/").await.text(), "web");
        }
    }
}

#[tokio::test]
async fn a_canary_takes_its_part() {
    let canary = |annotations: &[(&str, &str)]| {
        let all = [&[("canary", "true")], annotations].concat();
        whole(&[]) + &ingress("next", &all, &[("a.test", "/", "Prefix", "next")])
    };
    let by_header = Lab::of(&canary(&[("canary-by-header", "X-Next"), ("canary-weight", "0")])).await.quiet();
    assert_eq!(by_header.get("a.test", "/").await.text(), "web");
    assert_eq!(by_header.with_field("X-Next: always").await.text(), "next");
    assert_eq!(by_header.with_field("X-Next: never").await.text(), "web");
    let by_value =
        Lab::of(&canary(&[("canary-by-header", "X-Next"), ("canary-by-header-value", "beta")])).await.quiet();
    assert_eq!(by_value.with_field("X-Next: beta").await.text(), "next");
    assert_eq!(by_value.with_field("X-Next: always").await.text(), "web");
    let by_pattern =
        Lab::of(&canary(&[("canary-by-header", "X-Next"), ("canary-by-header-pattern", "b.*")])).await.quiet();
    assert_eq!(
        by_pattern.with_field("X-Next: always").await.text(),
        "web",
        "the pattern is not known, and takes nobody"
    );
    let by_cookie = Lab::of(&canary(&[("canary-by-cookie", "next")])).await.quiet();
    assert_eq!(by_cookie.with_field("Cookie: next=always").await.text(), "next");
    assert_eq!(by_cookie.get("a.test", "/").await.text(), "web");
    let named = canary(&[("canary-weight", "100")]).replacen(
        "    example.test/other: x\n",
        "    nginx.ingress.kubernetes.io/server-alias: b.test\n",
        1,
    );
    assert_eq!(Lab::of(&named).await.quiet().get("b.test", "/").await.text(), "next", "by another name too");
    let all = Lab::of(&canary(&[("canary-weight", "100")])).await.quiet();
    assert_eq!(all.get("a.test", "/").await.text(), "next");
    let part = Lab::of(&canary(&[("canary-weight", "50"), ("canary-weight-total", "200")])).await.quiet();
    let mut client = part.client().await;
    for _ in 0..400 {
        client.get("a.test", "/").await;
    }
    let went = part.next.requests().len();
    assert!((50..=150).contains(&went), "{went} of 400 at a quarter");
    // What guards the main one guards the canary.
    let guarded = whole(&[("denylist-source-range", "127.0.0.1")]);
    let beside = ingress("next", &[("canary", "true"), ("canary-weight", "100")], &[("a.test", "/", "Prefix", "next")]);
    assert_eq!(Lab::of(&(guarded + &beside)).await.quiet().get("a.test", "/").await.status(), 403);
}

#[tokio::test]
async fn a_mirror_hears_what_is_asked() {
    for target in ["http://next$request_uri", "http://next.default.svc.cluster.local"] {
        let lab = Lab::of(&whole(&[("mirror-target", target), ("mirror-host", "x.test")])).await.quiet();
        assert_eq!(lab.get("a.test", "/x?q=1").await.text(), "web");
        eventually("the mirror to hear it", || (!lab.next.requests().is_empty()).then_some(())).await;
        assert_eq!(asked_path(&lab.next), "/x?q=1");
    }
    let lab = Lab::of(&whole(&[("mirror-target", "http://next"), ("mirror-request-body", "off")])).await.quiet();
    let mut client = lab.client().await;
    client.ask("POST /with HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc").await;
    client.get("a.test", "/without").await;
    eventually("the mirror to hear it", || (!lab.next.requests().is_empty()).then_some(())).await;
    assert_eq!(asked_path(&lab.next), "/without");
    let lab = Lab::of(&whole(&[("mirror-target", "https://outside.test/")])).await;
    assert!(lab.told.contains("mirror-target"), "{}", lab.told);
    assert_eq!(lab.get("a.test", "/").await.text(), "web");
}

#[tokio::test]
async fn bodies_hosts_and_backends_are_as_asked() {
    let lab = Lab::of(&whole(&[("proxy-body-size", "1k"), ("upstream-vhost", "inner.test")])).await.quiet();
    let post =
        |size: usize| format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {size}\r\n\r\n{}", "x".repeat(size));
    assert_eq!(lab.client().await.ask(post(1024)).await.status(), 200);
    assert_eq!(lab.web.request().field("host"), Some("inner.test"));
    assert_eq!(lab.client().await.ask(post(1025)).await.status(), 413);
    let lab = Lab::of(&whole(&[("proxy-body-size", "0")])).await.quiet();
    assert_eq!(lab.client().await.ask(post(2000)).await.status(), 200);
    // Who stands in when nobody else is there.
    let away = nobody().await;
    let next = Peer::http(|_| Reply::Send(answer("200 OK", "sorry"))).await;
    let objects = whole(&[("default-backend", "next")]) + &service("web", &[away]) + &service("next", &[next.address]);
    let (fragment, told) = translated(&objects, false);
    assert_eq!(told, "");
    let sluice = Sluice::start(fragment).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    assert_eq!(soon("the answer", client.get("a.test", "/")).await.text(), "sorry");
}
