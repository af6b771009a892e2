//! Good values, wrong ones, and what they do to their object.

use super::*;

fn meta(annotations: &[(&str, &str)]) -> Meta {
    let entry = |(name, value): &(&str, &str)| (format!("{OURS}{name}").into(), (*value).into());
    Meta { annotations: annotations.iter().map(entry).collect(), ..Meta::default() }
}

fn good(on: On, annotations: &[(&str, &str)]) -> Wishes {
    let (wishes, complaints) = read(on, &meta(annotations));
    assert_eq!(complaints, []);
    wishes
}

fn complaint(on: On, name: &str, value: &str) -> Complaint {
    let (_, mut complaints) = read(on, &meta(&[(name, value)]));
    assert_eq!(complaints.len(), 1, "{name}: {value}");
    complaints.remove(0)
}

#[test]
fn good_values_are_taken() {
    let wishes = good(
        On::Service,
        &[
            ("expose", "8080:http"),
            ("listen", "https=8443, 80=8081"),
            ("address", "192.0.2.10"),
            ("allow-source-ranges", "10.0.0.0/8, 192.0.2.7"),
            ("backend-protocol", "http"),
        ],
    );
    assert_eq!(wishes.expose, [(8080, Some("http".to_owned()))]);
    assert_eq!(wishes.listen, [("https".to_owned(), 8443), ("80".to_owned(), 8081)]);
    assert_eq!(wishes.allow.len(), 2);
    assert_eq!(good(On::Service, &[("expose", "25")]).expose, [(25, None)]);
    assert_eq!(good(On::Ingress, &[("redirect-https", "false")]).redirect_https, Some(false));
}

#[test]
fn an_ingress_wishes_over_its_service() {
    let base = good(On::Service, &[("balance", "least-connections"), ("probe", "none"), ("retries", "0")]).pool;
    let own = good(On::Ingress, &[("probe", "http:/healthz"), ("probe-interval", "250ms")]).pool;
    let mut pool = Pool::new(crate::model::problem::Origin::new("home", "x"));
    own.over(&base).apply(&mut pool);
    let probe = pool.probe.clone().unwrap();
    assert_eq!((&pool.balance, pool.retries), (&Balance::LeastConnections, 0));
    assert_eq!(probe.every, Duration::from_millis(250));
    assert!(matches!(&probe.kind, ProbeKind::Http { path, .. } if &**path == "/healthz"));
    base.apply(&mut pool);
    assert_eq!(pool.probe, None);
}

#[test]
fn wrong_values_refuse_and_say_what_is_right() {
    for (name, value) in [
        ("address", "web"),
        ("allow-source-ranges", ""),
        ("allow-source-ranges", "10.0.0.0/40"),
        ("backend-protocol", "h3"),
        ("balance", "random"),
        ("connect-timeout", "0s"),
        ("connect-timeout", "5"),
        ("expose", "0"),
        ("expose", "80:"),
        ("idle-timeout", "99999999999999999999h"),
        ("listen", "https"),
        ("probe", "http:healthz"),
        ("probe", "http:/a b"),
        ("probe", "none:"),
        ("probe", "grpc:"),
        ("probe", "https:healthz"),
        ("proxy-protocol", "v3"),
        ("accept-proxy-protocol", "all"),
        ("max-connections", "-1"),
        ("queue-wait", "0s"),
        ("rate-limit", "100/s"),
        ("rate-limit", "0/s per source"),
        ("rate-limit", "100/d per source"),
        ("slow-start", "2h"),
        ("sticky", "cookie"),
        ("sticky", "cookie:a b"),
        ("balance", "hash:destination"),
        ("balance", "hash:header:"),
        ("probe-interval", "10ms"),
        ("reach", "node"),
        ("response-timeout", "-1s"),
        ("retries", "11"),
    ] {
        let complaint = complaint(On::Service, name, value);
        assert!(complaint.refuses && complaint.reason.contains("it is "), "{}", complaint.reason);
    }
}

#[test]
fn what_guards_and_cannot_be_served_refuses_and_the_rest_does_not() {
    assert!(complaint(On::Ingress, "accept-proxy-protocol", "10.0.0.0/8").refuses);
    assert!(complaint(On::Service, "hsts", "365d").refuses);
    assert!(complaint(On::Service, "request-headers", "X-Team: shop").refuses);
    assert!(!complaint(On::Service, "weight", "3").refuses);
    assert!(!complaint(On::Service, "redirect-https", "true").refuses);
}

#[test]
fn rules_for_requests_are_taken() {
    let mut pool = Pool::new(crate::model::problem::Origin::new("home", "x"));
    let base = good(On::Service, &[("sticky", "source"), ("balance", "hash:uri")]).pool;
    base.apply(&mut pool);
    assert_eq!(pool.balance, Balance::HashUri);
    let own = good(On::Ingress, &[("sticky", "cookie:SRV"), ("balance", "hash:header:X-User")]).pool;
    own.over(&base).apply(&mut pool);
    assert_eq!(pool.balance, Balance::HashHeader("x-user".into()));
    assert!(matches!(&pool.sticky, Some(Sticky::Cookie(cookie)) if &*cookie.name == "SRV"));
    pool.sticky = Some(Sticky::Source { timeout: Duration::from_secs(60) });
    base.apply(&mut pool);
    let from_the_service = Some(Sticky::Source { timeout: Duration::from_secs(60) });
    assert_eq!(pool.sticky, from_the_service, "how long, its own field said");
}

