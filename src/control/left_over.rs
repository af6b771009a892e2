//! Pure. What a host's own paths leave over, kept among those whose it is.
//!
//! Theory: a route table tries a host's own paths, then its wildcard's, then those of the default host. Where a stranger
//! has one of the broader patterns too, the host gets, under its own name, what it would reach without the stranger: the
//! routes of its own side, and a 404 for all else. What the host itself or a narrower pattern has is never hidden by what
//! is taken over: neither a path of its own, nor all that is below it. Expressions keep their rank, before all prefixes.

use std::collections::HashSet;

use crate::model::host::HostPattern;
use crate::model::intent::{Action, PathMatch, Route};
use crate::model::problem::Origin;

/// Whether it is for all paths.
pub(super) fn is_root(route: &Route) -> bool {
    matches!(&route.path, PathMatch::Prefix(path) if path.trim_end_matches('/').is_empty())
}

/// The routes that `host` lacks, which has the routes `own`, none of them for all paths. `broader` are those of its side
/// by pattern, in the order in which they are tried; `asker` is who asked for a 404.
pub(super) fn left_over<'r>(
    host: &HostPattern,
    own: &[&'r Route],
    broader: impl IntoIterator<Item = Vec<&'r Route>>,
    asker: &Origin,
) -> Vec<Route> {
    let mut tried = Tried::default();
    own.iter().for_each(|route| tried.add(route));
    let mut more = Vec::new();
    for table in broader {
        let seen: Vec<&Route> = table.into_iter().filter(|route| !tried.hides(&route.path)).collect();
        seen.iter().for_each(|route| tried.add(route));
        more.extend(seen.iter().map(|route| Route { host: host.clone(), ..Route::clone(route) }));
        if seen.iter().any(|route| is_root(route)) {
            return more;
        }
    }
    more.push(Route {
        host: host.clone(),
        alpn: Vec::new(),
        path: PathMatch::any(),
        action: Action::NotFound,
        filters: None,
        origin: asker.clone(),
    });
    more
}

/// The paths that are tried before.
#[derive(Default)]
struct Tried<'r> {
    exact: HashSet<&'r str>,
    expressions: HashSet<&'r str>,
    // Without the trailing slash.
    prefixes: HashSet<&'r str>,
}

impl<'r> Tried<'r> {
    fn add(&mut self, route: &'r Route) {
        match &route.path {
            PathMatch::Exact(path) => self.exact.insert(path),
            PathMatch::Regex(expression) => self.expressions.insert(expression),
            PathMatch::Prefix(path) => self.prefixes.insert(path.trim_end_matches('/')),
        };
    }

    /// Whether no request would come so far.
    fn hides(&self, path: &PathMatch) -> bool {
        match path {
            PathMatch::Exact(path) => self.exact.contains(&**path) || self.has_above(path),
            PathMatch::Regex(expression) => self.expressions.contains(&**expression),
            PathMatch::Prefix(path) => self.has_above(path),
        }
    }

    fn has_above(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        self.prefixes.contains(path) || path.match_indices('/').any(|(cut, _)| self.prefixes.contains(&path[..cut]))
    }
}
