//! The pages for people say what the program does: every annotation, every family of metrics, every key of the API,
//! every link and path.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it stands")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use sluice::control::file::schema::usual_cluster;
use sluice::control::kube::spec::{Access, ClusterSpec};
use sluice::control::kube::status::notice;
use sluice::control::once::{Once, once};
use sluice::model::compile::compile;
use sluice::model::host::HostPattern;
use sluice::model::intent::{
    Action, Backend, Cert, CertName, Filters, Intent, Limits, Listener, ListenerKey, PathMatch, Pool, PoolName,
    Protocol, Route, SameSite, SourceRules, Speech, Sticky, StickyCookie,
};
use sluice::model::live::Live;
use sluice::model::live::pool::Mirrored;
use sluice::model::problem::{Cause, Origin, Problem};
use sluice::model::secret::Secret;
use sluice::model::snapshot::{Snapshot, Snapshots};
use sluice::observe::api::Page;
use sluice::observe::{Pages, metrics};
use sluice::ready::Ready;

fn in_repo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text_of(name: &str) -> String {
    fs::read_to_string(in_repo(name)).unwrap()
}

/// The rows of all tables whose first cell is a word in backticks: their cells, with that word bare.
fn rows(text: &str) -> Vec<Vec<&str>> {
    text.lines()
        .filter_map(|line| line.strip_prefix("| `")?.strip_suffix('|'))
        .map(|line| {
            let mut cells: Vec<&str> = line.split('|').map(str::trim).collect();
            cells[0] = cells[0].trim_end_matches('`');
            cells
        })
        .collect()
}

/// The list of known annotations as it stands in the source: name, where it is served, whether it guards.
fn known_annotations() -> BTreeMap<String, (String, bool)> {
    let source = text_of("src/control/kube/translate/annotations.rs");
    let list = source.split_once("const KNOWN").unwrap().1.split_once("\n];").unwrap().0;
    let entry = |line: &str| {
        let mut parts = line.trim().strip_prefix("(\"")?.strip_suffix("),")?.split(", ");
        let name = parts.next()?.trim_end_matches('"').to_owned();
        Some((name, (parts.next()?.strip_prefix("Served::")?.to_owned(), parts.next()? == "true")))
    };
    let known: BTreeMap<_, _> = list.lines().filter_map(entry).collect();
    assert_eq!(known.len(), list.matches("Served::").count(), "an entry could not be read");
    known
}

#[test]
fn every_annotation_is_on_its_page() {
    let known = known_annotations();
    let page = text_of("docs/annotations.md");
    let mut told = BTreeMap::new();
    for row in rows(&page) {
        let (served, guards) = match row[..] {
            [_, fate] => ("NotYet", fate == "refused"),
            [_, on, ..] => {
                let served = match on {
                    "Service, Ingress" => "Both",
                    "Service" => "Services",
                    "Ingress" => "Ingresses",
                    other => panic!("{other}: write Service, Ingress, or both"),
                };
                // Whether it guards shows where it is not served; the page says so in words.
                (served, known.get(row[0]).is_some_and(|(_, guards)| *guards))
            }
            _ => panic!("{row:?}"),
        };
        assert_eq!(told.insert(row[0].to_owned(), (served.to_owned(), guards)), None, "{} stands twice", row[0]);
    }
    assert_eq!(told, known);
}

/// `UPDATE_EXPECT=1` rewrites the table of the page.
#[test]
fn every_annotation_of_ingress_nginx_is_on_its_page() {
    use sluice::control::kube::translate::nginx::table::TABLE;
    let row = |entry: &sluice::control::kube::translate::nginx::table::Entry| {
        format!("| `{}` | {} | {} |\n", entry.name, entry.verdict, entry.why)
    };
    let all: String = TABLE.iter().map(row).collect();
    let page = text_of("docs/ingress-nginx.md");
    let (text, told) = page.split_once("|---|---|---|\n").unwrap();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(in_repo("docs/ingress-nginx.md"), format!("{text}|---|---|---|\n{all}")).unwrap();
    } else {
        assert_eq!(told, all);
    }
}

