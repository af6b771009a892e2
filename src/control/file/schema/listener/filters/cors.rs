//! Pure. `cors:` of a route.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::Door;
use crate::control::file::node::{Node, Value};
use crate::control::file::read::{Keys, one_or_list};
use crate::model::filter::CorsPlan;
use crate::model::intent::filter::Cors;

const MAX_AGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(24 * 3600);
/// What is usual: long enough to save most preflights, short enough that a change is seen.
const USUAL_AGE: Duration = Duration::from_secs(600);
/// What scripts may do where nothing else is said: what the route itself allows.
const USUAL_METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

impl Door<'_> {
    /// Origins, or with what else there is to say.
    pub(super) fn cors(&mut self, node: &Node) -> Option<Cors> {
        let mut cors = Cors {
            origins: Vec::new(),
            methods: USUAL_METHODS.map(Arc::from).into(),
            headers: Vec::new(),
            expose: Vec::new(),
            credentials: false,
            max_age: USUAL_AGE,
        };
        if matches!(node.value, Value::Map(_)) {
            let known = ["origins", "methods", "headers", "expose", "credentials", "max_age"];
            let keys = self.faults.keys(node, &known, &[])?;
            self.cors_keys(&keys, &mut cors);
        } else {
            cors.origins = self.words(node, "an origin like https://app.example.test");
        }
        if cors.origins.is_empty() {
            self.faults.wrong(node, "names no origin; add origins: [https://app.example.test], or \"*\" for any");
        } else if let Err(error) = CorsPlan::of(&cors) {
            self.faults.wrong(node, error);
        }
        Some(cors)
    }

    fn cors_keys(&mut self, keys: &Keys<'_>, cors: &mut Cors) {
        if let Some(node) = keys.find("origins") {
            cors.origins = self.words(node, "an origin like https://app.example.test");
        }
        if let Some(node) = keys.find("methods") {
            cors.methods = self.words(node, "a method like PUT");
        }
        let lower = |names: Vec<Arc<str>>| names.iter().map(|name| name.to_ascii_lowercase().into()).collect();
        if let Some(node) = keys.find("headers") {
            cors.headers = lower(self.words(node, "the name of a field like X-Team"));
        }
        if let Some(node) = keys.find("expose") {
            cors.expose = lower(self.words(node, "the name of a field like X-Total"));
        }
        cors.credentials = keys.find("credentials").and_then(|node| self.faults.switch(node)).unwrap_or_default();
        if let Some(age) = keys.find("max_age").and_then(|node| self.faults.duration(node, MAX_AGE)) {
            cors.max_age = age;
        }
    }

    /// Words, one or a list.
    pub(super) fn words(&mut self, node: &Node, right: &str) -> Vec<Arc<str>> {
        one_or_list(node).iter().filter_map(|item| self.faults.text(item, right)).map(Into::into).collect()
    }
}
