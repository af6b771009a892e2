//! Every configuration that the repository shows to users is good; hostile ones are refused with a line and a remedy.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it stands")]

use std::fs;
use std::path::{Path, PathBuf};

use sluice::cli::check::check;
use sluice::control::file::{self, Process};
use sluice::control::once::once;

fn in_repo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A folder with the files that examples name.
fn with_certificate() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["shop.example.test".to_owned()]).unwrap();
    fs::write(folder.path().join("tls.crt"), made.cert.pem()).unwrap();
    fs::write(folder.path().join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    let kubeconfig = "{apiVersion: v1, kind: Config, current-context: c, users: [{name: u, user: {}}], \
                      clusters: [{name: l, cluster: {server: 'https://192.0.2.1:6443'}}], \
                      contexts: [{name: c, context: {cluster: l, user: u}}]}";
    for name in ["kubeconfig", "sluice.kubeconfig"] {
        fs::write(folder.path().join(name), kubeconfig).unwrap();
    }
    fs::write(folder.path().join("vault-ca.pem"), made.cert.pem()).unwrap();
    fs::write(folder.path().join("users"), "ann:$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n")
        .unwrap();
    fs::write(folder.path().join("sorry.html"), "<p>Back soon.</p>\n").unwrap();
    folder
}

/// All of `sluice check`, on a copy in a folder that has a certificate and a kubeconfig too: (good, what it says).
fn checked(text: &str) -> (bool, String) {
    let folder = with_certificate();
    let path = folder.path().join("sluice.yaml");
    fs::write(&path, text.replace("~/.kube/config", "kubeconfig")).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let good = check(&path, &mut out, &mut err).unwrap();
    (good, String::from_utf8(err).unwrap().replace(&format!("{}/", folder.path().display()), ""))
}

