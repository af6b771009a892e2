//! Pure. How TLS is spoken with clients: `tls:` of an `https` listener.

use std::sync::Arc;

use super::Door;
use crate::control::file::node::{Node, Value};
use crate::control::file::read::{Keys, one_or_list};
use crate::control::trust;
use crate::model::intent::Protocol;
use crate::model::intent::tls::{Alpn, ClientAuth, ClientAuthMode, Crl, Tell, TlsRules, TlsVersion};
use crate::model::tls::check_clients;

impl Door<'_> {
    pub(super) fn tls(&mut self, protocol: Protocol, keys: &Keys<'_>) -> TlsRules {
        let mut rules = TlsRules::default();
        let Some(node) = keys.find("tls") else { return rules };
        if protocol != Protocol::Https {
            let right = "write protocol: https or leave it out";
            self.faults.wrong(node, format_args!("is for https; this listener is {protocol}: {right}"));
            return rules;
        }
        let Some(keys) = self.faults.keys(node, &["min_version", "alpn", "client_auth"], &[]) else { return rules };
        if let Some(version) = keys.find("min_version").and_then(|node| self.version(node)) {
            rules.min_version = version;
        }
        if let Some(node) = keys.find("alpn") {
            rules.alpn = self.offered(node);
        }
        rules.client_auth =
            keys.find("client_auth").filter(|node| !node.is("none")).and_then(|node| self.client_auth(node));
        rules
    }

    /// YAML takes 1.2 for a number.
    fn version(&mut self, node: &Node) -> Option<TlsVersion> {
        let text = match &node.value {
            Value::Real(number) => number.to_string(),
            Value::Text(text) => text.clone(),
            _ => String::new(),
        };
        let version = TlsVersion::ALL.into_iter().find(|version| version.label() == text);
        if version.is_none() {
            self.faults.wrong(node, format_args!("is {}; write 1.2 or 1.3", node.value));
        }
        version
    }

    fn offered(&mut self, node: &Node) -> Vec<Alpn> {
        let words = Alpn::ALL.map(|alpn| (alpn.label(), alpn));
        let mut all = Vec::new();
        for item in one_or_list(node) {
            if let Some(alpn) = self.faults.choice(item, &words, &[]).filter(|alpn| !all.contains(alpn)) {
                all.push(alpn);
            }
        }
        if matches!(&node.value, Value::List(items) if items.is_empty()) {
            self.faults.wrong(node, "is empty; write [h2, http/1.1], or one of them");
        }
        all
    }

    fn client_auth(&mut self, node: &Node) -> Option<ClientAuth> {
        let keys = self.faults.keys_or("none or ", node, &["mode", "ca", "crl", "forward"], &[])?;
        let modes = ClientAuthMode::ALL.map(|mode| (mode.label(), mode));
        let mode = match keys.find("mode") {
            Some(node) => self.faults.choice(node, &modes, &[]),
            None => Some(ClientAuthMode::Required),
        };
        let tells = Tell::ALL.map(|tell| (tell.label(), tell));
        let tell = match keys.find("forward") {
            Some(node) => self.faults.choice(node, &tells, &[]),
            None => Some(Tell::Nothing),
        };
        let mut crls: Vec<Crl> = Vec::new();
        for item in keys.find("crl").filter(|node| !node.is("none")).map(one_or_list).unwrap_or_default() {
            let Some(file) = self.content(item) else { continue };
            match trust::revocations(&file) {
                Ok(lists) => crls.extend(lists),
                Err(error) => self.faults.wrong(item, error),
            }
        }
        let Some(ca) = keys.find("ca") else {
            self.faults.wrong(node, "has no ca; add ca: and the path of a PEM file with the authorities to trust");
            return None;
        };
        let file = self.content(ca)?;
        let roots = trust::authorities(&file).map_err(|error| self.faults.wrong(ca, error)).ok()?;
        let auth = ClientAuth { mode: mode?, roots: Arc::from(roots), crls: crls.into(), tell: tell? };
        // Stricter than compile: what cannot be kept is told here, with its line.
        check_clients(&auth).map_err(|error| self.faults.wrong(node, error)).ok()?;
        Some(auth)
    }
}
