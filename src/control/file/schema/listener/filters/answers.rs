//! Pure. What becomes of answers: `compress:` and `errors:`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::Door;
use crate::control::ask;
use crate::control::file::node::{Node, Value};
use crate::control::file::read::one_or_list;
use crate::model::intent::filter::{Coding, Compress, ErrorPage};

/// Larger bodies than that are worth a coding, whoever asks.
const MIN_SIZE: RangeInclusive<u64> = 0..=1_000_000_000;
/// Statuses that are errors.
const STATUSES: RangeInclusive<u16> = 400..=599;
/// Pages are kept in memory.
const PAGE: usize = 1024 * 1024;

impl Door<'_> {
    /// `compress: true`, or with what else there is to say.
    pub(super) fn compress(&mut self, node: &Node) -> Option<Compress> {
        let mut compress = ask::compress();
        if let Value::Switch(on) = node.value {
            return on.then_some(compress);
        }
        let keys = self.faults.keys_or("true, false or ", node, &["codings", "types", "min_size"], &[])?;
        if let Some(node) = keys.find("codings") {
            compress.codings.clear();
            for item in one_or_list(node) {
                let words = [("gzip", Coding::Gzip), ("br", Coding::Br), ("zstd", Coding::Zstd)];
                if let Some(coding) = self.faults.choice(item, &words, &[]).filter(|c| !compress.codings.contains(c)) {
                    compress.codings.push(coding);
                }
            }
        }
        if let Some(node) = keys.find("types") {
            compress.types = one_or_list(node).iter().filter_map(|item| self.media_type(item)).collect();
        }
        if let Some(node) = keys.find("min_size") {
            compress.min_size = self.faults.bytes(node, MIN_SIZE, false)?;
        }
        if compress.codings.is_empty() || compress.types.is_empty() {
            self.faults.wrong(node, "compresses nothing; name some codings and types, or leave them out for the usual");
        }
        Some(compress)
    }

    fn media_type(&mut self, node: &Node) -> Option<Arc<str>> {
        let text = self.faults.text(node, "a media type like text/html or text/*")?;
        let is_token = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
        let is_type = |(kind, of): (&str, &str)| is_token(kind) && kind != "*" && is_token(of);
        if !text.split_once('/').is_some_and(is_type) || text.contains(';') || text.len() > 127 {
            self.faults
                .wrong(node, format_args!("{} is no media type; write one like text/html or text/*", node.value));
            return None;
        }
        Some(text.to_ascii_lowercase().into())
    }

    /// `errors: {503: FILE}`, or with what else there is to say of a page.
    pub(super) fn errors(&mut self, node: &Node) -> BTreeMap<u16, ErrorPage> {
        let mut pages = BTreeMap::new();
        let Value::Map(entries) = &node.value else {
            self.faults.wrong(node, format_args!("is {}; write pages by status, as {{503: sorry.html}}", node.value));
            return pages;
        };
        for (key, node) in entries {
            let Some(status) = key.text.parse().ok().filter(|status| STATUSES.contains(status)) else {
                let (least, most) = STATUSES.into_inner();
                let wrong = format!("{}: is no status of an error; write one from {least} to {most}", node.path);
                self.faults.add(key.at, wrong);
                continue;
            };
            let Some(page) = self.error_page(node) else { continue };
            if pages.insert(status, page).is_some() {
                self.faults.add(key.at, format!("{}: is written twice; keep one", node.path));
            }
        }
        pages
    }

    fn error_page(&mut self, node: &Node) -> Option<ErrorPage> {
        let (file, kind, backends) = match &node.value {
            Value::Map(_) => {
                let keys = self.faults.keys(node, &["file", "type", "backends"], &[])?;
                let Some(file) = keys.find("file") else {
                    self.faults.wrong(node, "has no file; add file: and the path of the page");
                    return None;
                };
                let backends = keys.find("backends").map_or(Some(false), |node| self.faults.switch(node));
                (file, keys.find("type"), backends?)
            }
            _ => (node, None, false),
        };
        let content_type = match kind {
            Some(node) => {
                let text = self.faults.text(node, "a media type like text/html; charset=utf-8")?;
                if !text.contains('/') || !text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
                    let right = "write one like text/html; charset=utf-8";
                    self.faults.wrong(node, format_args!("{} is no media type; {right}", node.value));
                }
                text.as_str().into()
            }
            None => match self.faults.text(file, "the path of a file")?.rsplit_once('.').map(|(_, end)| end) {
                Some("json") => "application/json".into(),
                Some("txt") => "text/plain; charset=utf-8".into(),
                Some("xml") => "application/xml".into(),
                _ => "text/html; charset=utf-8".into(),
            },
        };
        let body = self.content(file)?;
        if body.len() > PAGE {
            self.faults.wrong(file, format_args!("is {} bytes long; a page may have 1MiB", body.len()));
            return None;
        }
        Some(ErrorPage { content_type, body: body.into(), backends })
    }
}
