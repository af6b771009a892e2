//! Pure. Another path in place of the one that was asked for.
//!
//! What comes out always begins with just one slash: `//x` and `/\x` are other hosts to a browser that is redirected
//! there, and another path to many a backend. Whether the rest of it may be forwarded is for the proxy to say, which
//! says so of every path.

use std::borrow::Cow;

use regex::Regex;

use crate::model::intent::PathMatch;
use crate::model::intent::filter::PathEdit;

/// The longest text that is put somewhere, in bytes, …
const LONGEST: usize = 1024;
/// … and the most groups it may refer to: what a client sends must not grow without bound.
const MOST_GROUPS: usize = 9;
/// The most memory one expression may compile to.
const EXPRESSION_BYTES: usize = 1 << 20;

/// An edit of a path, ready for use.
#[derive(Debug)]
pub struct PathPlan(Edit);

#[derive(Debug)]
enum Edit {
    Whole(Box<str>),
    /// The route's prefix without its last slash, or `None` where the route is for one path, and what is put there.
    Prefix(Option<Box<str>>, Box<str>),
    Regex(Regex, Box<str>),
}

impl PathPlan {
    /// The plan of an edit on a route for these paths.
    ///
    /// # Errors
    /// What is wrong with it and what would be right.
    pub fn of(edit: &PathEdit, route: &PathMatch) -> Result<Self, String> {
        let edit = match edit {
            PathEdit::Whole(path) => {
                check(path)?;
                Edit::Whole((**path).into())
            }
            PathEdit::Prefix(put) => {
                check(put)?;
                match route {
                    PathMatch::Prefix(path) => Edit::Prefix(Some(path.trim_end_matches('/').into()), (**put).into()),
                    PathMatch::Exact(_) => Edit::Prefix(None, (**put).into()),
                    PathMatch::Regex(_) => {
                        return Err(format!(
                            "{put} is put in place of the route's prefix, but the route has an expression; write \
                             {{regex: ^/old/(.*), to: {put}}}",
                        ));
                    }
                }
            }
            PathEdit::Regex { find, put } => expression(find, put)?,
        };
        Ok(Self(edit))
    }

    /// The path instead of `path`, which begins with `/`, matched the route and has no query.
    pub fn apply(&self, path: &str) -> String {
        let edited = match &self.0 {
            Edit::Whole(path) => Cow::Borrowed(&**path),
            Edit::Prefix(prefix, put) => {
                let rest = prefix.as_ref().map_or("", |prefix| path.get(prefix.len()..).unwrap_or_default());
                match rest {
                    "" => Cow::Borrowed(&**put),
                    rest => Cow::Owned(format!("{}{rest}", put.trim_end_matches('/'))),
                }
            }
            Edit::Regex(find, put) => find.replace(path, &**put),
        };
        format!("/{}", edited.trim_start_matches(['/', '\\']))
    }

    /// The prefix that is taken away, if that is what is done.
    pub fn stripped(&self) -> Option<&str> {
        match &self.0 {
            Edit::Prefix(Some(prefix), put) if !prefix.is_empty() && &**put == "/" => Some(prefix),
            _ => None,
        }
    }
}

/// Whether a text is a path to put somewhere.
///
/// # Errors
/// What is wrong with it and what would be right.
pub fn check(text: &str) -> Result<(), String> {
    let shown: String = text.chars().take(80).collect();
    let is_plain = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'\\'));
    if !text.starts_with('/') || text.starts_with("//") || !is_plain || text.len() > LONGEST {
        return Err(format!("{shown:?} is not a path; write one like /v2, without a query"));
    }
    if text.split('/').any(|element| matches!(element, "." | "..")) {
        return Err(format!("{shown:?} has dot segments; write where they lead"));
    }
    Ok(())
}

fn expression(find: &str, put: &str) -> Result<Edit, String> {
    let find = regex::RegexBuilder::new(find).size_limit(EXPRESSION_BYTES).build().map_err(|error| {
        let reason = error.to_string();
        format!("path expression {find:?} is not valid: {}", reason.lines().last().unwrap_or_default().trim())
    })?;
    let shown: String = put.chars().take(80).collect();
    if put.len() > LONGEST || !put.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'\\')) {
        return Err(format!("{shown:?} is not what a path can be made of; write it like /v2/$1, without a query"));
    }
    let (put, groups) = braced(put).ok_or_else(|| format!("{shown:?}: after $ comes 1 to 9 or {{name}}; $$ is a $"))?;
    if groups.len() > MOST_GROUPS {
        return Err(format!("{shown:?} refers to more than {MOST_GROUPS} groups"));
    }
    let is_there = |group: &str| match group.parse::<usize>() {
        Ok(number) => number < find.captures_len(),
        Err(_) => find.capture_names().flatten().any(|name| name == group),
    };
    if let Some(missing) = groups.iter().find(|group| !is_there(group)) {
        return Err(format!("{shown:?} refers to the group {missing}, which {:?} does not have", find.as_str()));
    }
    Ok(Edit::Regex(find, put.into()))
}