#[test]
fn a_slip_of_the_pen_is_named_and_refuses_where_it_might_guard() {
    let slip = complaint(On::Service, "allow-source-range", "10.0.0.0/8");
    assert!(slip.refuses && slip.reason.contains("sluice.dev/allow-source-ranges"), "{}", slip.reason);
    assert!(!complaint(On::Service, "balanse", "round-robin").refuses);
    assert!(!complaint(On::Service, "colour-of-the-sky", "blue").refuses);
}

#[test]
fn every_served_annotation_is_read() {
    for (name, served, _) in KNOWN {
        let on = if *served == Served::Ingresses { On::Ingress } else { On::Service };
        if *served != Served::NotYet {
            assert!(!complaint(on, name, "?!").reason.contains("not read"), "{name}");
        }
    }
}

#[test]
fn times_are_written_as_in_the_file() {
    let wishes = good(On::Service, &[("connect-timeout", "1m30s"), ("idle-timeout", "1d"), ("probe-interval", "1h")]);
    assert_eq!(wishes.pool.connect, Some(Duration::from_secs(90)));
    assert_eq!(wishes.pool.idle, Some(Duration::from_secs(24 * 3600)));
    assert!(complaint(On::Service, "idle-timeout", "31d").reason.contains("a time from 1s to 720h, like 500ms"));
}

#[test]
fn what_connections_and_backends_are_asked_for_is_taken() {
    let wishes = good(
        On::Service,
        &[
            ("accept-proxy-protocol", "10.0.0.0/8, 192.0.2.7"),
            ("balance", "hash:source"),
            ("max-connections", "100"),
            ("probe", "https:/healthz"),
            ("proxy-protocol", "v2"),
            ("queue-wait", "2s"),
            ("rate-limit", "300/m per source"),
            ("slow-start", "30s"),
            ("sticky", "source"),
        ],
    );
    assert_eq!(wishes.proxies.len(), 2);
    assert_eq!(wishes.rate, Some(Rate { count: 300, per: Duration::from_secs(60) }));
    assert_eq!(wishes.asks_of_connections(), Some("proxy-protocol"));
    let mut pool = Pool::new(crate::model::problem::Origin::new("home", "x"));
    wishes.pool.apply(&mut pool);
    assert_eq!((&pool.balance, pool.max_connections), (&Balance::HashSource, 100));
    assert_eq!((pool.queue.length, pool.queue.wait), (1024, Duration::from_secs(2)));
    assert_eq!((pool.slow_start, pool.send_proxy), (Duration::from_secs(30), Some(ProxyVersion::V2)));
    assert_eq!(pool.sticky, Some(crate::control::usual::STICKY));
    assert!(matches!(&pool.probe.as_ref().unwrap().kind, ProbeKind::Http { tls: true, .. }));

    // An Ingress takes off what its Service wishes.
    let own = good(On::Ingress, &[("sticky", "none"), ("proxy-protocol", "none"), ("probe", "grpc:shop.v1.Cart")]).pool;
    own.over(&wishes.pool).apply(&mut pool);
    assert_eq!((&pool.sticky, pool.send_proxy), (&None, None));
    assert!(matches!(&pool.probe.unwrap().kind, ProbeKind::Grpc { service, .. } if &**service == "shop.v1.Cart"));
    assert_eq!(good(On::Service, &[("proxy-protocol", "none")]).asks_of_connections(), None);
    assert_eq!(
        good(On::Service, &[("accept-proxy-protocol", "::1")]).asks_of_connections(),
        Some("accept-proxy-protocol")
    );
}

#[test]
fn requests_and_answers_of_an_ingress_are_filtered_as_asked() {
    assert_eq!(good(On::Ingress, &[("balance", "first")]).filters(), None);
    let wishes = good(
        On::Ingress,
        &[
            ("allow-source-ranges", "10.0.0.0/8"),
            ("deny-source-ranges", "10.6.6.6"),
            ("hsts", "365d; includeSubDomains"),
            ("rate-limit", "100/s per source"),
            ("request-headers", "X-Team: shop\n-Cookie"),
            ("response-headers", "+Set-Cookie: a=b"),
            ("rewrite-path", "/v2"),
        ],
    );
    let shown = serde_json::to_string(&wishes.filters().unwrap()).unwrap();
    assert_eq!(
        shown,
        r#"{"sources":{"allow":["10.0.0.0/8"],"deny":["10.6.6.6/32"]},"rate":{"rate":"100 in 1s","burst":0,"key":"source"},"rewrite_path":{"prefix":"/v2"},"request_headers":{"remove":["cookie"],"set":[["x-team","shop"]],"add":[]},"response_headers":{"remove":[],"set":[],"add":[["set-cookie","hidden"]]},"hsts":{"max_age":31536000.0,"subdomains":true,"preload":false}}"#
    );
    for (name, value) in [
        ("hsts", "true"),
        ("rate-limit", "100/s"),
        ("request-headers", "X-Team"),
        ("response-headers", "Content-Length: 1"),
        ("rewrite-path", "v2"),
        ("rewrite-path", "regex:( /"),
    ] {
        let complaint = complaint(On::Ingress, name, value);
        assert!(complaint.refuses && complaint.reason.contains(" is wrong; "), "{}", complaint.reason);
    }
    let told = complaint(On::Ingress, "request-headers", "X-A: b\nAuthorization Bearer 123").reason;
    assert!(told.contains("sluice.dev/request-headers: is wrong; line 2: it is one edit a line"), "{told}");
    assert!(!told.contains("123"), "{told}");
}
