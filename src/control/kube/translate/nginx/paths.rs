//! Pure. Paths as ingress-nginx matches them.
//!
//! Theory: where any Ingress of a host has `use-regex` or `rewrite-target`, all paths of that host are expressions: found
//! from the start, whatever their case, with an open end, the longest text first. Elsewhere they are what their type
//! says. A target is put in place of the whole path, whatever follows what the expression found.

use std::sync::Arc;

use crate::control::kube::objects::ingress::IngressPath;
use crate::model::filter::PathPlan;
use crate::model::intent::PathMatch;
use crate::model::intent::filter::PathEdit;
use crate::model::route::Matcher;

/// What such an expression begins with.
const BEGIN: &str = "(?i)^(?:";

/// The paths that are meant by a path of a host whose paths are expressions.
///
/// # Errors
/// It cannot be had; what is left of it, so that no broader path has its requests, and why.
pub(in crate::control::kube::translate) fn expression(path: &IngressPath) -> Result<PathMatch, (PathMatch, String)> {
    let text = if path.path.is_empty() { "/" } else { &*path.path };
    let matched = PathMatch::Regex(format!("{BEGIN}{text})").into());
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '~');
    match Matcher::new(&matched) {
        Ok(_) if text.starts_with('/') => Ok(matched),
        _ => {
            let literal = &text[..text.find(|c: char| !plain(c)).unwrap_or(text.len())];
            // By element: what the expression has of the last one is not known.
            let whole = literal.rfind('/').map_or("/", |at| &literal[..=at]);
            let reason = format!(
                "path {text:?} is not an expression that is known here (there is no look-around); requests below {whole} \
                 that nobody else serves are answered with 503"
            );
            Err((PathMatch::Prefix(whole.into()), reason))
        }
    }
}

/// The edit that puts a target in place of the paths that a route is for.
pub(in crate::control::kube::translate) fn edit(matched: &PathMatch, target: &str) -> PathEdit {
    let expression = match matched {
        PathMatch::Regex(expression) => expression,
        // Of a default backend, which is for every path.
        PathMatch::Prefix(_) | PathMatch::Exact(_) => "^/",
    };
    let find: Arc<str> = format!("{expression}(?s:.*)$").into();
    let groups = (1..=9).rev().find(|group| has_group(&find, *group)).unwrap_or_default();
    let mut put = String::with_capacity(target.len());
    let mut rest = target;
    // A group that is not there is empty, as there.
    while let Some(at) = rest.find('$') {
        put.push_str(&rest[..at]);
        let number = rest[at + 1..].chars().next().and_then(|c| c.to_digit(10)).unwrap_or_default();
        if number <= groups {
            put.push_str(&format!("${number}"));
        }
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    put.push_str(rest);
    PathEdit::Regex { find, put: put.into() }
}

fn has_group(find: &Arc<str>, group: u32) -> bool {
    let edit = PathEdit::Regex { find: find.clone(), put: format!("/${group}").into() };
    PathPlan::of(&edit, &PathMatch::any()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> IngressPath {
        IngressPath { path: text.into(), ..IngressPath::default() }
    }

    #[test]
    fn a_target_takes_the_place_of_the_whole_path() {
        for (text, target, asked, expected) in [
            ("/api(/|$)(.*)", "/$2", "/api/v1/x", "/v1/x"),
            ("/api(/|$)(.*)", "/$2", "/API", "/"),
            ("/something", "/", "/something/else", "/"),
            ("/a/(b+)", "/x-$1", "/a/bb/c", "/x-bb"),
            ("/plain", "/$1/y", "/plain", "/y"),
            ("/v(1|2)$", "/$1", "/v2", "/2"),
        ] {
            let matched = expression(&path(text)).unwrap();
            let plan = PathPlan::of(&edit(&matched, target), &matched).unwrap();
            assert_eq!(plan.apply(asked), expected, "{text} {target} {asked}");
        }
    }

    #[test]
    fn what_cannot_be_had_keeps_its_requests() {
        for (text, left) in [("/a/(?!b).*", "/a/"), ("/(", "/"), ("/api(?=x)", "/"), ("x", "/")] {
            let (matched, reason) = expression(&path(text)).unwrap_err();
            assert_eq!(matched, PathMatch::Prefix(left.into()), "{text}");
            assert!(reason.contains("503"), "{reason}");
        }
        assert_eq!(expression(&path("")), Ok(PathMatch::Regex("(?i)^(?:/)".into())));
    }
}
