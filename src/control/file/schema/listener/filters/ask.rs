//! Pure. Filters that ask somebody or send a request elsewhere: `basic_auth:`, `forward_auth:`, `canary:`, `mirror:`.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::Door;
use crate::control::ask;
use crate::control::file::node::{Node, Value};
use crate::control::file::read::{Keys, one_or_list};
use crate::model::filter::fields;
use crate::model::htpasswd::Users;
use crate::model::intent::filter::{BasicAuth, Canary, ForwardAuth, Mirror};
use crate::model::intent::{Action, PoolName};
use crate::model::secret::Secret;

/// How long a server may take that is asked.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
/// Of a copied request's body.
const BODY: RangeInclusive<u64> = 0..=16 * 1024 * 1024;

impl Door<'_> {
    pub(super) fn basic_auth(&mut self, node: &Node) -> Option<BasicAuth> {
        let keys = self.faults.keys_or("none or ", node, &["users", "realm", "pass_on"], &[])?;
        let realm = match keys.find("realm") {
            None => Some(ask::REALM.into()),
            Some(node) => {
                let realm = self.faults.text(node, "the name of what is guarded, for the client's prompt")?;
                self.judged(node, ask::realm(&realm))
            }
        };
        let pass_on = keys.find("pass_on").map_or(Some(true), |node| self.faults.switch(node));
        let Some(users) = keys.find("users") else {
            self.faults.wrong(node, "has no users; add users: FILE of lines name:hash, or the lines as a list");
            return None;
        };
        let lines = match &users.value {
            Value::List(items) => {
                let lines = items.iter().filter_map(|item| self.faults.text(item, "a line name:hash, in quotes"));
                lines.collect::<Vec<_>>().join("\n").into_bytes()
            }
            _ => self.content(users)?,
        };
        if let Err(wrong) = Users::parse(&lines) {
            self.faults.wrong(users, wrong);
        }
        Some(BasicAuth { realm: realm?, users: Secret::new(lines), pass_on: pass_on? })
    }

    pub(super) fn forward_auth(&mut self, node: &Node) -> Option<ForwardAuth> {
        let known = ["pool", "path", "host", "headers", "sign_in", "timeout"];
        let keys = self.faults.keys_or("none or ", node, &known, &[])?;
        let pool = self.named_pool(node, &keys, "auth");
        let path = match keys.find("path") {
            None => Some("/".into()),
            Some(node) => {
                let path = self.faults.text(node, "a path like /api/verify")?;
                self.judged(node, ask::path(&path))
            }
        };
        let host = match keys.find("host") {
            None => None,
            Some(node) => {
                let host = self.faults.text(node, "a host like auth.example.test")?;
                Some(self.judged(node, ask::host(&host))?)
            }
        };
        let headers = keys.find("headers").map(|node| self.field_names(node)).unwrap_or_default();
        let sign_in = match keys.find("sign_in") {
            None => None,
            Some(node) => {
                let page = self.faults.text(node, ask::SIGN_IN)?;
                Some(self.judged(node, ask::sign_in(&page))?)
            }
        };
        let timeout = match keys.find("timeout") {
            None => ask::TIMEOUT,
            Some(node) => self.faults.duration(node, TIMEOUT)?,
        };
        Some(ForwardAuth { pool: pool?, host, path: path?, headers, sign_in, timeout })
    }

    pub(super) fn canary(&mut self, node: &Node) -> Option<Canary> {
        let keys = self.faults.keys_or("none or ", node, &["pool", "header", "value", "cookie", "share"], &[])?;
        let pool = self.named_pool(node, &keys, "next");
        let field = keys.find("header").and_then(|node| self.field_names(node).into_iter().next());
        let value: Option<Arc<str>> = keys
            .find("value")
            .and_then(|node| self.faults.text(node, "what the field says, in quotes"))
            .map(|value| value.as_str().into());
        if let (Some(node), None) = (keys.find("value"), keys.find("header")) {
            self.faults.wrong(node, "is what a field says, and there is no header; add header: NAME");
        }
        let cookie = match keys.find("cookie") {
            None => None,
            Some(node) => {
                let name = self.faults.text(node, "the name of a cookie")?;
                Some(self.judged(node, ask::cookie(&name))?)
            }
        };
        let permille = keys.find("share").and_then(|node| self.share(node)).unwrap_or_default();
        if keys.find("share").is_none() && field.is_none() && cookie.is_none() {
            self.faults.wrong(node, "says nothing of who goes there; add share: 10%, header: NAME or cookie: NAME");
        }
        Some(Canary { pool: pool?, header: field.map(|name| (name, value)), cookie, permille })
    }

    pub(super) fn mirror(&mut self, node: &Node) -> Option<Mirror> {
        let keys = self.faults.keys_or("none or ", node, &["pool", "share", "max_body"], &[])?;
        let pool = self.named_pool(node, &keys, "shadow");
        let permille = keys.find("share").map_or(Some(1000), |node| self.share(node));
        let max_body = keys.find("max_body").map_or(Some(ask::MIRRORED), |node| self.faults.bytes(node, BODY, false));
        Some(Mirror { pool: pool?, permille: permille?, max_body: max_body? })
    }

    fn named_pool(&mut self, node: &Node, keys: &Keys<'_>, example: &str) -> Option<PoolName> {
        let Some(pool) = keys.find("pool") else {
            self.faults.wrong(node, format_args!("has no pool; add pool: {example}, and {example} under pools:"));
            return None;
        };
        match self.forward(pool)? {
            Action::Forward(pool) => Some(pool),
            _ => None,
        }
    }

    /// `10%` or `0.5%`, in thousandths.
    fn share(&mut self, node: &Node) -> Option<u16> {
        let text = self.faults.text(node, "a share like 10% or 0.5%")?;
        self.judged(node, ask::share(&text))
    }

    fn field_names(&mut self, node: &Node) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = Vec::new();
        for item in one_or_list(node) {
            let Some(text) = self.faults.text(item, "the name of a field like Remote-User") else { continue };
            if let Some(name) = self.judged(item, fields::name(text.trim())) {
                let name: Arc<str> = name.as_str().into();
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }

    /// What a value came to, or what is wrong with it, told.
    fn judged<T>(&mut self, node: &Node, judged: Result<T, String>) -> Option<T> {
        judged.map_err(|wrong| self.faults.wrong(node, wrong)).ok()
    }
}
