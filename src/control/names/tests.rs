//! Names against a real DNS server on a real socket, whose answers change under the loop.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Mutex;
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::time::Instant;

use super::standing::Family;
use super::*;
use crate::control::file::Loaded;
use crate::control::{Control, Options};
use crate::drain;
use crate::model::intent::{Admin, PoolName};
use crate::model::live::Live;
use crate::model::problem::Origin;
use crate::model::snapshot::Snapshots;
use crate::ready::Ready;

/// What the server does with a question.
#[derive(Clone, Debug)]
enum Says {
    /// These addresses of the family asked for, or that there are none of it.
    Addresses(Vec<IpAddr>, u32),
    /// This alias, whose addresses these are.
    Alias(&'static str, Vec<IpAddr>, u32),
    Code(ResponseCode),
    Nothing,
}

/// A DNS server on a thread of its own, for as long as the test runs.
#[derive(Clone)]
struct Server {
    port: u16,
    zone: Arc<Mutex<HashMap<String, Says>>>,
    asked: Arc<Mutex<HashMap<String, u32>>>,
}

impl Server {
    fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let server = Self { port, zone: Arc::default(), asked: Arc::default() };
        let own = server.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let question = Message::from_vec(&buffer[..length]).unwrap();
                if let Some(answer) = own.answer(&question) {
                    socket.send_to(&answer.to_vec().unwrap(), from).unwrap();
                }
            }
        });
        server
    }

    fn answer(&self, question: &Message) -> Option<Message> {
        let query = question.queries[0].clone();
        let name = query.name().to_ascii().trim_end_matches('.').to_owned();
        *self.asked.lock().unwrap().entry(name.clone()).or_default() += 1;
        let says = self.zone.lock().unwrap().get(&name).cloned();
        let mut answer = Message::response(question.metadata.id, OpCode::Query);
        answer.metadata.recursion_desired = true;
        answer.metadata.recursion_available = true;
        answer.add_query(query.clone());
        let mut add = |owner: Name, addresses: Vec<IpAddr>, ttl| {
            let of_family = |ip: &IpAddr| ip.is_ipv4() == (query.query_type() == RecordType::A);
            let records = addresses.into_iter().filter(of_family);
            answer.add_answers(records.map(|ip| Record::from_rdata(owner.clone(), ttl, RData::from(ip))));
        };
        match says.unwrap_or(Says::Code(ResponseCode::NXDomain)) {
            Says::Addresses(addresses, ttl) => add(query.name().clone(), addresses, ttl),
            Says::Alias(alias, addresses, ttl) => {
                let alias = Name::from_ascii(alias).unwrap();
                add(alias.clone(), addresses, ttl);
                let cname = RData::CNAME(hickory_resolver::proto::rr::rdata::CNAME(alias));
                answer.answers.insert(0, Record::from_rdata(query.name().clone(), 300, cname));
            }
            Says::Code(code) => answer.metadata.response_code = code,
            Says::Nothing => return None,
        }
        Some(answer)
    }

    fn says(&self, name: &str, says: Says) {
        self.zone.lock().unwrap().insert(name.to_owned(), says);
    }

    fn addresses(&self, name: &str, addresses: &[&str]) {
        self.says(name, Says::Addresses(addresses.iter().map(|ip| ip.parse().unwrap()).collect(), 0));
    }

    fn asked(&self, name: &str) -> u32 {
        self.asked.lock().unwrap().get(name).copied().unwrap_or_default()
    }

    fn resolver(&self, search: &[&str]) -> Resolver {
        let mut connection = ConnectionConfig::udp();
        connection.port = self.port;
        let mut server = NameServerConfig::udp(IpAddr::V4(Ipv4Addr::LOCALHOST));
        server.connections = vec![connection];
        let search = search.iter().map(|name| Name::from_ascii(name).unwrap()).collect();
        let mut options = ResolverOpts::default();
        (options.timeout, options.attempts) = (Duration::from_millis(300), 1);
        Resolver::given(ResolverConfig::from_parts(None, search, vec![server]), options)
    }
}

fn texts(family: &Family) -> Vec<String> {
    match family {
        Family::Found(addresses, _) => addresses.iter().map(ToString::to_string).collect(),
        Family::Nothing(why) => vec![(*why).to_owned()],
        Family::Failed(why) => vec![why.clone()],
    }
}

async fn asked(resolver: &Resolver, host: &str) -> (Vec<String>, Vec<String>) {
    let answer = tokio::time::timeout(Duration::from_secs(20), resolver.look_up(host)).await.unwrap();
    (texts(&answer.v4), texts(&answer.v6))
}

