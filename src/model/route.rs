//! Pure. Match host and path to a target. Exact host, then wildcard, then any; in each exact path, then expressions in
//! the order written, then the longest prefix. A host whose paths do not match falls through to the next.
//!
//! Theory: a look-up costs one hash of the host, one of its parent and, per table, one hash a path element — never a
//! walk over routes, so it is as quick with 5,000 as with ten. Expressions are the exception: each of a table's is
//! tried.

use std::sync::Arc;

use regex::Regex;

use super::filter::FilterPlan;
use super::host::{Host, HostPattern};
use super::intent::{Action, PathMatch};
use super::live::ServeState;
use super::map::Map;
use super::path::{PathRules, Slashes, normal};
use super::problem::Origin;

mod names;

pub use names::NameTable;

/// Where a route leads.
#[derive(Debug)]
pub struct Target {
    /// What is done.
    pub action: Action,
    /// Of a redirect to https: where those go who came over https already.
    pub beyond: Option<Arc<Self>>,
    /// What is done to requests and answers on their way; `None`: nothing.
    pub filters: Option<Arc<FilterPlan>>,
    /// Counts the answers.
    pub serve: Arc<ServeState>,
    /// Its filters cannot be had as they were asked: it answers 503, since nothing may pass unfiltered.
    pub is_broken: bool,
    /// Who asked.
    pub origin: Origin,
}

impl Target {
    /// Whether it makes no difference which of the two a request goes by.
    fn does_the_same_as(&self, other: &Self) -> bool {
        let asked = |target: &Self| target.filters.as_ref().map(|plan| plan.asked.clone());
        let beyond = match (&self.beyond, &other.beyond) {
            (Some(one), Some(other)) => one.does_the_same_as(other),
            (one, other) => one.is_none() && other.is_none(),
        };
        self.action == other.action && self.is_broken == other.is_broken && asked(self) == asked(other) && beyond
    }
}

/// All routes of one listener.
#[derive(Debug, Default)]
pub struct RouteTable {
    exact: Map<Box<str>, PathTable>,
    wildcard: Map<Box<str>, PathTable>,
    any: PathTable,
}

#[derive(Debug, Default)]
struct PathTable {
    exact: Map<Box<str>, Arc<Target>>,
    expressions: Vec<(Regex, Arc<Target>)>,
    // Keyed without the trailing slash; the root is the empty string.
    prefixes: Map<Box<str>, Arc<Target>>,
    // Slashes in the deepest prefix.
    depth: usize,
}

/// A path match that is ready for use.
#[derive(Debug)]
pub enum Matcher {
    /// This path alone.
    Exact(Box<str>),
    /// By element.
    Prefix(Box<str>),
    /// Found anywhere.
    Expression(Regex),
}

/// The most memory one expression may compile to.
const EXPRESSION_BYTES: usize = 1 << 20;

impl Matcher {
    /// Compiles a match; the error says what is wrong with an expression.
    pub fn new(path: &PathMatch) -> Result<Self, String> {
        match path {
            PathMatch::Exact(path) => Ok(Self::Exact(form_of(path))),
            PathMatch::Prefix(path) => Ok(Self::Prefix(form_of(path))),
            PathMatch::Regex(text) => regex::RegexBuilder::new(text)
                .size_limit(EXPRESSION_BYTES)
                .build()
                .map(Self::Expression)
                .map_err(|error| format!("path expression {text:?} is not valid: {error}")),
        }
    }
}

/// A route's path in the form in which paths of requests come, however it is written. What has no such form stays, and
/// matches nothing.
fn form_of(path: &str) -> Box<str> {
    let rules = PathRules { slashes: Slashes::Keep, ..PathRules::default() };
    normal(path, &rules).map_or_else(|_| path.into(), |normal| normal.path.into())
}

impl RouteTable {
    /// Adds a route. False when the same host and path are taken already: the first keeps them.
    pub fn add(&mut self, host: &HostPattern, path: Matcher, target: Arc<Target>) -> bool {
        let table = match host {
            HostPattern::Exact(host) => table_of(&mut self.exact, host),
            HostPattern::Wildcard(host) => table_of(&mut self.wildcard, host),
            HostPattern::Any => &mut self.any,
        };
        match path {
            Matcher::Exact(path) => insert_first(&mut table.exact, &path, target),
            Matcher::Prefix(path) => {
                let path = path.trim_end_matches('/');
                table.depth = table.depth.max(path.matches('/').count());
                insert_first(&mut table.prefixes, path, target)
            }
            Matcher::Expression(expression) => {
                let new = table.expressions.iter().all(|(known, _)| known.as_str() != expression.as_str());
                if new {
                    table.expressions.push((expression, target));
                }
                new
            }
        }
    }

    /// The target of a request. `host` is lower-case without port; `path` begins with `/` and has no query.
    pub fn find(&self, host: Option<&str>, path: &str) -> Option<&Arc<Target>> {
        let by_host = host.and_then(|host| {
            let exact = || self.exact.get(host).and_then(|table| table.find(path));
            let wildcard = || {
                let (_, parent) = host.split_once('.')?;
                self.wildcard.get(parent)?.find(path)
            };
            exact().or_else(wildcard)
        });
        by_host.or_else(|| self.any.find(path))
    }

    /// Whether a path leads where its other reading would: to the same pool by the same filters, or both nowhere.
    pub fn agrees(&self, host: Option<&str>, path: &str, other: &str) -> bool {
        match (self.find(host, path), self.find(host, other)) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one.does_the_same_as(other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    /// The one target of a listener that routes by nothing.
    pub fn only(&self) -> Option<&Arc<Target>> {
        self.any.prefixes.get("")
    }
}

fn table_of<'t>(tables: &'t mut Map<Box<str>, PathTable>, host: &Host) -> &'t mut PathTable {
    tables.entry(host.as_str().into()).or_default()
}

fn insert_first(map: &mut Map<Box<str>, Arc<Target>>, key: &str, target: Arc<Target>) -> bool {
    if map.contains_key(key) {
        return false;
    }
    map.insert(key.into(), target);
    true
}

impl PathTable {
    fn find(&self, path: &str) -> Option<&Arc<Target>> {
        self.exact
            .get(path)
            .or_else(|| self.expressions.iter().find(|(e, _)| e.is_match(path)).map(|(_, target)| target))
            .or_else(|| self.longest_prefix(path))
    }

    fn longest_prefix(&self, path: &str) -> Option<&Arc<Target>> {
        if self.prefixes.is_empty() {
            return None;
        }
        // No look-up begins deeper than the deepest prefix, so a path of a thousand slashes costs no more than its fill.
        let mut rest = match path.match_indices('/').nth(self.depth) {
            Some((cut, _)) => &path[..cut],
            None => path.trim_end_matches('/'),
        };
        loop {
            if let Some(target) = self.prefixes.get(rest) {
                return Some(target);
            }
            let cut = rest.rfind('/')?;
            rest = &rest[..cut];
        }
    }
}

#[cfg(test)]
mod tests;
