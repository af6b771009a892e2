//! All of the table, and which Ingresses it is for.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sluice::control::kube::translate::nginx::table::{TABLE, Verdict};

use super::{Lab, ingress, translated, whole};

/// Names that no request can show the effect of, and why.
const UNSEEN: [(&str, &str); 1] =
    [("use-port-in-redirects", "the port is in redirects whatever it says; see the stories of https")];

/// A value that an annotation is written with.
fn value(name: &str) -> &'static str {
    match name {
        "configuration-snippet" | "server-snippet" | "auth-snippet" => "deny all;",
        "auth-tls-secret" => "default/ca",
        "enable-global-auth" => "true",
        "auth-proxy-set-headers" => "default/fields",
        "session-cookie-path" => "/",
        _ => "true",
    }
}

/// What else an annotation needs to mean anything.
fn company(name: &str) -> &'static [(&'static str, &'static str)] {
    match name {
        "auth-proxy-set-headers" => &[("auth-url", "http://web/")],
        name if name.starts_with("auth-tls-") && name != "auth-tls-secret" => &[("auth-tls-secret", "default/ca")],
        _ => &[],
    }
}

#[tokio::test]
async fn what_is_safe_to_ignore_changes_nothing() {
    let safe: Vec<_> = TABLE
        .iter()
        .filter(|entry| entry.verdict == Verdict::Safe)
        .map(|entry| (entry.name, value(entry.name)))
        .collect();
    assert!(safe.len() >= 40, "{}", safe.len());
    let (plain, _) = translated(&whole(&[]), false);
    let (with_all, told) = translated(&whole(&safe), false);
    assert_eq!(with_all, plain);
    assert!(!told.contains("annotation"), "{told}");
    let lab = Lab::of(&whole(&safe)).await.quiet();
    assert_eq!(lab.get("a.test", "/").await.text(), "web");
}

#[tokio::test]
async fn what_is_not_safe_to_ignore_is_told_and_served() {
    for entry in TABLE.iter().filter(|entry| entry.verdict == Verdict::Unsafe) {
        let lab = Lab::of(&whole(&[(entry.name, value(entry.name))])).await;
        let said = format!("annotation nginx.ingress.kubernetes.io/{}: ", entry.name);
        assert!(lab.told.contains(&said) && lab.told.contains("(the object is served without)"), "{}", lab.told);
        assert_eq!(lab.get("a.test", "/").await.text(), "web", "{}", entry.name);
    }
}

#[tokio::test]
async fn a_guard_that_cannot_be_honoured_opens_nothing() {
    for entry in TABLE.iter().filter(|entry| entry.verdict == Verdict::Refused) {
        let all = [company(entry.name), &[(entry.name, value(entry.name))]].concat();
        let lab = Lab::of(&whole(&all)).await;
        let said = format!("annotation nginx.ingress.kubernetes.io/{}: ", entry.name);
        assert!(lab.told.contains(&said) && lab.told.contains("(until then the object is not served)"), "{}", lab.told);
        assert_eq!(lab.get("a.test", "/").await.status(), 503, "{}", entry.name);
        assert!(lab.web.requests().is_empty());
    }
}

#[tokio::test]
async fn a_snippet_without_a_guard_is_left_out() {
    let harmless = "more_set_headers \"X-Frame-Options: DENY; x\";\n# deny all;\nproxy_buffer_size 16k;";
    for name in ["configuration-snippet", "server-snippet"] {
        let lab = Lab::of(&whole(&[(name, harmless)])).await;
        assert_eq!(lab.get("a.test", "/").await.text(), "web");
        assert!(lab.told.contains("nothing in it guards"), "{}", lab.told);
        for guard in
            ["if ($x) { return 403; }", "auth_basic x;", "access_by_lua_block { x() }", "proxy_set_header X-User '';"]
        {
            let lab = Lab::of(&whole(&[(name, guard)])).await;
            assert_eq!(lab.get("a.test", "/").await.status(), 503, "{guard}");
        }
    }
}

#[tokio::test]
async fn classes_of_ingress_nginx_are_served() {
    let class = |name: &str, controller: &str| {
        format!(
            "---\n{{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {{name: {name}}}, spec: {{controller: {controller}}}}}\n"
        )
    };
    let by = |class: &str| {
        whole(&[("upstream-vhost", "x.test")]).replace("ingressClassName: nginx", &format!("ingressClassName: {class}"))
    };
    let old = whole(&[("upstream-vhost", "x.test")])
        .replace("  ingressClassName: nginx\n", "")
        .replace("    example.test/other: x\n", "    kubernetes.io/ingress.class: nginx\n");
    for (objects, expected) in [
        (by("nginx"), 200),
        (old.clone(), 200),
        (by("internal") + &class("internal", "k8s.io/ingress-nginx"), 200),
        (by("nginx") + &class("nginx", "k8s.io/ingress-nginx"), 200),
        (by("internal"), 404),
        (by("nginx") + &class("nginx", "nginx.org/ingress-controller"), 404),
    ] {
        // Something else is there too, so that the door is open.
        let other = ingress("door", &[], &[("door.test", "/", "Prefix", "web")])
            .replace("ingressClassName: nginx", "ingressClassName: sluice");
        let lab = Lab::of(&(objects.clone() + &other)).await;
        let answer = lab.get("a.test", "/").await;
        assert_eq!(answer.status(), expected, "{objects}");
        if expected == 200 {
            assert_eq!(lab.web.request().field("host"), Some("x.test"), "its annotations are read");
        }
    }
    // On an Ingress of our own class they are another controller's.
    let lab = Lab::of(&by("sluice")).await.quiet();
    lab.get("a.test", "/").await;
    assert_eq!(lab.web.request().field("host"), Some("a.test"));
    // And ours win on one of theirs.
    let both = whole(&[("denylist-source-range", "192.0.2.0/24")])
        .replace("    example.test/other: x\n", "    sluice.dev/deny-source-ranges: 127.0.0.0/8\n");
    assert_eq!(Lab::of(&both).await.quiet().get("a.test", "/").await.status(), 403);
}

#[test]
fn the_table_is_in_order_and_whole() {
    let names: Vec<&str> = TABLE.iter().map(|entry| entry.name).collect();
    let mut sorted: Vec<&str> = names.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), names.len(), "a name stands twice");
    assert!(names.len() >= 117 && TABLE.iter().all(|entry| !entry.why.is_empty()), "{}", names.len());
}

/// What is honoured is on an Ingress of some story; what is not is in one of the three above, which go through the table.
#[test]
fn every_annotation_has_its_story() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ingress_nginx");
    let stories: String =
        fs::read_dir(folder).unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let honoured = TABLE.iter().filter(|entry| entry.verdict <= Verdict::Differs);
    let missing: BTreeSet<&str> =
        honoured.map(|entry| entry.name).filter(|name| !stories.contains(&format!("(\"{name}\", "))).collect();
    assert!(missing.is_empty(), "no story of {missing:?}");
    for (name, why) in UNSEEN {
        assert!(TABLE.iter().any(|entry| entry.name == name) && !why.is_empty());
    }
}
