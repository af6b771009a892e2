//! Pure. `acme:` among a listener's certificates: one that is ordered instead of read.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::control::file::node::{Key, Node};
use crate::control::file::read::{Keys, one_or_list};
use crate::control::file::schema::Door;
use crate::model::host::{Host, HostPattern};
use crate::model::intent::order::{LETS_ENCRYPT, LETS_ENCRYPT_STAGING};
use crate::model::intent::{CertName, Challenge, Intent, Order, Route};

/// The most names that one certificate is for; Let's Encrypt takes no more.
const NAMES: usize = 100;

impl Door<'_> {
    /// The certificate that `acme:` asks for, put into the orders of `into`.
    pub(super) fn acme(
        &mut self,
        listener: &Key,
        number: usize,
        item: &Node,
        item_keys: &Keys<'_>,
        routes: &[Route],
        into: &mut Intent,
    ) -> Option<CertName> {
        for key in ["cert", "key"] {
            if let Some(node) = item_keys.find(key) {
                self.faults.wrong(node, "a certificate is either read or ordered; leave out this or acme");
            }
        }
        let origin = self.origin(format!("listener {} certificate {number}", listener.text), item.at);
        if !self.has_state_dir {
            let right = "add process: {state_dir: /var/lib/sluice}";
            self.faults.wrong(item, format_args!("acme needs a place for its account and certificates; {right}"));
        }
        let known = ["email", "hosts", "directory", "ca", "challenge"];
        // `acme:` alone asks for all that is usual.
        let mut order = Order {
            hosts: BTreeSet::new(),
            directory: LETS_ENCRYPT.into(),
            email: None,
            roots: Vec::new(),
            challenge: None,
            origin,
        };
        let mut hosts = None;
        if let Some(node) = item_keys.find("acme") {
            let keys = self.faults.keys(node, &known, &[])?;
            hosts = keys.find("hosts");
            order.email = keys.find("email").and_then(|node| self.email(node));
            if let Some(node) = keys.find("directory") {
                order.directory = self.directory(node)?;
            }
            if let Some(node) = keys.find("ca") {
                order.roots = self.roots(node)?;
            }
            if let Some(node) = keys.find("challenge") {
                let words = [("http-01", Challenge::Http01), ("tls-alpn-01", Challenge::TlsAlpn01)];
                order.challenge = Some(self.faults.choice(node, &words, &["dns-01"])?);
            }
        }
        order.hosts = match hosts {
            Some(node) => self.acme_hosts(node)?,
            None => self.hosts_of(item, routes)?,
        };
        let name = order.name();
        into.orders.insert(name.clone(), Arc::new(order));
        Some(name)
    }

    fn acme_hosts(&mut self, node: &Node) -> Option<BTreeSet<Host>> {
        let mut hosts = BTreeSet::new();
        for item in one_or_list(node) {
            let wrong = match self.host(item)? {
                HostPattern::Exact(host) if is_name(&host) => {
                    hosts.insert(host);
                    continue;
                }
                HostPattern::Exact(host) => format!("{host} is not a DNS name of two labels or more; write one"),
                HostPattern::Wildcard(_) | HostPattern::Any => {
                    let right = "write each name, or give this certificate as a file: {cert: …, key: …}";
                    format!("a wildcard is proven by DNS alone, which is not served; {right}")
                }
            };
            self.faults.wrong(item, wrong);
            return None;
        }
        if hosts.is_empty() || hosts.len() > NAMES {
            self.faults.wrong(node, format_args!("names {} hosts; write 1 to {NAMES}", hosts.len()));
            return None;
        }
        Some(hosts)
    }

    /// The hosts that the listener's routes name.
    fn hosts_of(&mut self, item: &Node, routes: &[Route]) -> Option<BTreeSet<Host>> {
        let exact = routes.iter().filter_map(|route| match &route.host {
            HostPattern::Exact(host) if is_name(host) => Some(host.clone()),
            _ => None,
        });
        let hosts: BTreeSet<Host> = exact.collect();
        if hosts.is_empty() || hosts.len() > NAMES {
            let right = "add hosts: [shop.example.test]";
            let count = hosts.len();
            self.faults
                .wrong(item, format_args!("the routes of this listener name {count} hosts; {right}, 1 to {NAMES}"));
            return None;
        }
        Some(hosts)
    }

    fn email(&mut self, node: &Node) -> Option<Arc<str>> {
        let text = self.faults.text(node, "an address like admin@example.test")?;
        let is_one = text.split_once('@').is_some_and(|(who, place)| !who.is_empty() && !place.is_empty());
        if !is_one || text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, ',' | '?' | '%')) {
            self.faults.wrong(node, "is not one e-mail address; write one like admin@example.test, or leave it out");
            return None;
        }
        Some(text.into())
    }

    fn directory(&mut self, node: &Node) -> Option<Arc<str>> {
        let right = "production, staging, or the https:// URL of a directory";
        let text = self.faults.text(node, right)?;
        match text.as_str() {
            "production" => return Some(LETS_ENCRYPT.into()),
            "staging" => return Some(LETS_ENCRYPT_STAGING.into()),
            _ => {}
        }
        let authority = text.strip_prefix("https://").map(|rest| rest.split('/').next().unwrap_or_default());
        // What RFC 3986 lets into no URL.
        let is_odd = |c: char| !c.is_ascii_graphic() || "\"<>\\^`{|}".contains(c);
        if authority.is_none_or(str::is_empty) || text.contains(is_odd) {
            self.faults.wrong(node, format_args!("{text} is not one; write {right} (RFC 8555 §6.1)"));
            return None;
        }
        Some(text.into())
    }

    fn roots(&mut self, node: &Node) -> Option<Vec<Arc<[u8]>>> {
        let pem = self.content(node)?;
        let mut roots = Vec::new();
        for section in CertificateDer::pem_slice_iter(&pem) {
            match section {
                Ok(der) => roots.push(der.as_ref().into()),
                Err(_) => {
                    self.faults.wrong(node, "its PEM is damaged; copy the file again, whole");
                    return None;
                }
            }
        }
        if roots.is_empty() {
            self.faults.wrong(node, "there is no certificate in it; name the root of the directory's own certificate");
            return None;
        }
        Some(roots)
    }
}

/// No address, and no bare word: no authority takes either here.
fn is_name(host: &Host) -> bool {
    host.as_str().contains('.') && host.as_str().parse::<std::net::IpAddr>().is_err()
}
