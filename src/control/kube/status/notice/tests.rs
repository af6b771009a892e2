//! What Events say, of whom, and under which name.

use super::*;
use crate::control::kube::objects::{Object, Seen};
use crate::control::kube::store::Change;
use crate::model::problem::Origin;

fn store() -> Store {
    let mut store = Store::new(&[]);
    let meta = |name: &str| json!({"metadata": {"namespace": "a", "name": name, "uid": format!("uid-{name}")}});
    store.apply(Change::Apply(Object::Service(Seen::read(&meta("web")).0)));
    store.apply(Change::Apply(Object::Ingress(Seen::read(&meta("web")).0)));
    let odd = json!({"metadata": {"namespace": "a", "name": "odd"}, "spec": 7});
    store.apply(Change::Apply(Object::Ingress(Seen::read(&odd).0)));
    store.apply(Change::Apply(Object::Opaque(Seen::read(&meta("users")).0)));
    let node = json!({"metadata": {"name": "pi-1", "uid": "uid-pi-1"}});
    store.apply(Change::Apply(Object::Node(Seen::read(&node).0)));
    store
}

fn problem(object: &str, reason: &str) -> Problem {
    Problem::new(&Origin::new("home", object), reason)
}

fn notice(object: &str, reason: &str) -> Notice {
    Notice::of_problem(&problem(object, reason), &store()).unwrap()
}

#[test]
fn an_event_is_of_the_object_that_kubectl_describes() {
    let taken = problem("ingress/a/web", "host x belongs to b").because(Cause::HostTaken);
    let notice = Notice::of_problem(&taken, &store()).unwrap();
    let body = notice.body(&json!("2026-01-01T00:00:00.000000Z"), "edge_1/home");
    assert_eq!(
        body["regarding"],
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "namespace": "a", "name": "web", "uid": "uid-web"})
    );
    assert_eq!(body["metadata"]["namespace"], "a");
    let said = (&body["type"], &body["reason"], &body["note"]);
    assert_eq!(said, (&json!("Warning"), &json!("HostTaken"), &json!("host x belongs to b")));
}

#[test]
fn an_object_without_a_namespace_or_that_cannot_be_read_has_events_too() {
    let node = notice("node/pi-1", "has no InternalIP");
    assert_eq!(&*node.event().namespace, "default");
    assert_eq!(
        node.body(&json!(""), "")["regarding"],
        json!({"apiVersion": "v1", "kind": "Node", "name": "pi-1", "uid": "uid-pi-1"})
    );
    let odd = notice("ingress/a/odd", "does not have the form of its kind").body(&json!(""), "");
    assert_eq!(odd["regarding"].get("uid"), None);
}

#[test]
fn a_secret_of_ingress_nginx_has_events_as_any_other() {
    let body = notice("secret/a/users", "is wrong").body(&json!(""), "");
    assert_eq!(
        body["regarding"],
        json!({"apiVersion": "v1", "kind": "Secret", "namespace": "a", "name": "users", "uid": "uid-users"})
    );
}

#[test]
fn what_is_no_object_of_the_cluster_has_none() {
    for object in [
        "ingress/a/gone",
        "service/a/odd",
        "ingress.http (0.0.0.0:80 in the file)",
        "x.yaml:3",
        "pod/a/web",
        "",
        "/",
        "service/",
    ] {
        assert_eq!(Notice::of_problem(&problem(object, "is wrong"), &store()), None, "{object:?}");
    }
}

#[test]
fn the_name_is_of_all_that_is_said_and_of_nothing_else() {
    let event = |object: &str, reason: &str| notice(object, reason).event();
    assert_eq!(event("service/a/web", "one"), event("service/a/web", "one"));
    assert_ne!(event("service/a/web", "one"), event("service/a/web", "two"));
    assert_ne!(event("service/a/web", "one"), event("ingress/a/web", "one"));
    assert!(event("service/a/web", "one").name.starts_with("web."));
    // An object that was made anew is another one, though its name is the same.
    let (old, new) = (Arc::from("u-1"), Arc::from("u-2"));
    let of = |uid: &Arc<str>| Notice::of_status(&Target::Service(ObjectName::new("a", "web")), uid, &[]).event();
    assert_ne!(of(&old), of(&new));
}

#[test]
fn long_names_and_long_words_are_cut_where_a_letter_ends() {
    let name = format!("{}-{}", "a".repeat(235), "b".repeat(17));
    let target = Target::Ingress(ObjectName::new("a", name));
    let event = Notice::of_status(&target, &"u".into(), &[]).event();
    assert!(event.name.len() <= NAME && event.name.is_ascii() && !event.name.contains("-."), "{}", event.name);
    let long = notice("service/a/web", &"é".repeat(2000));
    assert!(long.note.len() <= NOTE && long.note.ends_with("é…"));
    assert_eq!(cut("short", 5), "short");
    assert_eq!(cut("ééé", 5), "é…");
}

#[test]
fn what_became_of_an_address_asks_nobody_to_act() {
    let target = Target::Service(ObjectName::new("a", "web"));
    let shown = ["192.0.2.10", "192.0.2.11"].map(|ip| Shown::Ip(ip.parse().unwrap()));
    let given = Notice::of_status(&target, &"u".into(), &shown);
    let body = given.body(&json!(""), "me");
    assert_eq!((&body["type"], &body["reason"]), (&json!("Normal"), &json!("AddressAssigned")));
    assert_eq!(body["note"], "is served at 192.0.2.10, 192.0.2.11");
    let taken = Notice::of_status(&target, &"u".into(), &[]);
    assert_eq!(taken.body(&json!(""), "me")["reason"], "AddressWithdrawn");
    assert!(!given.is_warning() && !taken.is_warning() && notice("service/a/web", "x").is_warning());
}
