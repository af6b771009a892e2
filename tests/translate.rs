//! Golden tests: objects in, fragment, problems and statuses out.
//!
//! Each folder under `fixtures/kube` is a case: `in.yaml` is what kubectl would write, `out.txt` what comes of it.
//! Lines `#: key: value` at the top of `in.yaml` change the cluster's settings. `UPDATE_EXPECT=1` rewrites `out.txt`.

#![allow(clippy::unwrap_used, reason = "in a test that is the wanted end")]

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sluice::control::kube::spec::{Access, ClusterSpec, IngressSpec, LeaseSpec, Publish, Reach, ServiceSpec};
use sluice::control::kube::{Change, Cluster, Translation, manifests};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kube");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

fn spec(text: &str) -> ClusterSpec {
    let mut spec = ClusterSpec {
        name: "home".into(),
        // As from an API server, whose objects anyone may have written; nothing is dialled.
        access: Access::Kubeconfig("none".into()),
        namespaces: Vec::new(),
        reach: Reach::Auto,
        services: ServiceSpec {
            class: "sluice.dev/edge".to_owned(),
            take_unclassed: false,
            addresses: vec!["192.0.2.10".parse().unwrap(), "192.0.2.11".parse().unwrap()],
            publish: Publish::Same,
        },
        ingress: IngressSpec {
            class: "sluice".to_owned(),
            http: vec![(Ipv4Addr::new(192, 0, 2, 80), 80).into()],
            https: vec![(Ipv4Addr::new(192, 0, 2, 80), 443).into()],
            publish: Publish::Same,
        },
        lease: LeaseSpec::Usual,
        ingress_nginx: false,
        last_good: None,
    };
    for line in text.lines() {
        let Some((key, value)) = line.strip_prefix("#: ").and_then(|line| line.split_once(": ")) else { continue };
        match key {
            "ingress_nginx" => spec.ingress_nginx = value == "true",
            "reach" if value == "pod" => spec.reach = Reach::Pod,
            "access" if value == "manifests" => spec.access = Access::Inline(Vec::new()),
            "namespaces" => spec.namespaces = value.split(", ").map(str::to_owned).collect(),
            "services.take_unclassed" => spec.services.take_unclassed = value == "true",
            "services.addresses" if value == "none" => spec.services.addresses = Vec::new(),
            "services.publish" => spec.services.publish = publish(value),
            "ingress.http" => spec.ingress.http = value.split(", ").map(|v| v.parse().unwrap()).collect(),
            "ingress.https" if value == "none" => spec.ingress.https = Vec::new(),
            "ingress.https" => spec.ingress.https = value.split(", ").map(|v| v.parse().unwrap()).collect(),
            "ingress.publish" => spec.ingress.publish = publish(value),
            _ => panic!("no such setting: {line}"),
        }
    }
    spec
}

fn publish(value: &str) -> Publish {
    value.parse::<IpAddr>().map_or_else(|_| Publish::Name(value.to_owned()), Publish::Address)
}

fn changes(text: &str) -> Vec<Change> {
    manifests::read(&Access::Inline(vec![("in.yaml".to_owned(), text.to_owned())])).unwrap()
}

fn translate(text: &str) -> Translation {
    let mut cluster = Cluster::new(spec(text));
    assert!(!cluster.heard_all());
    changes(text).into_iter().for_each(|change| cluster.apply(change));
    assert!(cluster.heard_all());
    cluster.translate()
}

fn show(translation: &Translation) -> String {
    let mut out = translation.fragment.to_string();
    translation.problems.iter().for_each(|problem| writeln!(out, "problem {problem}").unwrap());
    write!(out, "{}", translation.statuses).unwrap();
    out
}

