//! What render prints of a file, and of what it cannot read.

use clap::{Args, FromArgMatches};

use super::*;

fn parse(words: &[&str]) -> Result<RenderArgs, clap::Error> {
    let matches = RenderArgs::augment_args(clap::Command::new("render")).try_get_matches_from(words)?;
    RenderArgs::from_arg_matches(&matches)
}

fn rendered(text: &str, output: Output) -> (bool, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sluice.yaml");
    std::fs::write(&path, text).unwrap();
    let args = RenderArgs { config: Some(path), manifests: None, stdin: None, output };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let good = render(&args, &mut io::empty(), &mut out, &mut err).unwrap();
    (good, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

const FILE: &str = "clusters: {home: {in_cluster: true}}\nlisteners:\n  web: {bind: 127.0.0.1:1, protocol: http, \
                    routes: [{host: a.test, regex: ^/v}], pool: p}\npools: {p: {backends: [127.0.0.1:2], probe: none}, q: {backends: []}}\n";

#[test]
fn exactly_one_input_is_named() {
    assert!(parse(&["render"]).is_err());
    assert!(parse(&["render", "-", "--config", "f"]).is_err());
    assert!(parse(&["render", "file"]).is_err());
    assert_eq!(parse(&["render", "-"]).unwrap().stdin.as_deref(), Some("-"));
    assert_eq!(parse(&["render", "--manifests", "d", "--output", "json"]).unwrap().output, Output::Json);
}

#[test]
fn text_is_the_intent_and_problems_are_apart() {
    let file = FILE.replace("regex: ^/v", "regex: ^/v, pool: p");
    let (good, out, err) = rendered(&file, Output::Text);
    assert!(good, "{err}");
    assert!(
        out.starts_with("listener web http tcp://127.0.0.1:1  # file: listener web\n  a.test ~ ^/v -> pool p"),
        "{out}"
    );
    assert_eq!(
        err,
        "# problem file: pool q: has no backend, so its requests are answered with 503\n\
         # cluster home is on an API server and is left out\n"
    );
}

#[test]
fn json_has_every_part() {
    let file = FILE.replace("regex: ^/v", "regex: ^/v, pool: p");
    let (good, out, _) = rendered(&file, Output::Json);
    assert!(good);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let web = &json["listeners"][0];
    assert_eq!(web["address"], "127.0.0.1:1");
    assert_eq!(web["routes"][0]["path"]["regex"], "^/v");
    assert_eq!(web["routes"][1]["action"]["pool"], "p");
    assert_eq!(json["pools"][0]["probe"], serde_json::Value::Null);
    assert_eq!(json["pools"][1]["timeouts"]["response"], 60.0);
    assert_eq!(json["pools"][0]["backends"][0]["state"], "ready");
    assert_eq!(json["problems"][0]["origin"]["object"], "pool q");
}

#[test]
fn filters_and_redirects_are_shown() {
    let file = FILE.replace("regex: ^/v", "path: /old, redirect: {path: /new, code: 301}, allow: [10.0.0.0/8]");
    let (good, out, err) = rendered(&file, Output::Json);
    assert!(good, "{err}");
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let route = &json["listeners"][0]["routes"][0];
    assert_eq!(route["action"], serde_json::json!({"redirect": {"path": {"prefix": "/new"}, "code": 301}}));
    assert_eq!(route["filters"]["sources"]["allow"][0], "10.0.0.0/8");
    let (_, out, _) = rendered(&file, Output::Text);
    assert!(out.contains("  a.test /old -> redirect 301 path /new  # file"), "{out}");
    assert!(out.contains("    filters {\"sources\":{\"allow\":[\"10.0.0.0/8\"],\"deny\":[]}}"), "{out}");
}

#[test]
fn input_that_cannot_be_read_is_told() {
    let (good, out, err) = rendered(FILE, Output::Text);
    assert!(!good && out.is_empty());
    assert!(err.contains("routes[1]: leads nowhere"), "{err}");
}

#[test]
fn objects_come_from_standard_input() {
    let objects = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  \
                   metadata: {namespace: default, name: web, annotations: {sluice.dev/expose: '8080'}}\n  \
                   spec: {type: NodePort, ports: [{port: 80, nodePort: 30080}]}\n";
    let args = parse(&["render", "-"]).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    assert!(render(&args, &mut objects.as_bytes(), &mut out, &mut err).unwrap());
    let (out, err) = (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap());
    assert!(out.contains("cluster: service/default/web"), "{out}{err}");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    assert!(!render(&args, &mut "kind: [".as_bytes(), &mut out, &mut err).unwrap());
    assert!(String::from_utf8(err).unwrap().starts_with("standard input"));
}
