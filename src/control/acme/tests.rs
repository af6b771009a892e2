//! What the loop sees of orders: sharing, what the disk has, what is forgotten; and what other tests of this room need.

use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::model::host::Host;
use crate::model::intent::{Limits, Listener, ListenerKey, Protocol, SourceRules};
use crate::model::live::listener::Socket;
use crate::model::problem::Origin;

/// Listeners of these protocols on these ports of loopback.
pub(super) fn listening(listeners: &[(Protocol, u16)]) -> Intent {
    let listener = |protocol: Protocol| Listener {
        name: "web".into(),
        protocol,
        routes: vec![],
        certs: vec![],
        strict_sni: false,
        tls: Default::default(),
        essential: true,
        http: Default::default(),
        proxies: Vec::new(),
        limits: Limits::default(),
        flow_idle: None,
        sources: SourceRules::default(),
        origin: Origin::new("file", "listener web"),
    };
    let at = |port: u16| ListenerKey::tcp(SocketAddr::from(([127, 0, 0, 1], port)));
    let listeners = listeners.iter().map(|(protocol, port)| (at(*port), Arc::new(listener(*protocol)))).collect();
    Intent { listeners, ..Intent::default() }
}

/// Says that a listener is open.
pub(super) fn open(live: &Live, key: ListenerKey) {
    live.listener(&key).set_socket(Socket::Open(key.address));
}

/// An order for these hosts, of an authority that is nowhere.
pub(super) fn order(hosts: &[&str]) -> Order {
    Order {
        hosts: hosts.iter().map(|host| Host::parse(host).unwrap()).collect(),
        directory: "https://ca.test/directory".into(),
        email: None,
        roots: Vec::new(),
        challenge: None,
        origin: Origin::new("file", "listener web certificate 1"),
    }
}

/// Key and certificate for these hosts, valid between these days since 1970.
pub(super) fn pem(hosts: &[&str], days: std::ops::Range<i64>) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let names: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    let at = |day: i64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(day * DAY).unwrap());
    (params.not_before, params.not_after) = (at(days.start), at(days.end));
    format!("{}{}", key.serialize_pem(), params.self_signed(&key).unwrap().pem())
}

pub(super) const DAY: i64 = 24 * 3600;

fn wishing(orders: &[Order]) -> Intent {
    let orders = orders.iter().map(|order| (order.name(), Arc::new(order.clone()))).collect();
    Intent { orders, ..Intent::default() }
}

struct Loop {
    acme: Acme,
    tasks: JoinSet<()>,
    sender: mpsc::Sender<Event>,
    _events: mpsc::Receiver<Event>,
}

impl Loop {
    fn new(state_dir: Option<&Path>) -> Self {
        let (sender, events) = mpsc::channel(8);
        let acme = Acme::new(state_dir, Arc::new(Live::new(1)));
        Self { acme, tasks: JoinSet::new(), sender, _events: events }
    }

    fn fill(&mut self, intent: &mut Intent) -> Vec<String> {
        let problems = self.acme.fill(intent, &mut self.tasks, &self.sender);
        problems.iter().map(ToString::to_string).collect()
    }
}

#[tokio::test]
async fn what_the_disk_has_is_there_at_once_and_goes_with_the_wish() {
    let folder = tempfile::tempdir().unwrap();
    let asked = order(&["a.test", "b.test"]);
    let text = pem(&["a.test", "b.test"], 20_000..30_000);
    StateDir::new(folder.path()).keep_certificate(&asked, &text).unwrap();
    let mut control = Loop::new(Some(folder.path()));
    let mut intent = wishing(std::slice::from_ref(&asked));
    assert!(control.fill(&mut intent).is_empty());
    assert_eq!(intent.certs[&asked.name()].not_after, 30_000 * DAY);
    assert_eq!(control.tasks.len(), 1);
    // The same wish by somebody else.
    let mut other = wishing(&[Order { origin: Origin::new("file", "listener other"), ..asked.clone() }]);
    control.fill(&mut other);
    assert_eq!((control.tasks.len(), other.certs.len()), (1, 1), "one order for all");
    control.fill(&mut Intent::default());
    assert!(control.tasks.join_next().await.unwrap().unwrap_err().is_cancelled(), "nobody wishes it any more");
}

#[tokio::test]
async fn a_wish_that_changes_begins_anew_and_keeps_what_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let asked = order(&["a.test"]);
    StateDir::new(folder.path()).keep_certificate(&asked, &pem(&["a.test"], 20_000..30_000)).unwrap();
    let mut control = Loop::new(Some(folder.path()));
    control.fill(&mut wishing(std::slice::from_ref(&asked)));
    let mut elsewhere = wishing(&[Order { directory: "https://other.test/".into(), ..asked.clone() }]);
    control.fill(&mut elsewhere);
    assert!(control.tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
    assert_eq!(control.tasks.len(), 1);
    assert!(elsewhere.certs.contains_key(&asked.name()), "until there is one of the other authority");
}

#[tokio::test]
async fn what_was_told_is_shown_and_what_a_forgotten_order_tells_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Loop::new(Some(folder.path()));
    let asked = Arc::new(order(&["a.test"]));
    let mut intent = Intent { orders: [(asked.name(), asked.clone())].into(), ..Intent::default() };
    control.fill(&mut intent);
    assert!(intent.certs.is_empty());
    let told = |order: &Arc<Order>| Told {
        order: order.clone(),
        standing: Standing { cert: None, trouble: Some("no A record (dns)".into()) },
    };
    assert!(control.acme.take(told(&asked)));
    assert!(!control.acme.take(told(&asked)), "nothing new");
    assert!(!control.acme.take(told(&Arc::new(order(&["a.test"])))), "of another order");
    let expected = ["file: listener web certificate 1: no new certificate for a.test: no A record (dns)"];
    assert_eq!(control.fill(&mut intent), expected);
}

#[tokio::test]
async fn without_a_state_folder_nothing_is_ordered() {
    let mut control = Loop::new(None);
    let problems = control.fill(&mut wishing(&[order(&["a.test"])]));
    assert!(problems[0].contains("acme needs process.state_dir"), "{problems:?}");
    assert!(control.tasks.is_empty());
}
