//! Pure. The filters of a route, ready for use: what can be prepared once is not done with every request.

use std::sync::Arc;

use super::intent::{Filters, PathMatch, Route};
use super::source::SourceTable;

/// The filters of one route.
#[derive(Debug)]
pub struct FilterPlan {
    /// What was asked.
    pub asked: Arc<Filters>,
    /// The route's own path, which edits of the path refer to.
    pub path: PathMatch,
    /// Which clients may use the route.
    pub sources: SourceTable,
}

impl FilterPlan {
    /// The plan of a route's filters, if it has any.
    ///
    /// # Errors
    /// What cannot be done as it was asked; the route then answers 503, since its requests must not pass unfiltered.
    pub fn of(route: &Route) -> Result<Option<Self>, String> {
        let Some(asked) = &route.filters else { return Ok(None) };
        Ok(Some(Self { asked: asked.clone(), path: route.path.clone(), sources: SourceTable::new(&asked.sources) }))
    }
}
