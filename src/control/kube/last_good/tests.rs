//! What is kept is read again as it was, from every golden case; what is not whole, ours or of this cluster is refused.

use std::path::Path;

use super::*;
use crate::control::file::schema::usual_cluster;
use crate::control::kube::manifests;
use crate::control::kube::objects::ObjectName;
use crate::control::kube::spec::{Access, LastGood};

fn spec(keys: bool) -> ClusterSpec {
    let mut spec = usual_cluster("home", Access::Kubeconfig("/k".into()));
    spec.last_good = Some(LastGood { keys });
    spec
}

fn store(changes: Vec<Change>) -> Store {
    let mut store = Store::new(&[]);
    for change in changes {
        store.apply(change);
    }
    store
}

fn all<K: Kind>(table: &Table<K>) -> Vec<(ObjectName, Arc<K>)> {
    table.iter().map(|(name, object)| (name.clone(), object.clone())).collect()
}

/// A store with something of every kind.
fn some() -> Store {
    let text = r#"
apiVersion: v1
kind: Service
metadata: {name: web, namespace: a, uid: u, creationTimestamp: "2026-01-01T00:00:00Z", annotations: {sluice.dev/balance: random-two}}
spec: {type: LoadBalancer, loadBalancerClass: sluice.dev/edge, ports: [{port: 80, nodePort: 30080}]}
---
apiVersion: v1
kind: Secret
type: kubernetes.io/tls
metadata: {name: key, namespace: a}
stringData: {tls.crt: chain, tls.key: hush}
---
apiVersion: v1
kind: Secret
type: sluice.dev/htpasswd
metadata: {name: users, namespace: a}
stringData: {auth: "ann:$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"}
"#;
    store(manifests::read(&Access::Inline(vec![("a.yaml".to_owned(), text.to_owned())])).unwrap())
}

#[test]
fn every_golden_case_is_read_again_as_it_was() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kube");
    let mut objects = 0;
    for folder in std::fs::read_dir(root).unwrap() {
        let folder = folder.unwrap().path();
        let Ok(changes) = manifests::read(&Access::Manifests(folder.clone())) else { continue };
        let before = store(changes);
        let (bytes, digest) = encode(&before, &spec(true), "c", 5).unwrap();
        let kept = decode(&bytes, &spec(true), "c").unwrap();
        assert_eq!((kept.saved_ms, kept.without_keys, &kept.digest), (5, false, &digest));
        let after = store(kept.changes);
        let place = folder.display();
        assert_eq!(all(&before.services), all(&after.services), "{place}");
        assert_eq!(all(&before.slices), all(&after.slices), "{place}");
        assert_eq!(all(&before.nodes), all(&after.nodes), "{place}");
        assert_eq!(all(&before.ingresses), all(&after.ingresses), "{place}");
        assert_eq!(all(&before.classes), all(&after.classes), "{place}");
        assert_eq!(all(&before.secrets), all(&after.secrets), "{place}");
        assert_eq!(all(&before.users).len(), all(&after.users).len(), "{place}");
        assert!(after.heard_all());
        objects += before.services.iter().count() + before.slices.iter().count() + before.ingresses.iter().count();
    }
    assert!(objects > 20, "the cases hold objects: {objects}");
}

#[test]
fn keys_are_kept_only_where_that_is_asked_for() {
    let before = some();
    let (with, _) = encode(&before, &spec(true), "c", 0).unwrap();
    let (without, digest) = encode(&before, &spec(false), "c", 0).unwrap();
    let hush = "aHVzaA==";
    assert!(String::from_utf8(with.clone()).unwrap().contains(hush), "as base64");
    let text = String::from_utf8(without.clone()).unwrap();
    assert!(!text.contains(hush) && !text.contains("ann:"), "{text}");
    let kept = decode(&with, &spec(true), "c").unwrap();
    let after = store(kept.changes);
    assert_eq!(all(&before.secrets), all(&after.secrets));
    assert_eq!(all(&before.users), all(&after.users));
    for (bytes, is_as_written) in [(with, false), (without, true)] {
        let kept = decode(&bytes, &spec(false), "c").unwrap();
        assert!(kept.without_keys);
        assert_eq!(kept.digest == digest, is_as_written, "keys that are no longer wanted are written over");
        let after = store(kept.changes);
        assert_eq!((all(&after.secrets).len(), all(&after.users).len(), all(&after.services).len()), (0, 0, 1));
    }
}

#[test]
fn what_is_not_whole_ours_or_of_this_cluster_is_refused_and_says_why() {
    let (good, _) = encode(&some(), &spec(false), "c", 0).unwrap();
    let text = String::from_utf8(good.clone()).unwrap();
    let mut narrow = spec(false);
    narrow.namespaces = vec!["a".to_owned()];
    let refused = |bytes: &[u8], spec: &ClusterSpec, identity: &str| decode(bytes, spec, identity).unwrap_err();
    assert!(refused(&good, &spec(false), "d").contains("of another cluster"));
    assert!(refused(&good, &narrow, "c").contains("other namespaces"));
    assert!(refused(text.replace("\"format\":1", "\"format\":0").as_bytes(), &spec(false), "c").contains("form 0"));
    assert!(refused(text.replace("random-two", "random-six").as_bytes(), &spec(false), "c").contains("damaged"));
    // Cut anywhere, or with any byte turned over, it is refused or says the same.
    let whole = decode(&good, &spec(false), "c").unwrap();
    for cut in 0..good.len() - 1 {
        assert!(decode(&good[..cut], &spec(false), "c").is_err(), "cut at {cut}");
    }
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        if let Ok(kept) = decode(&bytes, &spec(false), "c") {
            // The time and whether there are keys are not of the content.
            assert_eq!(kept.changes, whole.changes, "byte {at}");
        }
    }
    for odd in [&b""[..], b"\n", b"{}\n{}", b"null\n", b"[1]\n[2]\n", b"\xff\xfe\n"] {
        assert!(decode(odd, &spec(false), "c").is_err());
    }
}
