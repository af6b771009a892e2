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
    let showing = Showing { target: target(), shown, now: &service.status.load_balancer.ingress };
    ledger.settle(if is_wanted { vec![showing] } else { Vec::new() }, &store)
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
    let clear: BTreeMap<_, _> = [(target(), Wish { shown: Arc::default(), differs: true })].into();
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
fn patches_say_proxy_for_services_and_null_to_clear() {
    let ip = [Shown::Ip("192.0.2.10".parse().unwrap())];
    let ingress = |patch: Value| patch["status"]["loadBalancer"]["ingress"].clone();
    assert_eq!(ingress(patch(&target(), &ip)), json!([{"ip": "192.0.2.10", "ipMode": "Proxy"}]));
    let other = Target::Ingress(ObjectName::new("a", "web"));
    assert_eq!(ingress(patch(&other, &ip)), json!([{"ip": "192.0.2.10"}]));
    assert_eq!(ingress(patch(&other, &[Shown::Name("x.test".into())])), json!([{"hostname": "x.test"}]));
    assert_eq!(ingress(patch(&target(), &[])), Value::Null);
}
