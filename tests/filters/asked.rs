//! From what a user writes, in the file or on an Ingress, to what backends and clients see.

use sluice::control::file;
use sluice::control::file::schema::usual_cluster;
use sluice::control::kube::spec::{Access, Reach};
use sluice::control::once::once;
use sluice::model::intent::Intent;

use crate::support::{Message, Peer, Sluice, Wire};

/// A proxy that serves what was asked, and a client of its only listener.
async fn serving(intent: Intent) -> (Sluice, Wire) {
    let key = *intent.listeners.keys().next().unwrap();
    let sluice = Sluice::start(intent).await;
    let client = Wire::to(sluice.address(key).await).await;
    (sluice, client)
}

fn of_file(text: &str) -> Intent {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sluice.yaml");
    std::fs::write(&path, text).unwrap();
    let loaded = file::load(&path).unwrap_or_else(|errors| panic!("{errors:#?}"));
    once(&loaded.fragment, &loaded.clusters).unwrap().intent
}

fn shop(answer: &Message) -> (u16, Option<&str>, usize) {
    (answer.status(), answer.field("x-frame-options"), answer.fields("server").len())
}

#[tokio::test]
async fn what_the_file_asks_is_done() {
    let peer = Peer::named("shop").await;
    let (_sluice, mut client) = serving(of_file(&format!(
        r#"
listeners:
  web:
    bind: 127.0.0.1:0
    protocol: http
    routes:
      - path: /old
        redirect: {{path: /shop, code: 301}}
      - path: /shop
        rate: {{limit: 2/h, burst: 1}}
        max_body: 10B
        rewrite_path: /
        rewrite_host: inner.example.test
        request_headers: {{set: {{X-Team: shop}}}}
        response_headers: {{remove: Server, set: {{X-Frame-Options: DENY}}}}
        pool: site
pools: {{site: {{backends: [{}], probe: none}}}}
"#,
        peer.address
    )))
    .await;
    let moved = client.get("a.test", "/old/x?q").await;
    assert_eq!((moved.status(), moved.field("location")), (301, Some("/shop/x?q")));
    assert_eq!(shop(&client.get("a.test", "/shop/x?q").await), (200, Some("DENY"), 0));
    let seen = peer.request();
    assert_eq!((seen.first_line(), seen.field("host")), ("GET /x?q HTTP/1.1", Some("inner.example.test")));
    assert_eq!((seen.field("x-team"), seen.field("x-forwarded-prefix")), (Some("shop"), Some("/shop")));
    assert_eq!(shop(&client.ask("PUT /shop HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok").await).0, 200);
    assert_eq!(shop(&client.get("a.test", "/shop").await), (200, Some("DENY"), 0), "the burst");
    assert_eq!(shop(&client.get("a.test", "/shop").await), (429, Some("DENY"), 0));
}

#[tokio::test]
async fn what_an_ingress_asks_is_done_and_all_its_routes_share_one_limit() {
    let peer = Peer::named("shop").await;
    let objects = format!(
        r#"
apiVersion: v1
kind: Service
metadata: {{namespace: default, name: web}}
spec: {{ports: [{{name: http, port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{namespace: default, name: web, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{name: http, port: {}}}]
endpoints: [{{addresses: [127.0.0.1], conditions: {{ready: true}}}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  namespace: default
  name: shop
  annotations:
    sluice.dev/deny-source-ranges: 10.0.0.0/8
    sluice.dev/probe: none
    sluice.dev/rate-limit: 3/h per source
    sluice.dev/rewrite-path: /v2
    sluice.dev/request-headers: |
      X-Team: shop
      -Cookie
    sluice.dev/response-headers: 'X-Frame-Options: DENY'
spec:
  ingressClassName: sluice
  rules:
  - host: shop.example.test
    http:
      paths:
      - {{path: /a, pathType: Prefix, backend: {{service: {{name: web, port: {{name: http}}}}}}}}
      - {{path: /b, pathType: Exact, backend: {{service: {{name: web, port: {{name: http}}}}}}}}
"#,
        peer.address.port()
    );
    let mut spec = usual_cluster("home", Access::Inline(vec![("test".to_owned(), objects)]));
    spec.reach = Reach::Pod;
    spec.ingress.http = vec!["127.0.0.1:0".parse().unwrap()];
    spec.ingress.https = Vec::new();
    let once = once(&Intent::default(), &[spec]).unwrap();
    assert_eq!(once.problems, []);
    let (_sluice, mut client) = serving(once.intent).await;
    let mut ask = async |path: &str| {
        client.ask(format!("GET {path} HTTP/1.1\r\nHost: shop.example.test\r\nCookie: a=b\r\n\r\n")).await
    };
    for (path, code) in [("/a/x?q", 200), ("/b", 200), ("/a", 200), ("/b", 429), ("/a", 429)] {
        assert_eq!(shop(&ask(path).await), (code, Some("DENY"), 0), "{path}");
    }
    let seen: Vec<_> = peer.requests().iter().map(|request| request.first_line().to_owned()).collect();
    assert_eq!(seen, ["GET /v2/x?q HTTP/1.1", "GET /v2 HTTP/1.1", "GET /v2 HTTP/1.1"]);
    assert!(peer.requests().iter().all(|r| (r.field("x-team"), r.field("cookie")) == (Some("shop"), None)));
}
