//! Pure. What is spoken to the backends of a pool: `protocol:` and `tls:`.

use std::sync::Arc;

use super::Door;
use crate::control::file::node::Node;
use crate::control::file::read::Keys;
use crate::control::pem;
use crate::model::host::Host;
use crate::model::intent::speech::{BackendTls, Identity, Verify};
use crate::model::intent::{Pool, ProbeKind, Speech};

/// Words of `protocol:`.
#[derive(Clone, Copy, PartialEq)]
enum Word {
    Http,
    Https,
    H2c,
    Grpc,
    H2,
}

impl Door<'_> {
    /// Reads both keys, once the pool's backends and probe are known.
    pub(super) fn speech(&mut self, keys: &Keys<'_>, pool: &mut Pool) {
        let words =
            [("http", Word::Http), ("https", Word::Https), ("h2c", Word::H2c), ("grpc", Word::Grpc), ("h2", Word::H2)];
        let word = keys.find("protocol").and_then(|node| self.faults.choice(node, &words, &[])).unwrap_or(Word::Http);
        let tls = keys.find("tls").filter(|node| !node.is("none"));
        let is_sealed = match (word, tls) {
            (Word::Https | Word::H2, _) => true,
            (Word::Grpc, tls) => tls.is_some(),
            (Word::Http | Word::H2c, None) => false,
            (Word::Http | Word::H2c, Some(node)) => {
                let right = "write protocol: https, grpc or h2, or leave it out";
                return self.faults.wrong(node, format_args!("is for pools that are spoken to in TLS; {right}"));
            }
        };
        pool.speech.http2 = matches!(word, Word::H2c | Word::Grpc | Word::H2);
        if !is_sealed {
            return;
        }
        let mut asked = tls.map(|node| self.backend_tls(node)).unwrap_or_default();
        if asked.name.is_none() {
            asked.name = self.only_name(keys, pool, &asked);
        }
        pool.speech = Speech { http2: pool.speech.http2, tls: Some(Arc::new(asked)) };
        if let (Some(node), Some(ProbeKind::Grpc { .. })) = (keys.find("probe"), pool.probe.as_ref().map(|p| &p.kind)) {
            let right = "write tcp, or {https: /healthz}";
            self.faults
                .wrong(node, format_args!("is grpc, which is asked in the clear, and this pool has TLS; {right}"));
        }
    }

    /// Backends by name are asked for by that name.
    fn only_name(&mut self, keys: &Keys<'_>, pool: &Pool, asked: &BackendTls) -> Option<Arc<str>> {
        let first = &pool.names.first()?.host;
        let is_one = pool.backends.is_empty() && pool.names.iter().all(|named| named.host == *first);
        if !is_one && asked.verify != Verify::None {
            let (at, path) = (keys.at, keys.path);
            let right = "add tls: {name: HOST}, or give each a pool of its own";
            self.faults.add(at, format!("{path}: has backends of several names, and TLS knows only one; {right}"));
        }
        is_one.then(|| first.clone())
    }

    fn backend_tls(&mut self, node: &Node) -> BackendTls {
        let mut tls = BackendTls::default();
        let known = ["verify", "ca", "name", "client_cert", "client_key"];
        let Some(keys) = self.faults.keys_or("none or ", node, &known, &[]) else { return tls };
        let verify = keys.find("verify").and_then(|node| {
            let words = [("system", Verify::System.name()), ("none", Verify::None.name())];
            self.faults.choice(node, &words, &[]).map(|word| (node, word))
        });
        if let Some((node, word)) = verify {
            tls.verify = if word == Verify::None.name() { Verify::None } else { Verify::System };
            if keys.find("ca").is_some() {
                self.faults.wrong(node, format_args!("is {word} beside ca:, which says by whom; keep one"));
            }
        }
        if let Some(node) = keys.find("ca")
            && let Some(text) = self.content(node)
        {
            match pem::authorities(&text) {
                Ok(authorities) => tls.verify = Verify::By(authorities),
                Err(error) => self.faults.wrong(node, error),
            }
        }
        if let Some(node) = keys.find("name") {
            let text = self.faults.text(node, "the name in the backends' certificate, like shop.example.test");
            match text.as_deref().map(Host::parse) {
                Some(Ok(host)) => tls.name = Some(host.as_str().into()),
                Some(Err(_)) => self
                    .faults
                    .wrong(node, format_args!("{} is not a host; write the name in their certificate", node.value)),
                None => {}
            }
        }
        tls.identity = self.identity(node, &keys);
        tls
    }

    fn identity(&mut self, node: &Node, keys: &Keys<'_>) -> Option<Identity> {
        let (cert, key) = match (keys.find("client_cert"), keys.find("client_key")) {
            (None, None) => return None,
            (Some(cert), Some(key)) => (cert, key),
            (cert, _) => {
                let (has, lacks) =
                    if cert.is_some() { ("client_cert", "client_key") } else { ("client_key", "client_cert") };
                let right = format_args!("has {has} but no {lacks}; add {lacks}: and the path of a PEM file");
                self.faults.wrong(node, right);
                return None;
            }
        };
        let (cert_pem, key_pem) = (self.content(cert), self.content(key));
        let origin = self.origin(format!("{} client certificate", node.path), cert.at);
        match pem::parse(&cert_pem?, &key_pem?, &origin) {
            Ok(parsed) => Some(Identity { chain: parsed.chain, key: parsed.key }),
            Err(error) => {
                self.faults.wrong(cert, error);
                None
            }
        }
    }
}
