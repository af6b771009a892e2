//! The law of imports, homes of libraries, purity marks, file heads and file sizes: read from the sources and enforced.
//!
//! `the_law_catches_a_broken_tree` runs the same checks over a tree that breaks each rule once.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

/// Which bands a band may import.
const LAW: [(&str, &[&str]); 11] = [
    ("net", &[]),
    ("model", &[]),
    ("control", &["model"]),
    ("proxy", &["model", "net"]),
    ("health", &["model", "net"]),
    ("observe", &["model"]),
    ("app", &["control", "health", "model", "net", "observe", "proxy", "settings"]),
    ("cli", &["app", "control", "model", "observe", "settings"]),
    ("settings", &[]),
    ("drain", &[]),
    ("ready", &[]),
];
/// Leaves that every band may import.
const FOR_ALL: [&str; 2] = ["drain", "ready"];

/// Crates (and `unsafe`) that may be named under these paths alone.
const HOMES: [(&str, &[&str]); 23] = [
    ("unsafe", &["net.rs", "net/"]),
    ("libc::", &["net.rs", "net/"]),
    ("socket2::", &["net.rs", "net/"]),
    ("k8s_openapi::", &["control/kube.rs", "control/kube/"]),
    ("::kube::", &["control/kube.rs", "control/kube/"]),
    ("notify::", &["control/"]),
    ("hickory_resolver::", &["control/names.rs", "control/names/"]),
    ("serde_saphyr::", &["control/"]),
    ("h2::", &["proxy/"]),
    ("hyper::", &["cli/demo/", "control/acme/client.rs", "health/", "observe/", "proxy/", "proxy.rs"]),
    ("hyper_rustls::", &["control/acme/"]),
    ("instant_acme::", &["control/acme/"]),
    ("rcgen::", &["control/acme/"]),
    ("tokio_rustls::", &["health/", "proxy/"]),
    ("rustls_native_certs::", &["control/roots.rs"]),
    ("bcrypt::", &["proxy/passwords/"]),
    ("sha_crypt::", &["proxy/passwords/"]),
    ("compression_codecs::", &["proxy/http/body/"]),
    ("md5::", &["proxy/passwords/"]),
    ("prometheus::", &["observe/"]),
    ("clap::", &["cli.rs", "cli/"]),
    ("libmimalloc_sys::", &["net/memory.rs"]),
    ("mimalloc::", &["main.rs"]),
];

/// What a file that calls itself pure must not hold outside its tests.
const IMPURE: [&str; 14] = [
    "Instant::now",
    "SystemTime::now",
    ".await",
    "async fn",
    "std::fs",
    "std::env",
    "std::thread",
    "std::net::Tcp",
    "std::net::Udp",
    "tokio::net",
    "tokio::time::sleep",
    "RandomState",
    "rand::",
    "getrandom",
];

/// The longest a file may be without its tests.
const LINES: usize = 600;
/// Files that may be longer, each with its reason.
const LONGER: [(&str, &str); 0] = [];

struct Source {
    path: String,
    /// Without test modules, comments and string contents.
    code: String,
    head: String,
    lines: usize,
}

fn sources(root: &Path) -> Vec<Source> {
    let mut files = Vec::new();
    collect(root, &mut files);
    files.sort();
    assert!(!files.is_empty(), "no source under {}", root.display());
    let read = |file: &PathBuf| {
        let text = fs::read_to_string(file).unwrap();
        let own: Vec<&str> = text.lines().take_while(|line| *line != "#[cfg(test)]").collect();
        Source {
            path: file.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/"),
            code: own.iter().map(|line| code_of(line)).collect::<Vec<_>>().join("\n"),
            head: text.lines().next().unwrap_or_default().to_owned(),
            lines: own.len(),
        }
    };
    files.iter().map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// The line without what stands in strings and comments.
fn code_of(line: &str) -> String {
    let mut code = String::new();
    let mut in_string = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if in_string => drop(chars.next()),
            '"' => in_string = !in_string,
            '/' if !in_string && chars.peek() == Some(&'/') => break,
            c if !in_string => code.push(c),
            _ => {}
        }
    }
    code
}

fn band(path: &str) -> &str {
    path.split(['/', '.']).next().unwrap_or_default()
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// Bands named after `crate::`, alone or in braces.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let names = match rest.strip_prefix('{') {
            None => rest.split(|c: char| !c.is_alphanumeric() && c != '_').take(1).map(str::to_owned).collect(),
            Some(group) => first_names(group),
        };
        found.extend(names);
    }
    found
}

/// The first path part of each item of a `{a::b, c}` group.
fn first_names(group: &str) -> Vec<String> {
    let (mut depth, mut item, mut items) = (0, String::new(), Vec::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(std::mem::take(&mut item)),
            c => item.push(c),
        }
    }
    items.push(item);
    let first = |item: &String| item.trim().split("::").next().unwrap_or_default().to_owned();
    items.iter().map(first).filter(|name| !name.is_empty()).collect()
}

