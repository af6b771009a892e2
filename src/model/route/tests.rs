//! Which route wins.

use super::*;
use crate::model::intent::PoolName;
use crate::model::live::{Live, ServeKey};

fn table(routes: &[(&str, PathMatch, &str)]) -> RouteTable {
    let live = Live::new(1);
    let mut table = RouteTable::default();
    for (host, path, pool) in routes {
        let target = Arc::new(Target {
            beyond: None,
            filters: None,
            is_broken: false,
            action: Action::Forward(PoolName::new(*pool)),
            serve: live.serve(&ServeKey { listener: "web".into(), pool: None }),
            origin: Origin::new("test", *pool),
        });
        assert!(table.add(&HostPattern::parse(host).unwrap(), Matcher::new(path).unwrap(), target));
    }
    table
}

fn found(table: &RouteTable, host: &str, path: &str) -> String {
    match table.find(Some(host), path).map(|t| &t.action) {
        Some(Action::Forward(pool)) => pool.to_string(),
        other => format!("{other:?}"),
    }
}

fn prefix(path: &str) -> PathMatch {
    PathMatch::Prefix(path.into())
}

#[test]
fn prefixes_match_by_element_and_the_longest_wins() {
    let t = table(&[("*", prefix("/"), "root"), ("*", prefix("/foo"), "foo"), ("*", prefix("/foo/bar/"), "bar")]);
    for (path, pool) in [
        ("/", "root"),
        ("/foo", "foo"),
        ("/foo/", "foo"),
        ("/foo/x", "foo"),
        ("/foobar", "root"),
        ("/foo/bar", "bar"),
        ("/foo/bar/", "bar"),
        ("/foo/barn", "foo"),
    ] {
        assert_eq!(found(&t, "a.test", path), pool, "{path}");
    }
}

#[test]
fn exact_then_expression_then_prefix() {
    let t = table(&[
        ("*", prefix("/v1"), "prefix"),
        ("*", PathMatch::Regex("^/v[0-9]+/".into()), "expression"),
        ("*", PathMatch::Exact("/v1/x".into()), "exact"),
    ]);
    assert_eq!(found(&t, "a", "/v1/x"), "exact");
    assert_eq!(found(&t, "a", "/v1/y"), "expression");
    assert_eq!(found(&t, "a", "/v1"), "prefix");
}

#[test]
fn exact_host_then_wildcard_of_one_label_then_any() {
    let t = table(&[
        ("a.x.test", prefix("/only"), "exact"),
        ("*.x.test", prefix("/"), "wildcard"),
        ("*", prefix("/"), "any"),
    ]);
    assert_eq!(found(&t, "a.x.test", "/only"), "exact");
    assert_eq!(found(&t, "a.x.test", "/else"), "wildcard", "falls through");
    assert_eq!(found(&t, "b.x.test", "/"), "wildcard");
    assert_eq!(found(&t, "a.b.x.test", "/"), "any", "one label only");
    assert_eq!(found(&t, "x.test", "/"), "any");
}

#[test]
fn the_first_to_claim_a_place_keeps_it() {
    let mut t = table(&[("a.test", prefix("/x"), "first")]);
    let again = t.find(Some("a.test"), "/x").unwrap().clone();
    assert!(!t.add(&HostPattern::parse("a.test").unwrap(), Matcher::new(&prefix("/x/")).unwrap(), again));
}

#[test]
fn an_expression_that_does_not_compile_says_why() {
    let error = Matcher::new(&PathMatch::Regex("(".into())).unwrap_err();
    assert!(error.contains("path expression \"(\" is not valid"), "{error}");
}