#[test]
fn every_case_comes_out_as_written() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let text = std::fs::read_to_string(case.join("in.yaml")).unwrap();
        let (out, file) = (show(&translate(&text)), case.join("out.txt"));
        if update {
            std::fs::write(&file, &out).unwrap();
        } else if std::fs::read_to_string(&file).unwrap_or_default() != out {
            wrong.push(format!("{}:\n{out}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "not as written (UPDATE_EXPECT=1 rewrites):\n{}", wrong.join("\n"));
}

#[test]
fn the_order_in_which_objects_arrive_does_not_matter() {
    for case in cases() {
        let text = std::fs::read_to_string(case.join("in.yaml")).unwrap();
        let mut cluster = Cluster::new(spec(&text));
        for change in changes(&text).into_iter().rev() {
            let Change::Replace { objects, .. } = change else { panic!("manifests replace") };
            objects.into_iter().rev().for_each(|object| cluster.apply(Change::Apply(object)));
        }
        assert_eq!(show(&cluster.translate()), show(&translate(&text)), "{}", case.display());
    }
}

#[test]
fn readiness_waits_for_the_doors_of_ingresses_and_for_no_service() {
    let text = std::fs::read_to_string("tests/fixtures/kube/broken-objects/in.yaml").unwrap();
    let listeners = translate(&text).fragment.listeners;
    let essential: Vec<_> = listeners.values().filter(|l| l.essential).map(|l| l.protocol.to_string()).collect();
    assert!(listeners.len() > essential.len());
    assert!(!essential.is_empty() && !essential.contains(&"tcp".to_owned()), "{essential:?}");
}

#[test]
fn a_secret_that_breaks_keeps_its_last_good_certificate() {
    let text = std::fs::read_to_string("tests/fixtures/kube/ingress-tls/in.yaml").unwrap();
    let mut cluster = Cluster::new(spec(&text));
    changes(&text).into_iter().for_each(|change| cluster.apply(change));
    let good = cluster.translate();
    let (name, cert) = good.fragment.certs.first_key_value().unwrap();
    let (_, secret) = name.as_str().split_once('/').unwrap();
    let (namespace, secret) = secret.split_once('/').unwrap();
    let other = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
    let mut put = |key: &str, chain: &str| {
        let data = serde_json::json!({"tls.crt": chain, "tls.key": key});
        let meta = serde_json::json!({"namespace": namespace, "name": secret});
        let object = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": meta, "stringData": data,
        });
        for change in changes(&object.to_string()) {
            let Change::Replace { objects, .. } = change else { panic!("manifests replace") };
            objects.into_iter().for_each(|object| cluster.apply(Change::Apply(object)));
        }
        cluster.translate()
    };
    // The new chain came before its key.
    let broken = put("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", &other.cert.pem());
    assert!(Arc::ptr_eq(&broken.fragment.certs[name], cert));
    let told = broken.problems.iter().map(ToString::to_string).find(|p| p.contains("held before")).unwrap();
    assert!(told.contains(secret), "{told}");
    let renewed = put(&other.signing_key.serialize_pem(), &other.cert.pem());
    assert_ne!(renewed.fragment.certs[name].chain, cert.chain);
    assert!(!renewed.problems.iter().any(|p| p.reason.contains("held before")));
}

#[test]
fn what_did_not_change_is_the_same_thing_in_the_next_round() {
    for case in cases() {
        let text = std::fs::read_to_string(case.join("in.yaml")).unwrap();
        let mut cluster = Cluster::new(spec(&text));
        changes(&text).into_iter().for_each(|change| cluster.apply(change));
        let first = cluster.translate().fragment;
        let extra = "{kind: Node, apiVersion: v1, metadata: {name: excluded, labels: {node.kubernetes.io/exclude-from-external-load-balancers: ''}}}";
        let Some(Change::Replace { objects, .. }) = changes(&format!("# flow\n{extra}"))
            .into_iter()
            .find(|c| matches!(c, Change::Replace { feed, .. } if feed.kind == "Node"))
        else {
            panic!("nodes are replaced")
        };
        objects.into_iter().for_each(|object| cluster.apply(Change::Apply(object)));
        let second = cluster.translate().fragment;
        assert_eq!(first, second);
        for (key, listener) in &first.listeners {
            assert!(Arc::ptr_eq(listener, &second.listeners[key]), "{key} of {}", case.display());
        }
        for (name, pool) in &first.pools {
            assert!(Arc::ptr_eq(pool, &second.pools[name]), "{name} of {}", case.display());
        }
        for (name, cert) in &first.certs {
            assert!(Arc::ptr_eq(cert, &second.certs[name]), "{name} of {}", case.display());
        }
    }
}

#[test]
fn what_the_cluster_was_told_is_not_told_once_more_by_compile() {
    use sluice::model::{compile::compile, live::Live, snapshot::Snapshot};
    for case in ["broken-objects", "ingress-bad-parts", "ingress-default-backend", "nodeport"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/kube/{case}/in.yaml"));
        let text = std::fs::read_to_string(path).unwrap();
        let mut cluster = Cluster::new(spec(&text));
        let changes = manifests::read(&Access::Inline(vec![("in.yaml".to_owned(), text)])).unwrap();
        changes.into_iter().for_each(|change| cluster.apply(change));
        let translation = cluster.translate();
        assert!(!translation.problems.is_empty());
        let (_, more) = compile(&translation.fragment, &Snapshot::default(), &Live::new(1));
        assert_eq!(more, [], "{case}");
    }
}
