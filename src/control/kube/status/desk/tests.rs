//! Which Lease it is; and whole desks before an API server in memory, in virtual time.

use std::collections::BTreeMap;
use std::path::PathBuf;

use scripted::Scripted;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::*;
use crate::control::file::schema::usual_cluster;
use crate::control::kube::objects::{Object, Seen};
use crate::control::kube::status::notice::Notice;
use crate::control::kube::status::{Shown, Statuses, Target, Wish};
use crate::control::kube::store::{Change, Store};
use crate::model::problem::{Origin, Problem};

#[path = "scripted.rs"]
mod scripted;

fn cluster(access: Access) -> ClusterSpec {
    usual_cluster("home", access)
}

fn from_outside() -> ClusterSpec {
    cluster(Access::Kubeconfig(PathBuf::new()))
}

fn place_of(spec: &ClusterSpec) -> String {
    place(spec, "edge").map_or_else(|| "none".to_owned(), |place| place.to_string())
}

#[test]
fn the_lease_is_where_the_account_is_unless_the_file_says_otherwise() {
    assert_eq!(place_of(&from_outside()), "kube-system/sluice");
    assert_eq!(place_of(&cluster(Access::InCluster)), "edge/sluice");
    let named = LeaseSpec::Named(ObjectName::new("net", "front"));
    assert_eq!(place_of(&ClusterSpec { lease: named, ..from_outside() }), "net/front");
    assert_eq!(place_of(&ClusterSpec { lease: LeaseSpec::None, ..from_outside() }), "none");
}

#[test]
fn sluices_that_write_other_objects_have_another_lease() {
    let mut other = from_outside();
    other.services.class = "sluice.dev/inner".to_owned();
    let mut some = from_outside();
    some.namespaces = vec!["b".to_owned(), "a".to_owned()];
    let turned = ClusterSpec { namespaces: vec!["a".to_owned(), "b".to_owned()], ..some.clone() };
    let mut unclassed = from_outside();
    unclassed.services.take_unclassed = true;
    let nginx = ClusterSpec { ingress_nginx: true, ..from_outside() };
    let some_nginx = ClusterSpec { ingress_nginx: true, ..some.clone() };
    let unclassed_nginx = ClusterSpec { ingress_nginx: true, ..unclassed.clone() };
    let all = [&from_outside(), &other, &some, &unclassed, &nginx, &some_nginx, &unclassed_nginx];
    let places = all.map(place_of);
    for (at, place) in places.iter().enumerate() {
        assert!(places.iter().skip(at + 1).all(|later| later != place), "{places:?}");
    }
    assert_eq!(place_of(&some), place_of(&turned));
    // These two are named in deploy/kubernetes/rights.yaml.
    assert_eq!([place_of(&from_outside()), place_of(&nginx)], ["kube-system/sluice", "kube-system/sluice-nginx"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_until_the_lease_is_given_up_and_not_for_ever() {
    // Nothing is held: nothing to wait for.
    let (mut teller, desk) = open("home");
    let start = Instant::now();
    teller.close().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(desk.word.has_changed().is_err());
    let (mut teller, desk) = open("home");
    desk.held.send_replace(true);
    teller.close().await;
    assert_eq!(start.elapsed(), FAREWELL);
    let (mut teller, desk) = open("home");
    desk.held.send_replace(true);
    let gives_up = async {
        closed(desk.word.clone()).await;
        desk.held.send_replace(false);
    };
    tokio::join!(teller.close(), gives_up);
    assert_eq!(start.elapsed(), FAREWELL);
}

const SERVICE: &str = "/api/v1/namespaces/a/services/web";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/sluice";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/a/events";
const HOUR: Duration = Duration::from_secs(3600);

/// A Service that is to show an address, and shows what is there now; and these problems with it.
fn word(server: &Scripted, problems: &[&str]) -> Word {
    let now = server.object(SERVICE)["status"]["loadBalancer"]["ingress"].clone();
    let shown = [Shown::Ip("192.0.2.10".parse().unwrap())];
    let differs = now[0]["ip"] != "192.0.2.10";
    let wish = Wish { shown: shown.into(), differs, is_ours: !differs, uid: "u-1".into() };
    let target = Target::Service(ObjectName::new("a", "web"));
    let mut store = Store::new(&[]);
    store.apply(Change::Apply(Object::Service(Seen::read(&service()).0)));
    let origin = Origin::new("home", "service/a/web");
    let notice = |reason: &&str| Notice::of_problem(&Problem::new(&origin, *reason), &store).map(Arc::new);
    let notices = problems.iter().filter_map(notice).collect();
    Word { statuses: Statuses(Arc::new(BTreeMap::from([(target, wish)]))), notices: Arc::new(notices) }
}

fn service() -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "a", "name": "web", "uid": "u-1"}})
}

/// A sluice as far as it writes.
struct Sluice {
    teller: Teller,
    tasks: JoinSet<()>,
    server: Scripted,
    problems: Vec<&'static str>,
}

