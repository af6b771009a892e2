//! Every key, and every mistake with its place and remedy.

use std::time::Duration;

use super::*;
use crate::control::kube::objects::ObjectName;
use crate::control::kube::spec::{Access, LeaseSpec, Publish, Reach};
use crate::model::intent::{Balance, ListenerKey, WhenDown};

mod acme;
mod ask;
mod client;
mod filters;
mod http;
mod l4;
mod speech;
mod tls;

/// Certificates are made, not read: any path that ends in `.crt` or `.key` is there.
fn made(path: &Path) -> io::Result<Vec<u8>> {
    static PAIR: std::sync::LazyLock<(String, String)> = std::sync::LazyLock::new(|| {
        let made = rcgen::generate_simple_self_signed(["shop.example.test".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    });
    match path.extension().and_then(|e| e.to_str()) {
        Some("crt") => Ok(PAIR.0.clone().into_bytes()),
        Some("key") => Ok(PAIR.1.clone().into_bytes()),
        Some("ca") => Ok(tls::authority().0.clone().into_bytes()),
        Some("crl") => Ok(tls::authority().1.clone()),
        Some("ocsp") => Ok(b"no response".to_vec()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn reading(text: &str) -> Reading {
    let base = Base { folder: Path::new("/etc/sluice"), home: Some(Path::new("/home/me")), read: &made };
    read(text, &"f.yaml".into(), &base)
}

fn loaded(text: &str) -> Loaded {
    reading(text).result.unwrap_or_else(|errors| panic!("{errors:#?}"))
}

fn errors(text: &str) -> Vec<String> {
    reading(text).result.unwrap_err().iter().map(ToString::to_string).collect()
}

const WHOLE: &str = r#"
process:
  admin: unix:/run/sluice.sock
  workers: 4
  drain: 1m30s
  memory_limit: none
  state_dir: none
clusters:
  home:
    kubeconfig: ~/.kube/config
    namespaces: [default, media]
    lease: net/front
    reach: pod
    services: {class: my/lb, take_unclassed: true, addresses: [192.0.2.10, "2001:db8::1"], publish: 203.0.113.5}
    ingress: {class: nginx, http: 127.0.0.1:8080, https: [127.0.0.1:8443, "[::1]:8443"], publish: edge.example.test}
  lab:
    manifests: lab
    services: {addresses: host}
listeners:
  web:
    bind: [127.0.0.1:8080, "[::1]:8080"]
    protocol: http
    deny: [10.0.0.0/8, 192.0.2.66]
    routes:
      - {host: shop.example.test, path: /cart, pool: cart}
      - {host: "*.example.test", exact: /x, pool: site}
      - regex: ^/v[0-9]+/
        pool: site
    pool: site
  ssh: {bind: 127.0.0.1:2222, protocol: tcp, pool: ssh, accept_proxy_protocol: []}
  secure: {bind: 127.0.0.1:8443, protocol: https, certificates: [{cert: tls.crt, key: /keys/tls.key}], routes: [{pool: site}]}
pools:
  site:
    balance: least-connections
    probe: {http: /healthz, host: a.test, port: 81, every: 5s, timeout: 300ms, fall: 3, rise: 2}
    backends:
      - 127.0.0.1:9001
      - {address: 127.0.0.1:9002, weight: 2, instance: b, state: drain}
      - {address: "[::1]:9003", backup: true}
    retries: 0
    timeouts: {connect: 200ms, response: 5s, idle: 1d}
    when_down: refuse
    max_connections: 0
    slow_start: 0s
    send_proxy_protocol: none
  cart: {backends: [127.0.0.1:9004], probe: none}
  ssh: {backends: [127.0.0.1:9005], probe: {tcp: , every: 2s}}
"#;

#[test]
fn every_key_arrives_where_it_belongs() {
    let all = loaded(WHOLE);
    assert_eq!(all.process.admin, Admin::Unix("/run/sluice.sock".into()));
    assert_eq!((all.process.workers, all.process.drain), (Some(4), Duration::from_secs(90)));

    let [home, lab] = &all.clusters[..] else { panic!() };
    assert_eq!(home.access, Access::Kubeconfig("/home/me/.kube/config".into()));
    assert_eq!((home.namespaces.len(), home.reach), (2, Reach::Pod));
    assert_eq!(home.lease, LeaseSpec::Named(ObjectName::new("net", "front")));
    assert_eq!(lab.lease, LeaseSpec::Usual);
    assert_eq!((home.services.class.as_str(), home.services.take_unclassed), ("my/lb", true));
    assert_eq!(home.services.addresses.len(), 2);
    assert_eq!(home.services.publish, Publish::Address("203.0.113.5".parse().unwrap()));
    assert_eq!((home.ingress.http.len(), home.ingress.https.len()), (1, 2));
    assert_eq!(home.ingress.publish, Publish::Name("edge.example.test".to_owned()));
    assert_eq!(lab.access, Access::Manifests("/etc/sluice/lab".into()));
    assert!(lab.services.addresses.is_empty() && lab.namespaces.is_empty());
    assert_eq!(lab.ingress.http, ["0.0.0.0:80".parse().unwrap()]);

    let shown = all.fragment.to_string();
    for line in [
        "listener web http tcp://127.0.0.1:8080  # file: listener web",
        "listener web http tcp://[::1]:8080",
        "  deny 10.0.0.0/8 192.0.2.66/32",
        "  shop.example.test /cart -> pool cart  # file: listener web route 1",
        "  *.example.test = /x -> pool site  # file: listener web route 2",
        "  * ~ ^/v[0-9]+/ -> pool site",
        "  * / -> pool site  # file: listener web pool",
        "listener ssh tcp tcp://127.0.0.1:2222",
        "  certificate secure/1",
        "pool site least-connections probe http /healthz host a.test port 81 every 5s timeout 300ms fall 3 rise 2 when_down refuse",
        "  connect 200ms response 5s idle 86400s retries 0",
        "  backend 127.0.0.1:9002 weight 2 drain instance b",
        "  backend [::1]:9003 weight 1 backup",
        "pool cart round-robin probe none",
        "pool ssh round-robin probe tcp every 2s timeout 1s fall 2 rise 1",
        "  names shop.example.test",
    ] {
        assert!(shown.contains(line), "{line:?} is missing in\n{shown}");
    }
    assert_eq!(all.places[&Origin::new("file", "pool cart")].line, 46);
    assert_eq!(reading(WHOLE).files, [Path::new("/etc/sluice/tls.crt"), Path::new("/keys/tls.key")]);
}

#[test]
fn what_is_not_written_has_its_default() {
    let few =
        loaded("listeners: {a: {bind: 127.0.0.1:0, protocol: tcp, pool: p}}\npools: {p: {backends: [127.0.0.1:1]}}\n");
    assert_eq!(few.process, Process::default());
    assert_eq!(few.clusters, []);
    let pool = &few.fragment.pools[&PoolName::new("p")];
    assert_eq!((&pool.balance, pool.when_down, pool.retries), (&Balance::RoundRobin, WhenDown::Try, 2));
    assert_eq!(pool.probe, Some(crate::model::intent::Probe::default()));
    let home = &loaded("clusters: {home: {in_cluster: true}}").clusters[0];
    assert_eq!(home.access, Access::InCluster);
    assert_eq!(home.services.class, "sluice.dev/edge");
    assert_eq!(home.ingress.class, "sluice");
    assert_eq!(home.services.publish, Publish::Same);
}

#[test]
fn listeners_of_one_address_share_it() {
    let both = loaded(
        "listeners:\n  a: {bind: 127.0.0.1:80, protocol: http, routes: [{host: a.test, pool: p}]}\n  \
         b: {bind: 127.0.0.1:80, protocol: http, routes: [{host: b.test, pool: p}]}\npools: {p: {backends: [127.0.0.1:1]}}\n",
    );
    let key = ListenerKey::tcp("127.0.0.1:80".parse().unwrap());
    assert_eq!(both.fragment.listeners[&key].routes.len(), 2);
    assert_eq!(both.fragment.listeners.len(), 1);
}

/// Each line of wrong YAML and the beginning and the end of what is said of it.
#[test]
fn mistakes_have_place_key_and_remedy() {
    let pool = "pools: {p: {backends: [127.0.0.1:1]}}";
    let listener = |rest: &str| format!("{pool}\nlisteners:\n  a: {{bind: 127.0.0.1:80, {rest}}}\n");
    let with_pool = |rest: &str| format!("pools:\n  p: {{backends: [127.0.0.1:1], {rest}}}\n");
    let cluster = |rest: &str| format!("clusters:\n  home: {{manifests: m, {rest}}}\n");
    let process = |rest: &str| format!("process: {{{rest}}}\n");
    let table = [
        (String::new(), "f.yaml:", "the file is empty"),
        ("# nothing\n".to_owned(), "f.yaml:", "the file is empty"),
        ("[1]".to_owned(), "f.yaml:1:1", "is a list; write keys: process, clusters, listeners, pools"),
        ("pool: {}\n".to_owned(), "f.yaml:1:1", "did you mean \"pools\"?"),
        ("zzz: {}\n".to_owned(), "f.yaml:1:1", "known here: process, clusters, listeners, pools"),
        ("log: {access: stdout}\n".to_owned(), "f.yaml:1:1", "log: is not served by this version"),
        ("listeners:\n".to_owned(), "f.yaml:1:1", "listeners: is empty; remove the key, or write {} to have none"),
        ("pools: ~\nlisteners: {}\n".to_owned(), "f.yaml:1:1", "pools: is empty; remove the key"),
        ("pools: {}\npools: {}\n".to_owned(), "f.yaml:2:1", "pools: is written twice, first in line 1"),
        ("pools: {P: {}}\n".to_owned(), "f.yaml:1:9", "pool name \"P\": write 1 to 63 of a-z"),
        ("pools: [a]\n".to_owned(), "f.yaml:1:8", "pools: is a list; write one key for each pool"),
        (process("admin: 9650"), "f.yaml:1:18", "process.admin: is 9650; write an address and port"),
        (process("admin: 0.0.0.0:9650"), "f.yaml:1:18", "can be reached from other hosts"),
        (process("admin: unix:x"), "f.yaml:1:18", "names no absolute path"),
        (process("workers: 0"), "f.yaml:1:20", "process.workers: is 0; write a whole number from 1 to 256"),
        (process("workers: many"), "f.yaml:1:20", "is \"many\"; write a whole number from 1 to 256"),
        (process("drain: 30"), "f.yaml:1:18", "process.drain: is 30; write a time with its unit, from 0s to 1d"),
        (
            process("memory_limit: 1GB!"),
            "f.yaml:1:25",
            "is \"1GB!\"; write bytes with their unit, from 32MiB to 1024GiB",
        ),
        (process("memory_limit: 5MiB"), "f.yaml:1:25", "process.memory_limit: is \"5MiB\"; write bytes"),
        ("clusters: {file: {in_cluster: true}}".to_owned(), "f.yaml:1:12", "choose another name"),
        ("clusters: {home: {}}".to_owned(), "f.yaml:1:12", "clusters.home: does not say where its objects are"),
        (cluster("in_cluster: true"), "f.yaml:2:3", "says more than once where its objects are"),
        ("clusters: {home: {in_cluster: false}}".to_owned(), "f.yaml:1:31", "is false; write true"),
        (cluster("namespaces: []"), "f.yaml:2:36", "is empty, so nothing would be served"),
        (cluster("namespaces: [all, a]"), "f.yaml:2:37", "all stands alone"),
        (
            cluster("lease: sluice"),
            "f.yaml:2:31",
            "is no place of a Lease; write auto, none, or a namespace and a name",
        ),
        (cluster("lease: kube-system/Up"), "f.yaml:2:31", "is no place of a Lease"),
        (cluster("namespaces: A_b"), "f.yaml:2:36", "is not the name of a namespace"),
        (cluster("reach: pods"), "f.yaml:2:31", "clusters.home.reach: is \"pods\"; write auto, pod or nodeport"),
        (cluster("last_good: {keep_keys: some}"), "f.yaml:2:47", "write true or false"),
        (cluster("services: {addresses: [host, 192.0.2.1]}"), "f.yaml:2:47", "host stands alone"),
        (cluster("services: {addresses: [0.0.0.0]}"), "f.yaml:2:47", "write addresses: host"),
        (cluster("services: {addresses: [192.0.2.1, 192.0.2.1]}"), "f.yaml:2:58", "written twice"),
        (cluster("services: {addresses: [a]}"), "f.yaml:2:47", "write an IP address like 192.0.2.10"),
        (cluster("services: {take_unclassed: yes please}"), "f.yaml:2:51", "write true or false"),
        (cluster("services: {publish: a b}"), "f.yaml:2:44", "write same, an IP address, or a name"),
        (cluster("ingress: {http: 80}"), "f.yaml:2:40", "has no address; write 0.0.0.0:80"),
        (cluster("ingress: {http: 1.2.3.4:5, https: 1.2.3.4:5}"), "f.yaml:2:58", "is also under http"),
        (cluster("ingress: {class: \"\"}"), "f.yaml:2:41", "is not the name of a class"),
        (format!("{pool}\nlisteners: {{a: {{protocol: tcp, pool: p}}}}"), "f.yaml:2:13", "listeners.a: has no bind"),
        (listener("pool: p"), "f.yaml:3:3", "listeners.a: has no protocol; add protocol: tcp, udp, http,"),
        (
            listener("protocol: htp, pool: p"),
            "f.yaml:3:37",
            "is \"htp\"; write tcp, udp, http, https or tls-passthrough",
        ),
        // One mistake is one line: the other keys say what was meant.
        (
            listener("protocol: htps, pool: p, tls: {min_version: 1.3}, certificates: [{cert: a.crt, key: a.key}]"),
            "f.yaml:3:37",
            "is \"htps\"",
        ),
        (listener("pool: p, certificates: [{cert: a.crt, key: a.key}]"), "f.yaml:3:3", "listeners.a: has no protocol"),
        (listener("protocol: upd, pool: p, idle: 5s"), "f.yaml:3:37", "is \"upd\""),
        (listener("protocol: http"), "f.yaml:3:3", "leads nowhere; add pool: NAME or routes:"),
        (listener("protocol: tcp, routes: [{pool: p}]"), "f.yaml:3:50", "a tcp listener has nothing to route by"),
        (listener("protocol: http, pool: q"), "f.yaml:3:49", "there is no pool \"q\"; did you mean \"p\"?"),
        (listener("protocol: http, pool: site"), "f.yaml:3:49", "there is no pool \"site\"; there are: p"),
        (listener("protocol: http, routes: {}"), "f.yaml:3:51", "write a list like"),
        (listener("protocol: http, routes: [{}]"), "f.yaml:3:52", "routes[1]: leads nowhere; add pool: NAME"),
        (
            listener("protocol: http, routes: [{pool: p, path: x}]"),
            "f.yaml:3:68",
            "is not a path; write one like /cart",
        ),
        (
            listener("protocol: http, routes: [{pool: p, path: /a, exact: /b}]"),
            "f.yaml:3:52",
            "has both path: and exact:",
        ),
        (
            listener("protocol: http, routes: [{pool: p, regex: \"(\"}]"),
            "f.yaml:3:69",
            "is not valid: regex parse error",
        ),
        (listener("protocol: http, routes: [{pool: p, host: a..b}]"), "f.yaml:3:68", "has a label that is empty"),
        (listener("protocol: http, routes: [{pool: p, hots: a}]"), "f.yaml:3:62", "did you mean \"host\"?"),
        (
            listener("protocol: http, pool: p, certificates: [{cert: a.crt, key: a.key}]"),
            "f.yaml:3:66",
            "is for https; this listener is http",
        ),
        (listener("protocol: https, pool: p"), "f.yaml:3:3", "is https but has no certificate"),
        (
            listener("protocol: https, pool: p, certificates: []"),
            "f.yaml:3:67",
            "is empty, so no handshake can succeed",
        ),
        (listener("protocol: https, pool: p, certificates: [{cert: a.crt}]"), "f.yaml:3:68", "has no key; add key:"),
        (
            listener("protocol: https, pool: p, certificates: [{cert: gone, key: a.key}]"),
            "f.yaml:3:75",
            "/etc/sluice/gone cannot be read",
        ),
        (
            listener("protocol: https, pool: p, certificates: [{cert: a.key, key: a.key}]"),
            "f.yaml:3:68",
            "there is no certificate in it",
        ),
        (listener("protocol: tcp, pool: p, allow: [10.0.0.0/33]"), "f.yaml:3:59", "is not a source range"),
        (listener("protocol: tcp, pool: p, allow: 10.0.0.0/8"), "f.yaml:3:58", "write a list of ranges"),
        ("pools: {p: {}}".to_owned(), "f.yaml:1:12", "pools.p: has no backends"),
        ("pools: {p: {backends: 127.0.0.1:1}}".to_owned(), "f.yaml:1:23", "write a list like"),
        ("pools: {p: {backends: [127.0.0.1:0]}}".to_owned(), "f.yaml:1:24", "cannot be dialled"),
        ("pools: {p: {backends: [{weight: 1}]}}".to_owned(), "f.yaml:1:24", "has no address"),
        ("pools: {p: {backends: [127.0.0.1:1, {address: 127.0.0.1:1}]}}".to_owned(), "f.yaml:1:37", "is listed twice"),
        ("pools: {p: {backends: [{address: 127.0.0.1:1, weight: 300}]}}".to_owned(), "f.yaml:1:55", "from 0 to 256"),
        (
            "pools: {p: {backends: [{address: 127.0.0.1:1, state: down}]}}".to_owned(),
            "f.yaml:1:54",
            "write ready, drain or maintain",
        ),
        (with_pool("balance: rr"), "f.yaml:2:41", "is \"rr\"; write round-robin, least-connections, random-two, first"),
        (with_pool("retries: 11"), "f.yaml:2:41", "pools.p.retries: is 11; write a whole number from 0 to 10"),
        (with_pool("timeouts: {connect: 1}"), "f.yaml:2:52", "write a time with its unit"),
        (with_pool("probe: maybe"), "f.yaml:2:39", "write tcp, grpc or none"),
        (with_pool("probe: {every: 10ms}"), "f.yaml:2:47", "from 100ms to 1h"),
        (with_pool("probe: {http: x}"), "f.yaml:2:46", "is not a path; write one like /healthz"),
        (with_pool("probe: {http: /, host: \"a b\"}"), "f.yaml:2:55", "is not a host"),
        (with_pool("probe: {port: 1}"), "f.yaml:2:46", "belongs to an http, https or grpc probe"),
        (with_pool("probe: {http: /, tcp: true}"), "f.yaml:2:39", "has both http: and tcp:; keep one"),
        (with_pool("probe: {fall: 0}"), "f.yaml:2:46", "from 1 to 1000"),
        (with_pool("when_down: stay"), "f.yaml:2:43", "write try or refuse"),
    ];
    let mut unmet = String::new();
    for (text, place, remedy) in &table {
        let said = errors(text);
        if said.len() != 1 || !said[0].starts_with(place) || !said[0].contains(remedy) {
            unmet += &format!("{text}\n  said {said:?}\n  not {place} … {remedy}\n");
        }
    }
    assert!(unmet.is_empty(), "{unmet}");
}

#[test]
fn clashes_within_the_file_have_their_line() {
    let pools = "pools: {p: {backends: [127.0.0.1:1]}, q: {backends: [127.0.0.1:2]}}\nlisteners:\n";
    let said = errors(&format!(
        "{pools}  a: {{bind: 127.0.0.1:80, protocol: http, pool: p}}\n  b: {{bind: 127.0.0.1:80, protocol: tcp, pool: p}}\n"
    ));
    assert_eq!(
        said,
        ["f.yaml:4:3: listener b: asks for 127.0.0.1:80 as tcp, but file: listener a has it as http; \
          choose another address or the same protocol"]
    );
    let said = errors(&format!(
        "{pools}  a:\n    bind: 127.0.0.1:80\n    protocol: http\n    routes:\n      - {{host: a.test, pool: p}}\n      \
         - {{host: a.test, pool: q}}\n"
    ));
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("f.yaml:8:9: listener a route 2: a.test / on a is already given to"), "{said:?}");
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let said = errors(
        "proces: {}\nlisteners:\n  web: {bind: :8080, protocol: httq, pool: nope}\npools:\n  p: {backends: [x], retries: -1}\n",
    );
    let places: Vec<_> = said.iter().map(|e| e.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["f.yaml:1:1", "f.yaml:3:15", "f.yaml:3:32", "f.yaml:3:44", "f.yaml:5:18", "f.yaml:5:31"]);
}

proptest::proptest! {
    /// A good file with a piece cut out and another put in: whatever comes of it, no panic, and errors that say something.
    #[test]
    fn damaged_files_never_panic(l4: bool, at in 0usize..2000, len in 0usize..40, piece in "[ -~\n\u{e9}]{0,12}") {
        let chars: Vec<char> = if l4 { l4::EVERYTHING } else { WHOLE }.chars().collect();
        let at = at.min(chars.len());
        let end = (at + len).min(chars.len());
        let text: String = chars[..at].iter().copied().chain(piece.chars()).chain(chars[end..].iter().copied()).collect();
        if let Err(errors) = reading(&text).result {
            proptest::prop_assert!(!errors.is_empty());
            proptest::prop_assert!(errors.iter().all(|e| !e.message.is_empty()));
        }
    }
}

#[test]
fn a_probe_of_times_alone_is_tcp_and_paths_are_plain() {
    let probe = |probe: &str| {
        let loaded = loaded(&format!("pools: {{p: {{backends: [192.0.2.1:1], probe: {probe}}}}}"));
        loaded.fragment.pools[&PoolName::new("p")].probe.clone().unwrap()
    };
    assert_eq!(probe("{every: 5s}"), probe("{tcp: , every: 5s}"));
    assert_eq!(probe("{every: 5s}").every, Duration::from_secs(5));
    let paths = [("./k", "k"), ("././a/./k", "a/k"), ("../k", "../k"), (".", "."), ("/a/k", "/a/k")];
    for (written, meant) in paths {
        assert_eq!(plain(&Path::new(".").join(written)), Path::new(meant));
    }
}

#[test]
fn addresses_that_take_each_other_are_told_with_their_line() {
    let file = |admin: &str, binds: [&str; 2]| {
        let [a, b] = binds;
        format!(
            "process: {{admin: \"{admin}\"}}\nlisteners:\n  b: {{bind: \"{b}\", protocol: tcp, pool: p}}\n  \
             a: {{bind: \"{a}\", protocol: tcp, pool: p}}\npools: {{p: {{backends: [192.0.2.1:1]}}}}\n"
        )
    };
    let told = errors(&file("127.0.0.1:9650", ["127.0.0.1:80", "0.0.0.0:80"]));
    let both = "listener a: 127.0.0.1:80 overlaps with 0.0.0.0:80, which file: listener b has";
    assert_eq!(told, [format!("f.yaml:4:3: {both}; choose another port, or give each an address of its own")]);
    assert!(errors(&file("127.0.0.1:9650", ["[::]:80", "[::1]:80"]))[0].starts_with("f.yaml:4:3: listener a: "));
    for (admin, bind) in [("127.0.0.1:9650", "0.0.0.0:9650"), ("[::1]:9650", "[::1]:9650")] {
        let told = errors(&file(admin, ["192.0.2.9:80", bind]));
        let wrong = format!("listener b: {bind} takes the address of process.admin, {admin}");
        assert_eq!(told, [format!("f.yaml:3:3: {wrong}; choose another port for one of them")]);
    }
    for binds in [["127.0.0.1:0", "0.0.0.0:0"], ["0.0.0.0:80", "[::]:80"], ["0.0.0.0:80", "127.0.0.1:81"]] {
        loaded(&file("127.0.0.1:9650", binds));
    }
    loaded(&file("unix:/run/s.sock", ["0.0.0.0:9650", "[::]:9650"]));
}
