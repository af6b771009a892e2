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

fn wanted() -> BTreeMap<Target, Vec<Shown>> {
    [(target(), vec![Shown::Ip("192.0.2.10".parse().unwrap())])].into()
}

fn differs(points: Value) -> bool {
    Ledger::default().settle(wanted(), &store(points)).0[&target()].differs
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
    let ours = json!([{"ip": "192.0.2.10", "ipMode": "Proxy"}]);
    let mut ledger = Ledger::default();
    ledger.settle(wanted(), &store(ours.clone()));
    let clear = [(target(), Wish { shown: Vec::new(), differs: true })].into();
    assert_eq!(ledger.settle(BTreeMap::new(), &store(ours.clone())), Statuses(clear));
    // Cleared, and then forgotten: whoever shows it now is not us.
    assert_eq!(ledger.settle(BTreeMap::new(), &store(json!(null))), Statuses::default());
    assert_eq!(ledger.settle(BTreeMap::new(), &store(ours)), Statuses::default());
    ledger.settle(wanted(), &store(json!(null)));
    assert_eq!(ledger.settle(BTreeMap::new(), &store(json!([{"ip": "203.0.113.1"}]))), Statuses::default());
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