/// A Service or an Ingress with one annotation, and what comes of it.
fn with_annotation(on: &str, name: &str, value: &str) -> Once {
    let head = |name: &str| format!("metadata: {{namespace: default, name: {name}, annotations: {{");
    // Those that mean nothing by themselves.
    let company = match name {
        "auth-response-headers" | "auth-signin" => "sluice.dev/auth-url: 'http://web/', ",
        "auth-realm" => "sluice.dev/auth-basic: users, ",
        "canary" => "sluice.dev/canary-weight: '10', ",
        "canary-by-header-value" => "sluice.dev/canary: web, sluice.dev/canary-by-header: x-canary, ",
        _ if name.starts_with("canary-") => "sluice.dev/canary: web, ",
        _ => "",
    };
    let annotation = format!("{company}sluice.dev/{name}: '{value}'}}}}");
    let (on_service, on_ingress) = match on {
        "Service" => (annotation.as_str(), "}}"),
        "Ingress" => ("}}", annotation.as_str()),
        other => panic!("{other}"),
    };
    let text = format!(
        "---\n{USERS}\n---\napiVersion: v1\nkind: Service\n{}{on_service}\nspec: {{type: LoadBalancer, loadBalancerClass: sluice.dev/edge, \
         ports: [{{name: http, port: 80, nodePort: 30080}}]}}\n---\napiVersion: networking.k8s.io/v1\nkind: \
         Ingress\n{}{on_ingress}\nspec: {{ingressClassName: sluice, defaultBackend: {{service: {{name: web, port: \
         {{name: http}}}}}}}}\n",
        head("web"),
        head("front"),
    );
    let mut spec: ClusterSpec = usual_cluster("home", Access::Inline(vec![("test".to_owned(), text)]));
    spec.services.addresses = vec!["192.0.2.10".parse().unwrap()];
    spec.ingress.http = vec!["192.0.2.10:8000".parse().unwrap()];
    spec.ingress.https = Vec::new();
    once(&Intent::default(), &[spec]).unwrap()
}