impl Sluice {
    fn start(server: &Scripted, problems: &[&'static str]) -> Self {
        let (teller, desk) = open("home");
        // All are of one process here, and are to be told apart.
        let desk = Desk { me: format!("{}-{}", desk.me, server.asked()).into(), ..desk };
        let mut tasks = JoinSet::new();
        tasks.spawn(desk.serve(server.client(), from_outside()));
        Self { teller, tasks, server: server.clone(), problems: problems.to_vec() }
    }

    fn writes(&self) -> bool {
        *self.teller.held.borrow()
    }

    /// Goes on for so long, as the loop would: what the watch brings is told on, whether it is news or not.
    async fn go_on(all: &mut [&mut Self], time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            all.iter_mut().for_each(|one| one.teller.tell(word(&one.server, &one.problems)));
            sleep(Duration::from_millis(500)).await;
        }
    }
}

fn server() -> Scripted {
    let server = Scripted::default();
    server.put(SERVICE, Some(service()));
    server
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_while_nothing_changes_but_the_lease_and_the_reminders() {
    let server = server();
    let mut one = Sluice::start(&server, &["is wrong"]);
    Sluice::go_on(&mut [&mut one], 6 * HOUR).await;
    assert_eq!(
        server.object(SERVICE)["status"]["loadBalancer"]["ingress"],
        json!([{"ip": "192.0.2.10", "ipMode": "Proxy"}])
    );
    assert_eq!(server.written(SERVICE), 1);
    let events = server.all(EVENTS);
    let told: BTreeMap<_, _> =
        events.iter().map(|event| (event["reason"].as_str().unwrap(), &event["series"]["count"])).collect();
    assert_eq!(told, BTreeMap::from([("AddressAssigned", &Value::Null), ("Invalid", &json!(12))]));
    assert_eq!(server.written(EVENTS), 13);
    let renewals = server.written(LEASE);
    assert!((3600..=4400).contains(&renewals), "{renewals} in 6 h, of one each 5 s");
}

#[tokio::test(start_paused = true)]
async fn one_of_three_writes_and_the_next_takes_over_at_once_or_when_it_expires() {
    let server = server();
    let mut all: Vec<_> = Vec::new();
    for _ in 0..3 {
        all.push(Sluice::start(&server, &["is wrong"]));
        sleep(Duration::from_millis(100)).await;
    }
    let mut all: Vec<_> = all.iter_mut().collect();
    Sluice::go_on(&mut all, 60 * Duration::from_secs(1)).await;
    let writers = |all: &[&mut Sluice]| all.iter().filter(|one| one.writes()).count();
    assert!(all[0].writes() && writers(&all) == 1);
    assert_eq!((server.written(SERVICE), server.written(EVENTS)), (1, 2));

    // A clean stop: given up, and taken within the time of a look.
    all[0].teller.close().await;
    assert_eq!(server.object(LEASE)["spec"]["holderIdentity"], "");
    let first = all.remove(0);
    first.tasks.abort_all();
    Sluice::go_on(&mut all, Duration::from_secs(3)).await;
    assert_eq!(writers(&all), 1);
    assert_eq!(server.object(LEASE)["spec"]["leaseTransitions"], 1);

    // A crash: nobody before 15 s are over.
    let at = all.iter().position(|one| one.writes()).unwrap();
    let gone = all.remove(at);
    gone.tasks.abort_all();
    let since = Instant::now();
    while writers(&all) == 0 {
        Sluice::go_on(&mut all, Duration::from_millis(500)).await;
    }
    assert!((9..=20).contains(&since.elapsed().as_secs()), "{:?}", since.elapsed());
    // The Events were there, and are not made anew.
    Sluice::go_on(&mut all, Duration::from_secs(60)).await;
    assert_eq!((server.written(SERVICE), server.written(EVENTS)), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_leases_it_writes_all_the_same() {
    let server = server();
    server.forbid("leases", true);
    let mut one = Sluice::start(&server, &[]);
    Sluice::go_on(&mut [&mut one], Duration::from_secs(5)).await;
    assert!(one.writes());
    assert_eq!(server.written(SERVICE), 1);
    // Given the right, it takes the Lease.
    server.forbid("leases", false);
    Sluice::go_on(&mut [&mut one], Duration::from_secs(80)).await;
    assert!(one.writes() && server.written(LEASE) > 0);
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_events_statuses_are_written_and_events_when_there_is_one() {
    let server = server();
    server.forbid("events", true);
    let mut one = Sluice::start(&server, &["is wrong"]);
    Sluice::go_on(&mut [&mut one], Duration::from_secs(30)).await;
    assert_eq!((server.written(SERVICE), server.written(EVENTS)), (1, 0));
    server.forbid("events", false);
    Sluice::go_on(&mut [&mut one], Duration::from_secs(80)).await;
    assert_eq!(server.written(EVENTS), 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_is_asked_seldom_and_costs_the_lease() {
    let server = server();
    let mut one = Sluice::start(&server, &[]);
    Sluice::go_on(&mut [&mut one], Duration::from_secs(10)).await;
    assert!(one.writes());
    server.is_down(true);
    server.put(SERVICE, Some(service()));
    let asked = server.asked();
    Sluice::go_on(&mut [&mut one], Duration::from_secs(600)).await;
    assert!(!one.writes());
    assert!(server.asked() - asked < 120, "{} in 10 min", server.asked() - asked);
    server.is_down(false);
    Sluice::go_on(&mut [&mut one], Duration::from_secs(30)).await;
    assert!(one.writes());
    assert_eq!(server.object(SERVICE)["status"]["loadBalancer"]["ingress"][0]["ip"], "192.0.2.10");
}
