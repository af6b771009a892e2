//! What annotations of ingress-nginx do: each is on an Ingress that a whole proxy serves, and requests show its effect.
//!
//! Every name of the table is in a story, or says why it cannot be (`every_annotation_has_its_story`).

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

#[path = "ingress_nginx/access.rs"]
mod access;
#[path = "ingress_nginx/answers.rs"]
mod answers;
#[path = "ingress_nginx/backends.rs"]
mod backends;
#[path = "ingress_nginx/routes.rs"]
mod routes;
#[path = "ingress_nginx/whole.rs"]
mod whole;

use std::net::SocketAddr;

use sluice::control::kube::spec::{Access, ClusterSpec, IngressSpec, LeaseSpec, Publish, Reach, ServiceSpec};
use sluice::control::kube::{Cluster, manifests};
use support::asked::{at, web};
use support::peer::answer;
use support::{Message, Peer, Reply, Sluice, Wire};

fn spec(https: bool) -> ClusterSpec {
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
            https: if https { vec![at(2).address] } else { Vec::new() },
            publish: Publish::Same,
        },
        lease: LeaseSpec::None,
        ingress_nginx: true,
        last_good: None,
    }
}

/// A Service of these backends, which listens on port 80.
fn service(name: &str, pods: &[SocketAddr]) -> String {
    let mut text = format!(
        "---\n{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{ports: [{{name: http, port: 80}}]}}}}\n"
    );
    for (number, pod) in pods.iter().enumerate() {
        text += &format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}-{number}, labels: \
             {{kubernetes.io/service-name: {name}}}}}\naddressType: IPv4\nports: [{{name: http, port: {}}}]\nendpoints: \
             [{{addresses: [{}], conditions: {{ready: true}}, targetRef: {{kind: Pod, uid: {name}-{number}}}}}]\n",
            pod.port(),
            pod.ip(),
        );
    }
    text
}

/// An Ingress of class nginx with these annotations and rules of (host, path, its type, Service).
fn ingress(name: &str, annotations: &[(&str, &str)], rules: &[(&str, &str, &str, &str)]) -> String {
    let mut text =
        format!("---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\n  annotations:\n");
    text += "    example.test/other: x\n";
    for (name, value) in annotations {
        text += &format!("    nginx.ingress.kubernetes.io/{name}: '{}'\n", value.replace('\'', "''"));
    }
    text += "spec:\n  ingressClassName: nginx\n  rules:\n";
    for (host, path, kind, service) in rules {
        text += &format!(
            "  - host: '{host}'\n    http: {{paths: [{{path: '{path}', pathType: {kind}, backend: {{service: {{name: {service}, \
             port: {{name: http}}}}}}}}]}}\n"
        );
    }
    text
}

/// An Ingress for all of `a.test` that leads to `web`.
fn whole(annotations: &[(&str, &str)]) -> String {
    ingress("all", annotations, &[("a.test", "/", "Prefix", "web")])
}

fn secret(name: &str, kind: &str, data: &[(&str, &str)]) -> String {
    let data: serde_json::Map<_, _> = data.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
    let metadata = serde_json::json!({"name": name});
    let whole = serde_json::json!({"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": metadata, "stringData": data});
    // JSON is YAML, but not at the beginning of a file.
    format!("---\n{whole}\n")
}

/// What a cluster of these objects asks for, and what it tells.
fn translated(objects: &str, https: bool) -> (sluice::model::intent::Intent, String) {
    let mut cluster = Cluster::new(spec(https));
    let text = format!("# objects\n{objects}");
    let changes = manifests::read(&Access::Inline(vec![("in.yaml".to_owned(), text)])).unwrap();
    changes.into_iter().for_each(|change| cluster.apply(change));
    assert!(cluster.heard_all());
    let seen = cluster.translate();
    let told: Vec<String> = seen.problems.iter().map(ToString::to_string).collect();
    (seen.fragment, told.join("\n"))
}

/// A proxy that serves Ingresses, and its backends: `web` and `next`, which answer with their names.
struct Lab {
    sluice: Sluice,
    web: Peer,
    next: Peer,
    told: String,
}

impl Lab {
    /// Serves these Ingresses and whatever else is among the objects.
    async fn of(objects: &str) -> Self {
        let named = |name: &'static str| Peer::http(move |_| Reply::Send(answer("200 OK", name)));
        Self::with(objects, named("web").await, named("next").await).await
    }

    /// The same, with backends of another kind.
    async fn with(objects: &str, web: Peer, next: Peer) -> Self {
        let all = format!("{}{}{objects}", service("web", &[web.address]), service("next", &[next.address]));
        let (fragment, told) = translated(&all, false);
        let sluice = Sluice::start(fragment).await;
        Self { sluice, web, next, told }
    }

    /// A client.
    async fn client(&self) -> Wire {
        Wire::to(self.sluice.address(web()).await).await
    }

    /// The answer to GET.
    async fn get(&self, host: &str, path: &str) -> Message {
        self.client().await.get(host, path).await
    }

    /// The answer to GET of `/` at `a.test` with this field.
    async fn with_field(&self, field: &str) -> Message {
        self.client().await.ask(format!("GET / HTTP/1.1\r\nHost: a.test\r\n{field}\r\n\r\n")).await
    }

    /// Nothing was told.
    fn quiet(self) -> Self {
        assert_eq!(self.told, "");
        self
    }
}

/// The path by which a backend was asked last.
fn asked_path(peer: &Peer) -> String {
    peer.requests().last().unwrap().first_line().split(' ').nth(1).unwrap().to_owned()
}

/// A self-signed certificate for these names and its key, as PEM.
fn cert_pem(names: &[&str]) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}