fn told(once: &Once) -> String {
    once.problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// The Secret that the page names.
const USERS: &str = "{apiVersion: v1, kind: Secret, type: sluice.dev/htpasswd, metadata: {name: users}, \
    stringData: {auth: 'bob:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/'}}";

const REFUSED: &str = "(until then the object is not served)";

#[test]
fn every_example_of_an_annotation_is_taken_and_every_wrong_value_refuses() {
    let page = text_of("docs/annotations.md");
    for row in rows(&page) {
        let [name, on, _, example, _] = row[..] else { continue };
        for on in on.split(", ") {
            let good = told(&with_annotation(on, name, example.trim_matches('`')));
            assert!(!good.contains("annotation"), "{name} on {on}: {good}");
            // A prompt may say nearly anything.
            let bad = if name == "auth-realm" { "\"" } else { "?!" };
            let wrong = told(&with_annotation(on, name, bad));
            assert!(wrong.contains("is wrong; ") && wrong.contains(REFUSED), "{name} on {on}: {wrong}");
        }
    }
}

#[test]
fn what_is_not_served_is_told_as_the_page_says() {
    let page = text_of("docs/annotations.md");
    for row in rows(&page) {
        let [name, fate] = row[..] else { continue };
        for on in ["Service", "Ingress"] {
            let said = told(&with_annotation(on, name, "1"));
            assert!(said.contains("is not served by this version"), "{name}: {said}");
            assert_eq!(said.contains(REFUSED), fate == "refused", "{name}: {said}");
        }
    }
    // The page's words on the wrong kind of object, and on names that are nearly right.
    for (on, name, value, refuses) in [
        ("Ingress", "expose", "8080", false),
        ("Service", "redirect-https", "true", false),
        ("Ingress", "accept-proxy-protocol", "10.0.0.0/8", true),
        ("Service", "hsts", "365d", true),
        ("Service", "request-headers", "X-Team: shop", true),
        ("Service", "alow-source-ranges", "10.0.0.0/8", true),
        ("Service", "something-else-altogether", "1", false),
    ] {
        let said = told(&with_annotation(on, name, value));
        assert!(said.contains(&format!("annotation sluice.dev/{name} ")), "{name}: {said}");
        assert_eq!(said.contains(REFUSED), refuses, "{name}: {said}");
    }
}

fn pages_with_everything() -> Pages {
    let origin = Origin::new("file", "everything");
    let pool = PoolName::new("site");
    let route = Route {
        host: HostPattern::Any,
        alpn: Vec::new(),
        path: PathMatch::any(),
        action: Action::Forward(pool.clone()),
        filters: Some(Arc::new(Filters { max_body: Some(1), ..Filters::default() })),
        origin: origin.clone(),
    };
    let key = ListenerKey::tcp(SocketAddr::from(([127, 0, 0, 1], 8080)));
    let listener = Listener {
        name: "web".into(),
        protocol: Protocol::Http,
        routes: vec![route],
        certs: Vec::new(),
        strict_sni: false,
        tls: Default::default(),
        essential: true,
        proxies: Vec::new(),
        http: Default::default(),
        limits: Limits::default(),
        flow_idle: None,
        sources: SourceRules::default(),
        origin: origin.clone(),
    };
    let now = SystemTime::now();
    let made = rcgen::generate_simple_self_signed(["shop.example.test".to_owned()]).unwrap();
    let cert = Cert {
        names: vec![HostPattern::parse("shop.example.test").unwrap()],
        chain: vec![made.cert.der().to_vec().into()],
        key: Secret::new(made.signing_key.serialize_der().as_slice()),
        not_before: 0,
        not_after: now.duration_since(UNIX_EPOCH).unwrap().as_secs() as i64,
        must_staple: false,
        staple: None,
        origin: origin.clone(),
    };
    let backends = vec![Backend::new(SocketAddr::from(([127, 0, 0, 1], 9001)))];
    let cookie =
        StickyCookie { name: "SRV".into(), ttl: None, secure: None, same_site: SameSite::default(), key: None };
    let mut intent = Intent::default();
    // The pool goes by what only requests have.
    let routes = vec![Route { action: Action::NotFound, ..listener.routes[0].clone() }];
    let dns = Listener { name: "dns".into(), protocol: Protocol::Udp, routes, ..listener.clone() };
    intent.listeners.insert(ListenerKey::of(dns.protocol, key.address), Arc::new(dns));
    let shop = CertName::new("shop");
    let secure =
        Listener { name: "secure".into(), protocol: Protocol::Https, certs: vec![shop.clone()], ..listener.clone() };
    intent.listeners.insert(ListenerKey::tcp(SocketAddr::from(([127, 0, 0, 1], 8443))), Arc::new(secure));
    intent.listeners.insert(key, Arc::new(listener));
    intent.pools.insert(
        pool.clone(),
        Arc::new(Pool {
            backends,
            speech: Speech::https_unverified(),
            sticky: Some(Sticky::Cookie(cookie)),
            ..Pool::new(origin)
        }),
    );
    intent.certs.insert(shop, Arc::new(cert));

    let (snapshots, live) = (Snapshots::default(), Live::new(1));
    let (snapshot, problems) = compile(&intent, &Snapshot::default(), &live);
    assert_eq!(problems, []);
    snapshot.listeners[&key].routes.find(None, "/").unwrap().serve.answered(200);
    snapshot.pools[&pool].state.took(Duration::from_millis(1));
    snapshot.pools[&pool].state.mirrored(Mirrored::Dropped);
    live.control.compiled(Duration::from_millis(1));
    live.control.went_live(Duration::from_millis(1));
    live.control.source(&"file".into()).heard(1);
    live.control.set_problems(vec![Problem::new(&Origin::new("file", "pool site"), "is an example")]);
    snapshots.publish(snapshot);
    Pages { snapshots: Arc::new(snapshots), live: Arc::new(live), ready: Ready::default(), since: now }
}

/// Each family of a scrape: its type and its labels.
fn families(scrape: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut families = BTreeMap::new();
    let mut last = String::new();
    for line in scrape.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            last = name.to_owned();
            families.insert(last.clone(), (kind.to_owned(), BTreeSet::new()));
        } else if let Some((_, labels)) = line.split_once('{').filter(|_| !line.starts_with('#')) {
            // No value here holds a comma or an equals sign.
            let names = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
            families.get_mut(&last).unwrap().1.extend(names.filter(|name| name != "le"));
        }
    }
    families
}

