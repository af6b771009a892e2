//! Replace, apply, delete, and when all was heard.

use serde_json::json;

use super::*;

fn service(namespace: &str, name: &str, port: u16) -> Object {
    let value = json!({"metadata": {"namespace": namespace, "name": name}, "spec": {"ports": [{"port": port}]}});
    Object::Service(Seen::read(&value).0)
}

fn feed(kind: &'static str, namespace: Option<&str>) -> Feed {
    Feed { kind, namespace: namespace.map(Into::into) }
}

fn replace(kind: &'static str, namespace: Option<&str>, objects: Vec<Object>) -> Change {
    Change::Replace { feed: feed(kind, namespace), objects }
}

fn names(store: &Store) -> Vec<String> {
    store.services.iter().map(|(name, _)| name.to_string()).collect()
}

#[test]
fn replace_takes_away_what_its_own_feed_no_longer_has() {
    let mut store = Store::new(&["a".to_owned(), "b".to_owned()]);
    store.apply(replace("Service", Some("a"), vec![service("a", "one", 1), service("a", "two", 2)]));
    store.apply(replace("Service", Some("b"), vec![service("b", "one", 1)]));
    store.apply(replace("Service", Some("a"), vec![service("a", "two", 2)]));
    assert_eq!(names(&store), ["a/two", "b/one"]);
}

#[test]
fn the_same_again_is_no_change_and_keeps_its_identity() {
    let mut store = Store::new(&[]);
    assert!(store.apply(Change::Apply(service("a", "one", 1))));
    let one = store.services.find(&ObjectName::new("a", "one")).unwrap().clone();
    assert!(!store.apply(Change::Apply(service("a", "one", 1))));
    assert!(Arc::ptr_eq(&one, store.services.find(&ObjectName::new("a", "one")).unwrap()));
    assert!(store.apply(Change::Apply(service("a", "one", 2))));
    assert!(store.apply(Change::Delete { kind: "Service", name: ObjectName::new("a", "one") }));
    assert!(!store.apply(Change::Delete { kind: "Service", name: ObjectName::new("a", "one") }));
}

#[test]
fn other_namespaces_are_let_go() {
    let mut store = Store::new(&["a".to_owned()]);
    assert!(!store.apply(Change::Apply(service("b", "one", 1))));
    store.apply(replace("Service", None, vec![service("a", "one", 1), service("b", "one", 1)]));
    assert_eq!(names(&store), ["a/one"]);
}

#[test]
fn all_is_heard_when_each_kind_was_heard_in_each_namespace() {
    let mut store = Store::new(&["a".to_owned(), "b".to_owned()]);
    for kind in ["Node", "IngressClass"] {
        store.apply(replace(kind, None, Vec::new()));
    }
    for kind in ["Service", "EndpointSlice", "Ingress", "Secret", "Secret of users"] {
        assert!(!store.heard_all());
        store.apply(replace(kind, Some("a"), Vec::new()));
        store.apply(replace(kind, Some("b"), Vec::new()));
    }
    assert!(store.heard_all());
}