fn yaml_files(name: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(in_repo(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    files
}

#[test]
fn every_file_that_is_shown_is_good() {
    let files = [yaml_files("config"), yaml_files("tests/fixtures/config")].concat();
    assert!(files.len() >= 6, "{files:?}");
    for path in files {
        let (good, said) = checked(&fs::read_to_string(&path).unwrap());
        assert!(good, "{}\n{said}", path.display());
    }
}

/// What the pages show can be taken as it stands.
#[test]
fn every_snippet_that_is_shown_is_good() {
    let mut pages: Vec<_> = fs::read_dir(in_repo("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.retain(|path| path.extension().is_some_and(|e| e == "md"));
    pages.push(in_repo("README.md"));
    let mut seen = 0;
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for snippet in text.split("\n```yaml\n").skip(1).map(|rest| rest.split("\n```").next().unwrap()) {
            let (good, said) = checked(snippet);
            assert!(good, "{}\n{snippet}\n{said}", page.display());
            seen += 1;
        }
    }
    assert!(seen >= 4, "{seen}");
}

/// The annotated file says of each key what the default is; leaving all of them out must mean the same.
#[test]
fn the_annotated_file_shows_the_defaults() {
    let annotated = file::load(&in_repo("config/sluice.yaml")).unwrap();
    assert_eq!(annotated.process, Process::default());
    let bare = tempfile::tempdir().unwrap();
    let path = bare.path().join("sluice.yaml");
    let text = "clusters: {home: {kubeconfig: ~/.kube/config}}\npools:\n  \
                site: {probe: {http: /healthz}, backends: [127.0.0.1:9001, 127.0.0.1:9002]}\n";
    fs::write(&path, text).unwrap();
    let bare = file::load(&path).unwrap();
    assert_eq!(annotated.clusters, bare.clusters);
    let site =
        |loaded: &file::Loaded| loaded.fragment.pools.iter().find(|(n, _)| n.as_str() == "site").unwrap().1.clone();
    assert_eq!(site(&annotated), site(&bare));
    let web = annotated.fragment.listeners.values().find(|listener| &*listener.name == "web").unwrap();
    assert_eq!((&web.sources, &web.proxies, &web.limits), (&Default::default(), &vec![], &Default::default()));
}

/// Every key that is read stands in the annotated file, as a key or in a comment.
#[test]
fn the_annotated_file_names_every_key() {
    let text = fs::read_to_string(in_repo("config/sluice.yaml")).unwrap();
    // An unknown key is refused with the list of known ones: the reader itself says what they are.
    let in_route = |text: &str| {
        let listener = format!("{{bind: 127.0.0.1:1, protocol: http, routes: [{{{text}}}]}}");
        format!("pools: {{p: {{backends: []}}}}\nlisteners: {{l: {listener}}}\n")
    };
    let probes = [
        "x: 1\n",
        "process: {x: 1}\n",
        "process: {state_dir: /x}\nlisteners: {l: {bind: 127.0.0.1:1, protocol: https, certificates: [{x: 1}]}}\n",
        "process: {state_dir: /x}\nlisteners: {l: {bind: 127.0.0.1:1, protocol: https, certificates: [{acme: {x: 1}}]}}\n",
        "clusters: {h: {in_cluster: true, x: 1}}\n",
        "clusters: {h: {in_cluster: true, services: {x: 1}}}\n",
        "clusters: {h: {in_cluster: true, ingress: {x: 1}}}\n",
        "clusters: {h: {in_cluster: true, last_good: {x: 1}}}\n",
        "pools: {p: {backends: [], x: 1}}\n",
        "pools: {p: {backends: [], probe: {x: 1}}}\n",
        "pools: {p: {backends: [], timeouts: {x: 1}}}\n",
        "pools: {p: {backends: [], balance: {x: 1}}}\n",
        "pools: {p: {backends: [], ejection: {x: 1}}}\n",
        "pools: {p: {backends: [], agent: {x: 1}}}\n",
        "pools: {p: {backends: [], queue: {x: 1}}}\n",
        "pools: {p: {backends: [], protocol: https, tls: {x: 1}}}\n",
        "pools: {p: {backends: []}}\nlisteners: {l: {bind: 127.0.0.1:1, protocol: tcp, pool: p, per_source: {x: 1}}}\n",
        "pools: {p: {backends: []}}\nlisteners: {l: {bind: 127.0.0.1:1, protocol: tcp, pool: p, bandwidth: {x: 1}}}\n",
        "pools: {p: {backends: [{address: 127.0.0.1:1, x: 1}]}}\n",
        "pools: {p: {backends: []}}\nlisteners: {l: {bind: 127.0.0.1:1, protocol: tcp, pool: p, x: 1}}\n",
        "pools: {p: {backends: []}}\nlisteners: {l: {bind: 127.0.0.1:1, protocol: http, routes: [{pool: p, x: 1}]}}\n",
        &in_route("pool: p, rate: {x: 1}"),
        &in_route("pool: p, cors: {x: 1}"),
        &in_route("pool: p, hsts: {x: 1}"),
        &in_route("pool: p, rewrite_path: {x: 1}"),
        &in_route("pool: p, request_headers: {x: 1}"),
        &in_route("redirect: {x: 1}"),
        &in_route("pool: p, basic_auth: {x: 1}"),
        &in_route("pool: p, forward_auth: {x: 1}"),
        &in_route("pool: p, canary: {x: 1}"),
        &in_route("pool: p, mirror: {x: 1}"),
        &in_route("pool: p, compress: {x: 1}"),
        &in_route("pool: p, errors: {503: {x: 1}}"),
        "pools: {p: {backends: []}}\nlisteners: {l: {bind: 127.0.0.1:1, protocol: https, pool: p, tls: {x: 1}}}\n",
        "pools: {p: {backends: []}}\nlisteners: {l: {bind: 127.0.0.1:1, protocol: https, pool: p, tls: {client_auth: {x: 1}}}}\n",
        "pools: {p: {backends: []}}\nlisteners: {l: {bind: 127.0.0.1:1, protocol: https, pool: p, certificates: [{x: 1}]}}\n",
    ];
    for probe in probes {
        let (_, said) = checked(probe);
        let known = said.lines().find_map(|line| line.split_once("known here: ")).unwrap_or_else(|| panic!("{said}")).1;
        for key in known.split(", ") {
            let is_there = text.contains(&format!("{key}:")) || (key == "tcp" && text.contains("tcp = "));
            assert!(is_there, "{key} of {probe} is not in config/sluice.yaml");
        }
    }
}

#[test]
fn the_example_of_the_interface_asks_for_what_it_says() {
    let folder = with_certificate();
    let path = folder.path().join("sluice.yaml");
    fs::copy(in_repo("tests/fixtures/config/interface.yaml"), &path).unwrap();
    let loaded = file::load(&path).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let all = once(&loaded.fragment, &loaded.clusters).unwrap();
    assert_eq!((all.intent.listeners.len(), all.intent.pools.len(), all.left_out.len()), (3, 3, 1));
}

#[test]
fn hostile_files_are_refused_with_a_place() {
    let bomb = {
        let mut text = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..9 {
            text += &format!("b{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(", "));
        }
        text
    };
    let table = [
        ("aliases that multiply", bomb),
        ("lists without end", "[".repeat(100_000)),
        ("blocks without end", "- ".repeat(100_000)),
        ("keys without end", "a: {".repeat(100_000)),
        ("a tab", "pools:\n\tp: {}\n".to_owned()),
        ("two documents", "pools: {}\n---\npools: {}\n".to_owned()),
        ("an unclosed quote", "pools: {p: {backends: [\"127.0.0.1:1]}}\n".to_owned()),
        ("a key that is a list", "? [a, b]\n: c\n".to_owned()),
        ("a key that is long", format!("{}: 1\n", "k".repeat(900))),
        ("control characters", "pools: {\"p\u{1b}[31m\": {}}\n".to_owned()),
        ("an anchor that is not there", "pools: *nowhere\n".to_owned()),
        ("itself as its own value", "pools: &p {p: *p}\n".to_owned()),
        ("a number beyond numbers", "process: {workers: 99999999999999999999999999}\n".to_owned()),
        ("not a number", "process: {workers: .nan}\n".to_owned()),
        ("a port beyond ports", "pools: {p: {backends: [127.0.0.1:65536]}}\n".to_owned()),
        ("nothing", String::new()),
    ];
    for (what, text) in table {
        let (good, said) = checked(&text);
        assert!(!good, "{what} is taken for good");
        for line in said.lines() {
            assert!(line.starts_with("sluice.yaml:"), "{what}: {line}");
            assert!(line.len() < 1000, "{what}: the answer is as long as the question");
            assert!(!line.contains('\u{1b}'), "{what}: colours the terminal");
        }
        assert!(!said.is_empty(), "{what}");
    }
}

#[test]
fn bytes_that_are_not_text_and_files_that_are_folders_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sluice.yaml");
    fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
    assert!(file::load(&path).unwrap_err()[0].message.contains("is not UTF-8"));
    assert!(file::load(folder.path()).unwrap_err()[0].message.contains("cannot be read"));
    fs::write(&path, vec![b' '; 5 << 20]).unwrap();
    assert!(file::load(&path).unwrap_err()[0].message.contains("larger than 4 MiB"));
}
