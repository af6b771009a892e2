//! Pure. The values of annotations that edit requests and answers. Every error says what would be right.

use crate::model::filter::{PathPlan, fields};
use crate::model::intent::PathMatch;
use crate::model::intent::filter::{FieldEdits, PathEdit};

/// `/v2` in place of the Ingress' own path, `whole:/v2` in place of every path, or `regex:^/v1/(.*) /v2/$1`.
pub(super) fn path(value: &str) -> Result<PathEdit, String> {
    let edit = match value.split_once(':') {
        Some(("whole", path)) => PathEdit::Whole(path.trim().into()),
        Some(("regex", edit)) => {
            let (find, put) = edit.trim().rsplit_once(char::is_whitespace).ok_or_else(|| {
                "it is an expression, a space and what to put there, like regex:^/v1/(.*) /v2/$1".to_owned()
            })?;
            PathEdit::Regex { find: find.trim().into(), put: put.into() }
        }
        _ if value.starts_with('/') => PathEdit::Prefix(value.into()),
        _ => return Err("it is /v2, whole:/v2 or regex:^/v1/(.*) /v2/$1".to_owned()),
    };
    // What the routes are for changes nothing of whether it is right, but for expressions, which Ingresses have none of.
    PathPlan::of(&edit, &PathMatch::any())?;
    Ok(edit)
}

/// One edit a line: `X-Team: shop` sets, `+X-Team: shop` adds, `-X-Team` removes.
pub(super) fn headers(value: &str) -> Result<FieldEdits, String> {
    let mut edits = FieldEdits::default();
    for (line, number) in value.lines().map(str::trim).zip(1..).filter(|(line, _)| !line.is_empty()) {
        edit(line, &mut edits).map_err(|error: String| format!("line {number}: {error}"))?;
    }
    if edits.is_empty() { Err(FORM.to_owned()) } else { Ok(edits) }
}

const FORM: &str = "it is one edit a line: X-Team: shop to set, +X-Team: shop to add, -X-Team to remove";

/// One line of them. What is wrong is told without its value, which may be a secret.
fn edit(line: &str, edits: &mut FieldEdits) -> Result<(), String> {
    if let Some(name) = line.strip_prefix('-') {
        if name.contains(':') {
            return Err(FORM.to_owned());
        }
        edits.remove.push(fields::name(name.trim())?.as_str().into());
        return Ok(());
    }
    let (into, pair) = match line.strip_prefix('+') {
        Some(pair) => (&mut edits.add, pair),
        None => (&mut edits.set, line),
    };
    let (name, value) = pair.split_once(':').ok_or(FORM)?;
    let (name, value) = (fields::name(name.trim())?, value.trim());
    fields::value(value)?;
    into.push((name.as_str().into(), value.into()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_edited_three_ways() {
        assert_eq!(path("/v2"), Ok(PathEdit::Prefix("/v2".into())));
        assert_eq!(path("whole:/x"), Ok(PathEdit::Whole("/x".into())));
        let regex = PathEdit::Regex { find: "^/a b/(.*)".into(), put: "/$1".into() };
        assert_eq!(path("regex:^/a b/(.*) /$1"), Ok(regex));
        for bad in ["", "v2", "whole:x", "regex:^/", "regex:( /", "regex:^/ /$1", "/a/../b", "/a b"] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn fields_are_edited_line_by_line() {
        let edits = headers("X-A: 1, 2\n\n  +Set-Cookie: a=b; Secure\n-Server\nX-Empty:\n").unwrap();
        assert_eq!(edits.set, [("x-a".into(), "1, 2".into()), ("x-empty".into(), "".into())]);
        assert_eq!(edits.add, [("set-cookie".into(), "a=b; Secure".into())]);
        assert_eq!(edits.remove, ["server".into()]);
        for bad in ["", "X-A", "Host: a", "-Connection", "+Content-Length: 1", "X A: 1", "x: \u{1}"] {
            assert!(headers(bad).is_err(), "{bad}");
        }
        for bad in [
            "X-A: 1\nAuthorization Bearer 123",
            "X-A: 1\nAuthorization: 123\u{1}",
            "X-A: 123\nHost: 123",
            "\n- Authorization: 123",
        ] {
            let error = headers(bad).unwrap_err();
            assert!(error.starts_with("line 2: ") && !error.contains("123"), "{error}");
        }
    }
}
