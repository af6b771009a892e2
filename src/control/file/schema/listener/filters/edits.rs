//! Pure. The edits of a route, `rewrite_path:`, `rewrite_host:`, `request_headers:` and `response_headers:`; and
//! `redirect:`, which stands in place of a pool.

use std::sync::Arc;

use super::Door;
use crate::control::file::node::{Node, Value};
use crate::control::file::read::one_or_list;
use crate::model::filter::{PathPlan, RedirectPlan, fields};
use crate::model::host::Host;
use crate::model::intent::filter::{FieldEdits, PathEdit, Redirect, Scheme};
use crate::model::intent::{Action, PathMatch, Protocol};

impl Door<'_> {
    /// A path that takes the place of the route's own, or `{whole: /x}`, or `{regex: ^/v1/(.*), to: /v2/$1}`.
    pub(super) fn path_edit(&mut self, node: &Node, route: &PathMatch) -> Option<PathEdit> {
        let right = "a path like /v2";
        let edit = if matches!(node.value, Value::Map(_)) {
            let keys = self.faults.keys(node, &["whole", "regex", "to"], &[])?;
            match ["whole", "regex", "to"].map(|key| keys.find(key)) {
                [Some(whole), None, None] => PathEdit::Whole(self.faults.text(whole, right)?.into()),
                [None, Some(find), Some(put)] => PathEdit::Regex {
                    find: self.faults.text(find, "an expression like ^/v1/(.*)")?.into(),
                    put: self.faults.text(put, "what to put there, like /v2/$1")?.into(),
                },
                _ => {
                    self.faults
                        .wrong(node, "is not an edit; write /v2, {whole: /v2} or {regex: ^/v1/(.*), to: /v2/$1}");
                    return None;
                }
            }
        } else {
            PathEdit::Prefix(self.faults.text(node, right)?.into())
        };
        match PathPlan::of(&edit, route) {
            Ok(_) => Some(edit),
            Err(error) => {
                self.faults.wrong(node, error);
                None
            }
        }
    }

    /// A host, no pattern.
    pub(super) fn one_host(&mut self, node: &Node) -> Option<Host> {
        let text = self.faults.text(node, "a host like shop.example.test")?;
        Host::parse(&text).map_err(|error| self.faults.wrong(node, error)).ok()
    }

    /// Changes of fields.
    pub(super) fn field_edits(&mut self, node: &Node) -> FieldEdits {
        let mut edits = FieldEdits::default();
        let Some(keys) = self.faults.keys(node, &["remove", "set", "add"], &[]) else { return edits };
        if let Some(node) = keys.find("remove") {
            for item in one_or_list(node) {
                let Some(text) = self.faults.text(item, "the name of a field like X-Team") else { continue };
                edits.remove.extend(self.field_name(item, &text));
            }
        }
        for (word, into) in [("set", &mut edits.set), ("add", &mut edits.add)] {
            let Some(node) = keys.find(word) else { continue };
            for (key, node) in self.faults.pairs(node, "fields and their values like {X-Team: shop}") {
                let Some(name) = self.field_name(node, &key.text) else { continue };
                if word == "set" && into.iter().any(|(known, _)| *known == name) {
                    self.faults.wrong(node, format_args!("{name} is set twice; keep one"));
                }
                let values = if word == "add" { one_or_list(node) } else { std::slice::from_ref(node) };
                for node in values {
                    let Some(text) = self.faults.text(node, "the value of a field") else { continue };
                    match fields::value(&text) {
                        Ok(_) => into.push((name.clone(), text.into())),
                        Err(error) => self.faults.wrong(node, error),
                    }
                }
            }
        }
        edits
    }

    fn field_name(&mut self, node: &Node, text: &str) -> Option<Arc<str>> {
        match fields::name(text) {
            Ok(name) => Some(name.as_str().into()),
            Err(error) => {
                self.faults.wrong(node, error);
                None
            }
        }
    }

    /// Where the requests of a route for these paths are sent instead.
    pub(in crate::control::file::schema::listener) fn redirect(
        &mut self,
        protocol: Protocol,
        node: &Node,
        path: &PathMatch,
        pool: Option<&Node>,
    ) -> Option<Action> {
        let keys = self.faults.keys(node, &["scheme", "host", "port", "path", "code"], &[])?;
        let codes = [301, 302, 303, 307, 308];
        let redirect = Redirect {
            scheme: keys
                .find("scheme")
                .and_then(|node| self.faults.choice(node, &[("http", Scheme::Http), ("https", Scheme::Https)], &[])),
            host: keys.find("host").and_then(|node| self.one_host(node)),
            port: keys.find("port").and_then(|node| self.faults.whole(node, 1..=65535)).and_then(|n| n.try_into().ok()),
            path: keys.find("path").and_then(|node| self.path_edit(node, path)),
            to: None,
            code: match keys.find("code") {
                None => Redirect::default().code,
                Some(node) => match node.value {
                    Value::Whole(code) if codes.contains(&code) => u16::try_from(code).unwrap_or_default(),
                    _ => {
                        self.faults.wrong(node, format_args!("is {}; write 301, 302, 303, 307 or 308", node.value));
                        return None;
                    }
                },
            },
            pool: pool.and_then(|node| self.forward(node)).and_then(|action| action.pool().cloned()),
        };
        if pool.is_some()
            && (protocol != Protocol::Http || redirect.scheme != Some(Scheme::Https) || redirect.path.is_some())
        {
            let right = "keep one of them; both go together on http with {scheme: https}, where trusted_proxies say who came \
                         over https already";
            self.faults.wrong(node, format_args!("the route has a pool too; {right}"));
            return None;
        }
        let own = if protocol == Protocol::Https { Scheme::Https } else { Scheme::Http };
        // By what stands there: what is wrong with it is told where it stands.
        let says_where = ["host", "port", "path"].iter().any(|key| keys.find(key).is_some());
        if !says_where && redirect.scheme.is_none_or(|scheme| scheme == own) {
            let right = "say where, as in {scheme: https}, {host: new.example.test} or {path: /new}";
            self.faults.wrong(node, format_args!("leads to where the request is already; {right}"));
            return None;
        }
        let redirect = Arc::new(redirect);
        match RedirectPlan::of(&redirect, path) {
            Ok(_) => Some(Action::Redirect(redirect)),
            Err(error) => {
                self.faults.wrong(node, error);
                None
            }
        }
    }
}
