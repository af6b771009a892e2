//! What is written, what is cleared, and how.

use serde_json::json;

use super::*;
use crate::control::kube::objects::{Object, Seen};
use crate::control::kube::store::Change;

fn store(points: Value) -> Store {
    let mut store = Store::new(&[]);
    let service =
        json!({"metadata": {"namespace": "a", "name": "web"}, "status": {"loadBalancer": {"ingress": points}}});
    store.apply(Change::Apply(Object::Service(Seen::read(&service).0)));
    store
}

fn target() -> Target {
    Target::Service(ObjectName::new("a", "web"))
}

fn settle(ledger: &mut Ledger, is_wanted: bool, points: Value) -> Statuses {
    let store = store(points);
    let service = store.services.find(&ObjectName::new("a", "web")).unwrap();
    let shown = [Shown::Ip("192.0.2.10".parse().unwrap())].into();
    let now = &service.status.load_balancer.ingress;
    let showing = Showing { target: target(), shown, ours: ours(), now, uid: Some("u-1") };
    ledger.settle(if is_wanted { vec![showing] } else { Vec::new() }, &store)
}

fn ours() -> Vec<Shown> {
    ["192.0.2.10", "192.0.2.11"].map(|ip| Shown::Ip(ip.parse().unwrap())).into()
}

fn cleared() -> Wish {
    Wish { shown: Arc::default(), differs: true, is_ours: true, uid: "".into() }
}

fn differs(points: Value) -> bool {
    settle(&mut Ledger::default(), true, points).0[&target()].differs
}

#[test]
fn only_what_differs_is_written() {
    assert!(differs(json!(null)));
    assert!(differs(json!([{"ip": "192.0.2.11", "ipMode": "Proxy"}])));
    assert!(differs(json!([{"ip": "192.0.2.10", "ipMode": "VIP"}])));
    assert!(differs(json!([{"ip": "192.0.2.10"}, {"hostname": "x"}])));
    assert!(!differs(json!([{"ip": "192.0.2.10", "ipMode": "Proxy"}])));
}

#[test]
fn what_stops_being_ours_is_cleared_while_it_shows_our_address_alone() {
    let ours = || json!([{"ip": "192.0.2.10", "ipMode": "Proxy"}]);
    let mut ledger = Ledger::default();
    settle(&mut ledger, true, ours());
    let clear: BTreeMap<_, _> = [(target(), cleared())].into();
    // Until it is seen to be done.
    assert_eq!(*settle(&mut ledger, false, ours()).0, clear);
    assert_eq!(*settle(&mut ledger, false, ours()).0, clear);
    // Cleared, and then forgotten: whoever shows it now is not us.
    assert_eq!(settle(&mut ledger, false, json!(null)), Statuses::default());
    assert_eq!(settle(&mut ledger, false, ours()), Statuses::default());
    settle(&mut ledger, true, json!(null));
    assert_eq!(settle(&mut ledger, false, json!([{"ip": "203.0.113.1"}])), Statuses::default());
    // Ours again before it was cleared.
    settle(&mut ledger, true, ours());
    settle(&mut ledger, false, ours());
    assert!(!settle(&mut ledger, true, ours()).0[&target()].differs);
}

#[test]
fn one_that_is_not_served_shows_nothing_of_ours_after_a_restart_too() {
    let unserved = |points: Value| {
        let store = store(points);
        let service = store.services.find(&ObjectName::new("a", "web")).unwrap();
        let now = &service.status.load_balancer.ingress;
        let showing = Showing { target: target(), shown: Arc::default(), ours: ours(), now, uid: None };
        Ledger::default().settle(vec![showing], &store)
    };
    assert_eq!(unserved(json!([{"ip": "192.0.2.11"}])).0[&target()], cleared());
    // Not ours to take away, or nothing to take away.
    assert_eq!(unserved(json!([{"ip": "192.0.2.11"}, {"ip": "203.0.113.1"}])), Statuses::default());
    assert_eq!(unserved(json!(null)), Statuses::default());
}

#[test]
fn who_loses_its_place_to_another_source_shows_nothing_any_more() {
    let shows = |points: Value| settle(&mut Ledger::default(), true, points);
    let ours = json!([{"ip": "192.0.2.10", "ipMode": "Proxy"}]);
    assert_eq!(shows(ours.clone()).of_those(|_| true), shows(ours.clone()));
    let lost = |points: Value| shows(points).of_those(|one| *one != target()).0[&target()].clone();
    assert_eq!(lost(ours), Wish { uid: "u-1".into(), ..cleared() });
    // It never showed ours: nothing is written.
    assert!(!lost(json!(null)).differs && lost(json!(null)).shown.is_empty());
    assert!(!lost(json!([{"ip": "203.0.113.1"}])).differs);
}

#[test]
fn numbers_of_texts_are_the_same_in_every_process_and_keep_texts_apart() {
    assert_eq!(fingerprint(["sluice"]), 0x827d_bf65_6856_ee35);
    assert_ne!(fingerprint(["ab", ""]), fingerprint(["a", "b"]));
    assert_ne!(fingerprint(["", ""]), fingerprint([""]));
}

#[test]
fn patches_say_proxy_for_services_and_null_to_clear() {
    let ip = [Shown::Ip("192.0.2.10".parse().unwrap())];
    let ingress = |patch: Value| patch["status"]["loadBalancer"]["ingress"].clone();
    assert_eq!(ingress(patch(&target(), &ip)), json!([{"ip": "192.0.2.10", "ipMode": "Proxy"}]));
    let other = Target::Ingress(ObjectName::new("a", "web"));
    assert_eq!(ingress(patch(&other, &ip)), json!([{"ip": "192.0.2.10"}]));
    assert_eq!(ingress(patch(&other, &[Shown::Name("x.test".into())])), json!([{"hostname": "x.test"}]));
    assert_eq!(ingress(patch(&target(), &[])), Value::Null);
}