#[test]
fn every_metric_is_on_its_page() {
    let scrape = metrics::page(&pages_with_everything(), SystemTime::now()).unwrap();
    let page = text_of("docs/metrics.md");
    let mut told = BTreeMap::new();
    for row in rows(&page) {
        let [name, kind, labels, meaning] = row[..] else { panic!("{row:?}") };
        assert!(!meaning.is_empty(), "{name}");
        let labels = labels.split(", ").filter(|label| !label.is_empty()).map(str::to_owned).collect();
        assert_eq!(told.insert(name.to_owned(), (kind.to_owned(), labels)), None, "{name} stands twice");
    }
    assert_eq!(told, families(&scrape));
}

/// The paths of all keys, down to what is no object and to what is keyed by other things than names of ours.
fn keys(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    const LEAVES: [&str; 5] = ["ended", "filters", "origin", "refused", "target"];
    match value {
        Value::Object(map) if !LEAVES.iter().any(|leaf| path.ends_with(&format!(".{leaf}"))) => {
            map.iter().for_each(|(key, value)| keys(value, &format!("{path}.{key}"), into));
        }
        Value::Array(list) if list.iter().any(Value::is_object) => {
            list.iter().for_each(|value| keys(value, path, into));
        }
        _ => {
            into.insert(path.trim_start_matches('.').to_owned());
        }
    }
}

#[test]
fn every_key_of_the_api_is_on_its_page() {
    let pages = pages_with_everything();
    let page = text_of("docs/api.md");
    let sections: BTreeMap<&str, &str> =
        page.split("\n## ").skip(1).map(|part| part.split_once('\n').unwrap()).collect();
    assert_eq!(sections.keys().copied().collect::<Vec<_>>(), Page::ALL.map(Page::name));
    for shown in Page::ALL {
        let mut found = BTreeSet::new();
        keys(&serde_json::from_str(&shown.json(&pages, SystemTime::now()).unwrap()).unwrap(), "", &mut found);
        let told: BTreeSet<String> = rows(sections[shown.name()]).iter().map(|row| row[0].to_owned()).collect();
        assert_eq!(told, found, "{}", shown.name());
    }
}

#[test]
fn every_cause_is_on_the_pages_with_its_words() {
    let page = text_of("docs/status.md");
    let told: BTreeMap<&str, &str> = rows(&page)
        .iter()
        .filter_map(|row| if let [reason, cause, _] = row[..] { Some((cause.trim_matches('`'), reason)) } else { None })
        .filter(|(cause, _)| !cause.is_empty())
        .collect();
    assert_eq!(told, Cause::ALL.map(|cause| (cause.label(), notice::reason(cause))).into());
    let metrics = text_of("docs/metrics.md");
    let problems = metrics.lines().find(|line| line.starts_with("| `sluice_problems`")).unwrap();
    let words: Vec<String> = Cause::ALL.iter().map(|cause| format!("`{}`", cause.label())).collect();
    assert!(problems.contains(&words.join(", ")), "{problems}");
}

#[test]
fn what_an_annotation_names_and_is_not_there_is_missing() {
    for (name, value, cause) in [
        ("auth-basic", "nobody", Cause::Missing),
        ("auth-url", "http://gone/", Cause::Missing),
        ("auth-url", "http://web:81/", Cause::Missing),
        ("canary", "gone", Cause::Missing),
        ("mirror", "gone", Cause::Missing),
        ("mirror", "?!", Cause::Invalid),
    ] {
        let problems = with_annotation("Ingress", name, value).problems;
        let found = problems.iter().find(|problem| problem.reason.contains(&format!("annotation sluice.dev/{name}")));
        assert_eq!(found.map(|problem| problem.cause), Some(cause), "{name}: {problems:?}");
    }
}

#[test]
fn the_class_that_is_given_to_users_is_ours() {
    let text = text_of("deploy/kubernetes/ingressclass.yaml");
    let spec = usual_cluster("home", Access::Inline(vec![("ingressclass.yaml".to_owned(), text)]));
    let once = once(&Intent::default(), &[spec]).unwrap();
    assert_eq!(told(&once), "");
    // With our class in the cluster, and then alone, the door is open before there is an Ingress.
    assert_eq!(once.intent.listeners.len(), 1);
}