/// All that breaks the law under `root`, one line each.
fn offences(root: &Path) -> Vec<String> {
    let mut offences = Vec::new();
    for source in sources(root) {
        let path = &source.path;
        let mut say = |what: String| offences.push(format!("src/{path}: {what}"));
        if !source.head.starts_with("//! ") {
            say("does not open with a `//!` head".to_owned());
        }
        if source.lines > LINES && LONGER.iter().all(|(long, _)| long != path) {
            say(format!("has {} lines without tests, more than {LINES}: what is the second idea in it?", source.lines));
        }
        let test = is_test_file(path);
        if source.head.starts_with("//! Pure") && !test {
            for impure in IMPURE.iter().filter(|word| source.code.contains(**word)) {
                say(format!("calls itself pure and says `{impure}`"));
            }
        }
        if source.code.contains("super::super") {
            say("says `super::super`; write crate::… so that the band shows".to_owned());
        }
        for (word, homes) in HOMES {
            let home = homes.iter().any(|home| path.starts_with(home));
            if !home && !test && says(&source.code, word) {
                say(format!("says `{word}`, whose home is {homes:?}"));
            }
        }
        let own = band(path);
        if matches!(own, "lib" | "main") {
            continue;
        }
        let Some((_, allowed)) = LAW.iter().find(|(name, _)| *name == own) else {
            say(format!("belongs to no band: {own}"));
            continue;
        };
        for name in imports(&source.code) {
            let may = name == own || allowed.contains(&name.as_str()) || FOR_ALL.contains(&name.as_str());
            if !may && LAW.iter().any(|(band, _)| *band == name) {
                say(format!("{own} may not import {name}"));
            }
        }
    }
    offences
}

/// Whether the word stands in the code by itself, not as the end of a longer path or name.
fn says(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        let own_start = word.starts_with("::") || !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
        let own_end = word.ends_with("::") || !after.is_some_and(|c| c.is_alphanumeric() || c == '_');
        // `::kube::` is the crate only where no path goes before it.
        let rooted = !word.starts_with("::") || !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '>');
        own_start && own_end && rooted
    })
}

#[test]
fn the_sources_keep_the_law() {
    let found = offences(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn the_law_catches_a_broken_tree() {
    let tree = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = tree.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("proxy/sees.rs", "//! A proxy that reads configuration.\nuse crate::control::file;\n");
    write("proxy/groups.rs", "//! The same in a group.\nuse crate::{model::intent::{Pool, Route}, observe};\n");
    write(
        "control/fine.rs",
        "//! Nothing wrong: `crate::proxy` in a comment.\nuse crate::model::intent;\nuse super::kube::Change;\n// crate::net\n",
    );
    write(
        "control/leaks.rs",
        "//! Kubernetes outside its home.\nuse k8s_openapi::api::core::v1::Pod;\nuse ::kube::Client;\n",
    );
    write("model/impure.rs", "//! Pure. It says.\nfn now() { std::time::SystemTime::now(); }\n");
    write(
        "model/tested.rs",
        "//! Pure. Only its tests wait.\n#[cfg(test)]\nmod tests { async fn x() { y().await } }\n",
    );
    write("observe/unsafely.rs", "//! Takes a short cut.\nfn f() { unsafe { g() } }\n");
    write("net/climbs.rs", "//! Looks up twice.\nuse super::super::model;\n");
    write("headless.rs", "fn main() {}\n");
    write("health/long.rs", &format!("//! Long.\n{}", "fn f() {}\n".repeat(LINES)));
    let found = offences(tree.path());
    let expected = [
        "src/control/leaks.rs: says `k8s_openapi::`",
        "src/control/leaks.rs: says `::kube::`",
        "src/headless.rs: does not open with",
        "src/headless.rs: belongs to no band",
        "src/health/long.rs: has 601 lines",
        "src/model/impure.rs: calls itself pure and says `SystemTime::now`",
        "src/net/climbs.rs: says `super::super`",
        "src/observe/unsafely.rs: says `unsafe`",
        "src/proxy/groups.rs: proxy may not import observe",
        "src/proxy/sees.rs: proxy may not import control",
    ];
    assert_eq!(found.len(), expected.len(), "\n{}\n", found.join("\n"));
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

#[test]
fn the_table_in_the_sources_is_the_law() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let mut told = 0;
    for row in text.lines().filter_map(|line| line.strip_prefix("//! | [`")) {
        let (band, rest) = row.split_once("`] | ").unwrap();
        let may = rest.split_once(" | ").unwrap().0;
        let (_, law) = LAW.iter().find(|(name, _)| *name == band).unwrap();
        let mut words: Vec<_> = may.split('`').skip(1).step_by(2).collect();
        words.sort_unstable();
        assert!(may == "everything" || words == *law, "{band}: {words:?}, not {law:?}");
        told += 1;
    }
    assert_eq!(told, LAW.len() - FOR_ALL.len() - 1, "every band but the leaves");
}