#[tokio::test]
async fn both_families_are_found_through_search_lists_and_aliases() {
    let server = Server::start();
    server.addresses("nas.lan", &["10.0.0.1", "10.0.0.2", "fd00::1"]);
    let alias = Says::Alias("real.lan.", vec!["10.0.0.3".parse().unwrap()], 7);
    server.says("alias.lan", alias);
    let resolver = server.resolver(&["lan."]);
    assert_eq!(asked(&resolver, "nas").await, (vec!["10.0.0.1".into(), "10.0.0.2".into()], vec!["fd00::1".into()]));
    assert_eq!(asked(&resolver, "nas.lan").await.0.len(), 2);
    let answer = resolver.look_up("alias.lan").await;
    let Family::Found(_, ttl) = answer.v4 else { panic!("{answer:?}") };
    assert_eq!((texts(&answer.v4), ttl.as_secs()), (vec!["10.0.0.3".into()], 7), "the shortest on the way");
    assert_eq!(asked(&resolver, "192.0.2.1").await.0, ["192.0.2.1"]);
    assert_eq!(server.asked("192.0.2.1"), 0, "nobody is asked for an address");
}

#[tokio::test]
async fn every_way_to_fail_has_its_own_words() {
    let server = Server::start();
    server.says("broken.lan", Says::Code(ResponseCode::ServFail));
    server.says("refused.lan", Says::Code(ResponseCode::Refused));
    server.says("silent.lan", Says::Nothing);
    server.addresses("empty.lan", &[]);
    let resolver = server.resolver(&[]);
    for (host, words) in [
        ("gone.lan", "does not exist (NXDOMAIN)"),
        ("empty.lan", "has no address"),
        ("silent.lan", "was not answered in time"),
        ("broken.lan", "was answered Server Failure"),
        ("refused.lan", "was answered Query Refused"),
        ("not..a name", "is no name that DNS could know"),
    ] {
        assert_eq!(asked(&resolver, host).await.0, [words], "{host}");
    }
}

#[tokio::test]
async fn the_machine_knows_itself_whatever_its_files_say() {
    let resolver = Resolver::of_system();
    for _ in 0..2 {
        assert!(asked(&resolver, "localhost").await.0.contains(&"127.0.0.1".to_owned()));
    }
}

/// A loop whose file asks for these pools by name, and its clock.
struct Running {
    snapshots: Arc<Snapshots>,
    live: Arc<Live>,
    ready: Ready,
    events: mpsc::Sender<Event>,
    tasks: JoinSet<()>,
    _trigger: drain::Trigger,
}

fn loaded(pools: &[(&str, &[&str])]) -> Loaded {
    let mut intent = Intent::default();
    for (name, hosts) in pools {
        let mut pool = Pool::new(Origin::new("file", format!("pool {name}")));
        let named = |host: &&str| NamedBackend {
            host: (*host).into(),
            port: 80,
            weight: 3,
            admin: Admin::Ready,
            backup: false,
        };
        pool.names = hosts.iter().map(named).collect();
        intent.pools.insert(PoolName::new(*name), Arc::new(pool));
    }
    Loaded { fragment: intent, ..Loaded::default() }
}

impl Running {
    fn start(server: &Server, pools: &[(&str, &[&str])]) -> Self {
        let (trigger, drain) = drain::channel();
        let (snapshots, live, ready) = (Arc::new(Snapshots::default()), Arc::new(Live::new(1)), Ready::default());
        let options = Options { start: loaded(pools), path: None, reload: Arc::default() };
        let mut control = Control::new(options, snapshots.clone(), live.clone(), &ready);
        control.names = Names { resolver: server.resolver(&[]), followed: BTreeMap::new() };
        let events = control.sender.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(control.serve(drain));
        Self { snapshots, live, ready, events, tasks, _trigger: trigger }
    }

    async fn edit(&self, pools: &[(&str, &[&str])]) {
        let change = crate::control::file::watch::Change::Good(Box::new(loaded(pools)));
        assert!(self.events.send(Event::File(change)).await.is_ok());
    }

    fn addresses(&self, pool: &str) -> Vec<String> {
        let current = self.snapshots.current();
        let Some(plan) = current.pools.get(&PoolName::new(pool)) else { return vec!["no pool".into()] };
        plan.intent.backends.iter().map(|b| format!("{}={}*{}", b.instance, b.address, b.weight)).collect()
    }

    fn problems(&self) -> Vec<String> {
        self.live.control.problems().borrow().iter().map(ToString::to_string).collect()
    }

    fn generation(&self) -> u64 {
        self.snapshots.current().generation
    }
}

async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_first_publication_has_the_addresses_and_changes_follow() {
    let server = Server::start();
    server.addresses("nas.lan", &["10.0.0.2", "10.0.0.1", "fd00::1", "0.0.0.0"]);
    let mut running = Running::start(&server, &[("p", &["nas.lan", "nas.lan"])]);
    eventually("published", || running.generation() == 1).await;
    let first = ["nas.lan=10.0.0.1:80*3", "nas.lan=10.0.0.2:80*3", "nas.lan=[fd00::1]:80*3"];
    assert_eq!(running.addresses("p"), first, "all of them, sorted, each once");
    assert_eq!(running.problems(), Vec::<String>::new());
    eventually("ready", || running.ready.waiting_for().is_empty()).await;

    let asked = server.asked("nas.lan");
    eventually("asked again", || server.asked("nas.lan") >= asked + 4).await;
    assert_eq!(running.generation(), 1, "the same answer publishes nothing");

    server.addresses("nas.lan", &["10.0.0.3"]);
    eventually("the change", || running.addresses("p") == ["nas.lan=10.0.0.3:80*3"]).await;

    for (says, words) in [
        (Says::Code(ResponseCode::ServFail), "was answered Server Failure"),
        (Says::Code(ResponseCode::NXDomain), "does not exist (NXDOMAIN)"),
    ] {
        server.says("nas.lan", says);
        let told = format!("file: pool p: backend nas.lan: {words}, so its last addresses stay in use");
        eventually(words, || running.problems().iter().any(|p| p.starts_with(&told))).await;
        assert_eq!(running.addresses("p"), ["nas.lan=10.0.0.3:80*3"]);
    }
    assert_eq!(running.generation(), 2, "trouble alone publishes nothing");
    server.addresses("nas.lan", &["10.0.0.4"]);
    eventually("recovered", || running.addresses("p") == ["nas.lan=10.0.0.4:80*3"] && running.problems().is_empty())
        .await;
    assert!(running.tasks.try_join_next().is_none(), "the loop goes on");
}

