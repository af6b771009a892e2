//! Pure. The filters of a route, ready for use: what can be prepared once is not done with every request.

use std::sync::Arc;

use http::HeaderValue;

use super::htpasswd::Users;
use super::intent::{Action, Filters, Route};
use super::live::rates::{RateStateKey, Rates};
use super::live::{Live, ServeKey, ServeState};
use super::source::SourceTable;

pub mod cors;
pub mod fields;
pub mod path;
pub mod redirect;

pub use cors::CorsPlan;
pub use fields::FieldPlan;
pub use path::PathPlan;
pub use redirect::RedirectPlan;

/// The filters of one route.
#[derive(Debug)]
pub struct FilterPlan {
    /// What was asked.
    pub asked: Arc<Filters>,
    /// Which clients may use the route.
    pub sources: SourceTable,
    /// How often each asker came, where that is limited.
    pub rates: Option<Arc<Rates>>,
    /// Which other origins' scripts may use the route.
    pub cors: Option<CorsPlan>,
    /// The path that the backend sees.
    pub rewrite_path: Option<PathPlan>,
    /// The host that the backend sees.
    pub rewrite_host: Option<HeaderValue>,
    /// Changes to the fields of requests.
    pub request_headers: Option<FieldPlan>,
    /// Changes to the fields of answers.
    pub response_headers: Option<FieldPlan>,
    /// The value of `Strict-Transport-Security`.
    pub hsts: Option<HeaderValue>,
    /// Where requests are sent instead of to a backend.
    pub redirect: Option<RedirectPlan>,
    /// Who may use the route, by name.
    pub users: Option<Users>,
    /// Counts the answers of the canary.
    pub canary: Option<Arc<ServeState>>,
}

impl FilterPlan {
    /// The plan of a route's filters, if it has any. A route that redirects always has a plan. `listener` is the name of
    /// the one it is on.
    ///
    /// # Errors
    /// What cannot be done as it was asked; the route then answers 503, since its requests must not pass unfiltered.
    pub fn of(route: &Route, listener: &Arc<str>, live: &Live) -> Result<Option<Self>, String> {
        let redirect = match &route.action {
            Action::Redirect(redirect) => Some(RedirectPlan::of(redirect, &route.path)?),
            // They are for what lies beyond it.
            Action::RedirectHttps { .. } => return Ok(None),
            Action::Forward(_) | Action::NotFound => None,
        };
        if route.filters.is_none() && redirect.is_none() {
            return Ok(None);
        }
        let asked = route.filters.clone().unwrap_or_default();
        let rates = asked.rate.as_ref().map(|rate| {
            // By who asked, so that all routes of one object share its limit, and a swap does not forget who came.
            live.rates(&RateStateKey { origin: route.origin.clone(), key: rate.key.clone() })
        });
        let host = asked.rewrite_host.as_ref().map(|host| match host.as_str() {
            address if address.contains(':') => HeaderValue::try_from(format!("[{address}]")),
            name => HeaderValue::try_from(name),
        });
        let users = asked.basic_auth.as_ref().map(|auth| Users::parse(auth.users.expose())).transpose();
        let canary = asked
            .canary
            .as_ref()
            .map(|canary| live.serve(&ServeKey { listener: listener.clone(), pool: Some(canary.pool.clone()) }));
        let hsts = asked.hsts.as_ref().map(|hsts| HeaderValue::try_from(hsts.to_string()));
        Ok(Some(Self {
            sources: SourceTable::new(&asked.sources),
            rates,
            cors: asked.cors.as_ref().map(CorsPlan::of).transpose()?,
            rewrite_path: asked.rewrite_path.as_ref().map(|edit| PathPlan::of(edit, &route.path)).transpose()?,
            rewrite_host: host.transpose().map_err(|_| "rewrite_host cannot be written in a field")?,
            request_headers: FieldPlan::of(&asked.request_headers)?,
            response_headers: FieldPlan::of(&asked.response_headers)?,
            hsts: hsts.transpose().map_err(|_| "hsts cannot be written in a field")?,
            redirect,
            users: users.map_err(|wrong| format!("basic_auth: the list of users {wrong}"))?,
            canary,
            asked,
        }))
    }
}