/// The text with each `$1` as `${1}`, since what follows could be taken for more of a name; and the groups it refers to.
fn braced(put: &str) -> Option<(String, Vec<String>)> {
    let (mut text, mut groups) = (String::new(), Vec::new());
    let mut rest = put;
    while let Some(at) = rest.find('$') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let group = match rest.chars().next()? {
            '$' => {
                text.push_str("$$");
                rest = &rest[1..];
                continue;
            }
            digit @ '1'..='9' => {
                rest = &rest[1..];
                digit.to_string()
            }
            '{' => {
                let (name, after) = rest[1..].split_once('}')?;
                rest = after;
                name.to_owned()
            }
            _ => return None,
        };
        text.push_str(&format!("${{{group}}}"));
        groups.push(group);
    }
    text.push_str(rest);
    Some((text, groups))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(path: &str) -> PathMatch {
        PathMatch::Prefix(path.into())
    }

    fn regex(find: &str, put: &str) -> PathEdit {
        PathEdit::Regex { find: find.into(), put: put.into() }
    }

    #[test]
    fn what_follows_the_prefix_stays() {
        for (route, put, path, expected) in [
            ("/api", "/", "/api", "/"),
            ("/api", "/", "/api/", "/"),
            ("/api", "/", "/api/x/y", "/x/y"),
            ("/api/", "/", "/api/x", "/x"),
            ("/api", "/v2", "/api", "/v2"),
            ("/api", "/v2/", "/api", "/v2/"),
            ("/api", "/v2/", "/api/x", "/v2/x"),
            ("/", "/v2", "/x", "/v2/x"),
            ("/", "/", "/x", "/x"),
            ("/api", "/", "/api//evil.test", "/evil.test"),
            ("/api", "/", "/api/\\evil.test", "/evil.test"),
        ] {
            let plan = PathPlan::of(&PathEdit::Prefix(put.into()), &prefix(route)).unwrap();
            assert_eq!(plan.apply(path), expected, "{route} {put} {path}");
        }
        let strips = |route: &str, put: &str| {
            let plan = PathPlan::of(&PathEdit::Prefix(put.into()), &prefix(route)).unwrap();
            plan.stripped().map(str::to_owned)
        };
        assert_eq!(strips("/api/", "/").as_deref(), Some("/api"));
        assert_eq!((strips("/", "/"), strips("/api", "/v2")), (None, None));
        let one = PathPlan::of(&PathEdit::Prefix("/b".into()), &PathMatch::Exact("/a".into())).unwrap();
        assert_eq!(one.apply("/a"), "/b");
    }

    #[test]
    fn an_expression_moves_its_groups() {
        for (find, put, path, expected) in [
            ("^/v([0-9]+)/(.*)$", "/$2/v$1", "/v3/a/b", "/a/b/v3"),
            ("^/(?P<who>[a-z]+)/", "/u/${who}x/", "/ann/1", "/u/annx/1"),
            ("^/a", "", "/a/b", "/b"),
            ("^/a$", "", "/a", "/"),
            ("^/x/(.*)", "/$1", "/x//evil.test/", "/evil.test/"),
            ("^/none", "/$$", "/else", "/else"),
            ("b+", "c", "/abba/b", "/aca/b"),
            ("^/(a)", "/$1b", "/a", "/ab"),
        ] {
            let plan = PathPlan::of(&regex(find, put), &prefix("/")).unwrap();
            assert_eq!(plan.apply(path), expected, "{find} {put} {path}");
        }
    }

    #[test]
    fn what_cannot_be_done_says_why() {
        let wrong = |edit: &PathEdit| PathPlan::of(edit, &PathMatch::Regex("^/a".into())).unwrap_err();
        for (find, put, says) in [
            ("(", "/", "unclosed group"),
            ("^/(.*)", "/$2", "the group 2"),
            ("^/(.*)", "/${who}", "the group who"),
            ("^/", "/$x", "after $ comes"),
            ("^/", "/$", "after $ comes"),
            ("^/(.)", "$1$1$1$1$1$1$1$1$1$1", "more than 9"),
            ("^/", "/a b", "not what a path"),
            ("^/", "/a?b", "not what a path"),
        ] {
            assert!(wrong(&regex(find, put)).contains(says), "{find} {put}: {}", wrong(&regex(find, put)));
        }
        assert!(wrong(&PathEdit::Prefix("/b".into())).contains("write {regex: ^/old/(.*), to: /b}"));
        for bad in ["", "x", "//x", "/a b", "/é", "/a?b", "/a#b", "/a/../b", "/a/.", "/\\x"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
