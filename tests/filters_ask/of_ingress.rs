//! Names and passwords of an Ingress, from objects to what a client sees.

use std::net::SocketAddr;

use sluice::control::kube::spec::{Access, ClusterSpec, IngressSpec, LeaseSpec, Publish, Reach, ServiceSpec};
use sluice::control::kube::{Cluster, manifests};

use super::support::asked::web;
use super::support::{Peer, Sluice, Wire};

/// bob, whose password is secret; and, changed, cem, who has the same.
const BOB: &str = "bob:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/";
const CEM: &str = "cem:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

fn spec() -> ClusterSpec {
    ClusterSpec {
        name: "home".into(),
        access: Access::Inline(Vec::new()),
        namespaces: Vec::new(),
        reach: Reach::Pod,
        services: ServiceSpec {
            class: "sluice.dev/edge".to_owned(),
            take_unclassed: false,
            addresses: Vec::new(),
            publish: Publish::Same,
        },
        ingress: IngressSpec {
            class: "sluice".to_owned(),
            http: vec![web().address],
            https: Vec::new(),
            publish: Publish::Same,
        },
        lease: LeaseSpec::None,
        ingress_nginx: false,
        last_good: None,
    }
}

/// A guarded Ingress, its Service and one pod, and a Secret if there is one.
fn objects(pod: SocketAddr, secret: &str) -> String {
    format!(
        "---
{{apiVersion: v1, kind: Service, metadata: {{name: web}}, spec: {{ports: [{{name: http, port: 80}}]}}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-1, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{name: http, port: {}}}]
endpoints: [{{addresses: [{}], conditions: {{ready: true}}}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: web, annotations: {{sluice.dev/auth-basic: users}}}}
spec:
  ingressClassName: sluice
  defaultBackend: {{service: {{name: web, port: {{name: http}}}}}}
---
{secret}
",
        pod.port(),
        pod.ip(),
    )
}

fn secret(lines: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Secret, type: sluice.dev/htpasswd, metadata: {{name: users}}, stringData: {{auth: '{lines}'}}}}"
    )
}

#[tokio::test]
async fn a_secret_says_who_may_pass_and_without_it_nobody_may() {
    let peer = Peer::named("in").await;
    let mut cluster = Cluster::new(spec());
    let mut see = |secret: &str| {
        let text = objects(peer.address, secret);
        let changes = manifests::read(&Access::Inline(vec![("in.yaml".to_owned(), text)])).unwrap();
        changes.into_iter().for_each(|change| cluster.apply(change));
        let seen = cluster.translate();
        let told: Vec<String> = seen.problems.iter().map(ToString::to_string).collect();
        (seen.fragment, told.join("; "))
    };
    let (fragment, told) = see("");
    assert!(told.contains("secret/default/users is not there as a Secret of type sluice.dev/htpasswd"), "{told}");
    let sluice = Sluice::start(fragment).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    let mut status = async |authorization: &str| {
        client.ask(format!("GET / HTTP/1.1\r\nHost: a\r\n{authorization}\r\n")).await.status()
    };
    let (bob, cem) = ("Authorization: Basic Ym9iOnNlY3JldA==\r\n", "Authorization: Basic Y2VtOnNlY3JldA==\r\n");
    assert_eq!((status("").await, status(bob).await), (503, 503), "nobody says who may pass");

    for (lines, expected) in [(BOB, [401, 200, 401]), (CEM, [401, 401, 200]), ("cem:secret", [503, 503, 503])] {
        let (fragment, told) = see(&secret(lines));
        assert_eq!(told.is_empty(), expected[0] == 401, "{told}");
        sluice.publish(&fragment);
        assert_eq!([status("").await, status(bob).await, status(cem).await], expected, "{told}");
    }
    sluice.publish(&see(&secret(BOB)).0);
    assert_eq!(status(bob).await, 200);
    sluice.publish(&see("").0);
    assert_eq!((status("").await, status(bob).await), (503, 503), "the Secret was deleted");
    assert_eq!(peer.requests().len(), 3);
}