#[tokio::test]
async fn a_name_that_nobody_answers_holds_up_nothing_for_long() {
    let server = Server::start();
    server.says("silent.lan", Says::Nothing);
    server.addresses("nas.lan", &["10.0.0.1"]);
    let start = Instant::now();
    let running = Running::start(&server, &[("dead", &["silent.lan"]), ("p", &["nas.lan"])]);
    eventually("published", || running.generation() >= 1).await;
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert_eq!(running.addresses("p"), ["nas.lan=10.0.0.1:80*3"]);
    assert_eq!(running.addresses("dead"), Vec::<String>::new());
    eventually("told", || !running.problems().is_empty()).await;
    let told = "file: pool dead: backend silent.lan: was not answered in time, so it serves nothing; correct the name, or \
                what answers for it";
    assert_eq!(running.problems(), [told]);
    server.addresses("silent.lan", &["10.0.0.9"]);
    eventually("answered at last", || running.addresses("dead") == ["silent.lan=10.0.0.9:80*3"]).await;
    eventually("forgiven", || running.problems().is_empty()).await;
}

#[tokio::test]
async fn a_pool_that_asks_for_another_name_serves_on_until_it_is_answered() {
    let server = Server::start();
    server.addresses("old.lan", &["10.0.0.1"]);
    server.says("new.lan", Says::Nothing);
    let running = Running::start(&server, &[("p", &["old.lan"]), ("q", &["old.lan"])]);
    eventually("published", || running.addresses("p") == ["old.lan=10.0.0.1:80*3"]).await;
    running.edit(&[("p", &["new.lan"])]).await;
    eventually("edited", || running.addresses("q") == ["no pool"]).await;
    assert_eq!(running.addresses("p"), ["old.lan=10.0.0.1:80*3"], "as it was");
    server.addresses("new.lan", &["10.0.0.2"]);
    eventually("answered", || running.addresses("p") == ["new.lan=10.0.0.2:80*3"]).await;
    // The old name is asked no more: what was under way ended with its task.
    let asked = server.asked("old.lan");
    let new = server.asked("new.lan");
    eventually("asked for the new one", || server.asked("new.lan") >= new + 4).await;
    assert_eq!(server.asked("old.lan"), asked);
}

#[tokio::test]
async fn hundreds_of_names_take_turns() {
    let server = Server::start();
    let hosts: Vec<String> = (0..300).map(|n| format!("host-{n}.lan")).collect();
    hosts.iter().for_each(|host| server.addresses(host, &["10.0.0.1"]));
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let running = Running::start(&server, &[("p", &hosts)]);
    eventually("all answered", || running.addresses("p").len() == 300).await;
    assert_eq!(running.problems(), Vec::<String>::new());
}

/// Names may be poisoned, or lead to the router's own address.
#[tokio::test]
async fn a_name_does_not_lead_a_listener_to_itself() {
    let server = Server::start();
    server.addresses("home.lan", &["10.0.0.1", "127.0.0.1", "192.0.2.10"]);
    let running = Running::start(&server, &[]);
    let mut file = loaded(&[("p", &["home.lan"]), ("q", &["home.lan"])]);
    let text = "listeners:\n  all: {bind: 0.0.0.0:80, protocol: tcp, pool: p}\n  one: {bind: 192.0.2.10:81, protocol: tcp, \
                pool: q}\npools: {p: {backends: []}, q: {backends: []}}\n";
    file.fragment.listeners = crate::control::file::parse(text).unwrap().fragment.listeners;
    let change = crate::control::file::watch::Change::Good(Box::new(file));
    assert!(running.events.send(Event::File(change)).await.is_ok());
    let all = ["home.lan=10.0.0.1:80*3", "home.lan=127.0.0.1:80*3", "home.lan=192.0.2.10:80*3"];
    eventually("published", || running.addresses("q") == all).await;
    assert_eq!(running.addresses("p"), [all[0], all[2]], "on all addresses is on those of loopback");
    let told = "file: pool p: backend home.lan: its address 127.0.0.1:80 is where listener all listens, which leads here, so \
                it is left out; correct the name, or what answers for it";
    eventually("told", || running.problems() == [told]).await;
}