#[test]
fn each_word_has_one_row_in_the_lexicon() {
    let page = text_of("docs/lexicon.md");
    let mut words: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("| **")?.split(" | ").next()).collect();
    assert!(words.len() >= 40, "{}", words.len());
    words.sort_unstable();
    for two in words.windows(2) {
        assert_ne!(two[0], two[1], "stands twice");
    }
}

/// All files of a folder and below, by their path in the repository.
fn files_below(folder: &str, into: &mut Vec<String>) {
    for entry in fs::read_dir(in_repo(folder)).unwrap() {
        let name = format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap());
        if in_repo(&name).is_dir() {
            files_below(&name, into);
        } else {
            into.push(name);
        }
    }
}

fn markdown() -> Vec<String> {
    let mut files = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(str::to_owned).to_vec();
    ["docs", "bench", "tests"].iter().for_each(|folder| files_below(folder, &mut files));
    files.retain(|file| file.ends_with(".md"));
    files
}

#[test]
fn links_lead_somewhere() {
    let mut checked = 0;
    for file in markdown() {
        let text = text_of(&file);
        let folder = Path::new(&file).parent().unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let path = link.split('#').next().unwrap();
            if !path.is_empty() && !link.contains("://") {
                assert!(in_repo(folder.join(path).to_str().unwrap()).exists(), "{file}: {link}");
                checked += 1;
            }
        }
    }
    assert!(checked >= 10, "{checked}");
}

/// A path in backticks, as `proxy/tcp.rs` or `model/live/`, may leave out where it begins.
#[test]
fn the_map_names_files_that_are_there() {
    let mut files = vec!["Cargo.toml".to_owned()];
    ["src", "tests", "config", "docs", "bench", "deploy", "fuzz/targets"]
        .iter()
        .for_each(|folder| files_below(folder, &mut files));
    let text = text_of("ARCHITECTURE.md");
    let mut checked = 0;
    for word in text.split('`').skip(1).step_by(2) {
        let is_folder = word.contains('/') && word.ends_with('/');
        if word.contains(' ') || word.starts_with('/') || word.starts_with("foo") {
            continue;
        }
        let found = match () {
            () if is_folder => files.iter().any(|file| format!("/{file}").contains(&format!("/{word}"))),
            () if word.ends_with(".rs") || word.ends_with(".yaml") || word.ends_with(".md") => {
                files.iter().any(|file| format!("/{file}").ends_with(&format!("/{word}")))
            }
            () => continue,
        };
        assert!(found, "ARCHITECTURE.md: there is no {word}");
        checked += 1;
    }
    assert!(checked >= 50, "{checked}");
}

/// What stands in brackets behind a file is in it: `proxy/http/filter.rs` (`send`, `finish`).
#[test]
fn the_map_names_what_is_in_its_files() {
    const KINDS: [&str; 8] = ["const", "enum", "fn", "mod", "static", "struct", "trait", "type"];
    let mut files = Vec::new();
    ["src", "tests"].iter().for_each(|folder| files_below(folder, &mut files));
    let text = text_of("ARCHITECTURE.md").replace('\n', " ");
    let mut checked = 0;
    for (before, inside) in text.split(')').filter_map(|part| part.rsplit_once("` (")) {
        let path = before.rsplit('`').next().unwrap();
        if !path.ends_with(".rs") {
            continue;
        }
        let sources: Vec<_> = files.iter().filter(|file| format!("/{file}").ends_with(&format!("/{path}"))).collect();
        for name in inside
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|name| name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_'))
        {
            let is_there = |file: &&String| {
                let source = text_of(file);
                let words: Vec<&str> = source
                    .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .filter(|word| !word.is_empty())
                    .collect();
                words.windows(2).any(|two| two[1] == name && KINDS.contains(&two[0]))
            };
            assert!(sources.iter().any(is_there), "ARCHITECTURE.md: there is no {name} in {path}");
            checked += 1;
        }
    }
    assert!(checked >= 40, "{checked}");
}
