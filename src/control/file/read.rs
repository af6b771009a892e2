//! Pure. From the tree to values: each step that fails names the key, what is wrong and what would be right, and the
//! reading goes on.

use std::collections::HashMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::fault::{At, Faults};
use super::nearest::nearest;
use super::node::{Key, Node, Value};
use crate::control::{amount, time};
use crate::model::intent::Rate;

/// A key that the format knows and this version does not serve, with the values that say what is done anyway.
pub(super) type Unserved = (&'static str, &'static [&'static str]);

/// The keys of one map, checked against the known ones.
pub(super) struct Keys<'n> {
    /// Where the map stands.
    pub(super) at: At,
    /// The map's own path.
    pub(super) path: &'n str,
    found: HashMap<&'n str, &'n Node>,
}

impl<'n> Keys<'n> {
    /// What stands under a key; `None` when it is absent or empty.
    pub(super) fn find(&self, key: &str) -> Option<&'n Node> {
        self.found.get(key).copied()
    }
}

impl Faults {
    /// Says what is wrong with a value.
    pub(super) fn wrong(&mut self, node: &Node, message: impl Display) {
        if node.path.is_empty() {
            self.add(node.at, message.to_string());
        } else {
            self.add(node.at, format!("{}: {message}", node.path));
        }
    }

    /// Says that a value of one kind was expected and another is there.
    fn expected(&mut self, node: &Node, right: &str) {
        self.wrong(node, format_args!("is {}; write {right}", node.value));
    }

    /// The entries of a map whose keys are names the user gives. Repeated and malformed names are left out.
    pub(super) fn named<'n>(&mut self, node: &'n Node, of: &str) -> Vec<(&'n Key, &'n Node)> {
        let entries = self.entries(node, &format!("one key for each {of}, its name"));
        let mut seen = HashMap::new();
        let mut named = Vec::new();
        for (key, value) in entries {
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
            if key.text.is_empty() || key.text.len() > 63 || !key.text.chars().all(fits) {
                let name: String = key.text.chars().take(80).collect();
                self.add(key.at, format!("{of} name {name:?}: write 1 to 63 of a-z, 0-9, '-', '_' and '.'"));
            } else if self.is_first(&mut seen, key, &value.path) {
                named.push((key, value));
            }
        }
        named
    }

    /// The entries of a map whose keys are any text, each once.
    pub(super) fn pairs<'n>(&mut self, node: &'n Node, right: &str) -> Vec<(&'n Key, &'n Node)> {
        let mut seen = HashMap::new();
        let entries = self.entries(node, right).iter();
        entries.filter(|(key, value)| self.is_first(&mut seen, key, &value.path)).map(|(k, v)| (k, v)).collect()
    }

    /// The keys of a map, each of which must be known.
    pub(super) fn keys<'n>(&mut self, node: &'n Node, known: &[&str], unserved: &[Unserved]) -> Option<Keys<'n>> {
        self.keys_or("", node, known, unserved)
    }

    /// The same, where words may stand in their place: `words` says which, as in `none or `.
    pub(super) fn keys_or<'n>(
        &mut self,
        words: &str,
        node: &'n Node,
        known: &[&str],
        unserved: &[Unserved],
    ) -> Option<Keys<'n>> {
        if !matches!(node.value, Value::Map(_) | Value::Nothing) {
            self.expected(node, &format!("{words}keys: {}", known.join(", ")));
            return None;
        }
        let mut seen = HashMap::new();
        let mut found = HashMap::new();
        for (key, value) in self.entries(node, "keys") {
            if !self.is_first(&mut seen, key, &value.path) {
                continue;
            }
            if known.contains(&key.text.as_str()) {
                if !matches!(value.value, Value::Nothing) {
                    found.insert(key.text.as_str(), value);
                }
            } else if let Some((_, harmless)) = unserved.iter().find(|(name, _)| *name == key.text) {
                self.check_unserved(key, value, harmless);
            } else {
                self.unknown(key, &node.path, known);
            }
        }
        Some(Keys { at: node.at, path: &node.path, found })
    }

    fn entries<'n>(&mut self, node: &'n Node, right: &str) -> &'n [(Key, Node)] {
        match &node.value {
            Value::Map(entries) => entries,
            Value::Nothing => &[],
            _ => {
                self.expected(node, right);
                &[]
            }
        }
    }

    fn is_first<'n>(&mut self, seen: &mut HashMap<&'n str, At>, key: &'n Key, path: &str) -> bool {
        if let Some(first) = seen.get(key.text.as_str()) {
            self.add(key.at, format!("{path}: is written twice, first in line {}; keep one", first.line));
            return false;
        }
        seen.insert(&key.text, key.at);
        true
    }

    fn check_unserved(&mut self, key: &Key, value: &Node, harmless: &[&str]) {
        let shown = match &value.value {
            Value::Text(text) => text.clone(),
            Value::Nothing => "none".to_owned(),
            Value::List(items) if items.is_empty() => "none".to_owned(),
            other => other.to_string(),
        };
        if !harmless.contains(&shown.as_str()) {
            let path = &value.path;
            self.add(key.at, format!("{path}: is not served by this version; leave it out"));
        }
    }

    fn unknown(&mut self, key: &Key, within: &str, known: &[&str]) {
        let name: String = key.text.chars().take(80).collect();
        let place = if within.is_empty() { "at the top".to_owned() } else { format!("in {within}") };
        let meant = nearest(&name, known.iter().copied()).map(|m| format!("did you mean {m:?}? ")).unwrap_or_default();
        self.add(key.at, format!("unknown key {name:?} {place}; {meant}known here: {}", known.join(", ")));
    }

    /// Text. Numbers are taken as they are written, so that a pool may be called 1.
    pub(super) fn text(&mut self, node: &Node, right: &str) -> Option<String> {
        match &node.value {
            Value::Text(text) => Some(text.clone()),
            Value::Whole(number) => Some(number.to_string()),
            Value::Switch(_) | Value::Real(_) => {
                self.expected(node, &format!("{right}, in quotes"));
                None
            }
            _ => {
                self.expected(node, right);
                None
            }
        }
    }

    /// Text that a type can parse; `right` says what it should look like.
    pub(super) fn parsed<T: FromStr>(&mut self, node: &Node, right: &str) -> Option<T> {
        let text = self.text(node, right)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.expected(node, right);
        }
        parsed
    }

    /// A whole number within a range.
    pub(super) fn whole(&mut self, node: &Node, range: RangeInclusive<i64>) -> Option<i64> {
        match node.value {
            Value::Whole(number) if range.contains(&number) => Some(number),
            _ => {
                self.expected(node, &format!("a whole number from {} to {}", range.start(), range.end()));
                None
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn switch(&mut self, node: &Node) -> Option<bool> {
        match node.value {
            Value::Switch(on) => Some(on),
            _ => {
                self.expected(node, "true or false");
                None
            }
        }
    }

    /// One of some words. `unserved` are words of the format that this version does not serve.
    pub(super) fn choice<T: Copy>(&mut self, node: &Node, words: &[(&str, T)], unserved: &[&str]) -> Option<T> {
        let right = in_words(&words.iter().map(|(word, _)| *word).collect::<Vec<_>>());
        let text = self.text(node, &right)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        // A word with an argument is known by its beginning: `hash:uri`.
        let kind = text.split(':').next().unwrap_or_default();
        if unserved.contains(&kind) {
            self.wrong(node, format_args!("{text} is not served by this version; write {right}"));
        } else {
            self.expected(node, &right);
        }
        None
    }

    /// A time such as `500ms`, `1m30s` or `2h`, within a range.
    pub(super) fn duration(&mut self, node: &Node, range: RangeInclusive<Duration>) -> Option<Duration> {
        let right =
            format!("a time with its unit, from {} to {}", time::written(*range.start()), time::written(*range.end()));
        let parsed = match &node.value {
            Value::Text(text) => time::parse(text),
            Value::Whole(0) => Some(Duration::ZERO),
            _ => None,
        };
        match parsed.filter(|duration| range.contains(duration)) {
            Some(duration) => Some(duration),
            None => {
                self.expected(node, &format!("{right}, like 500ms, 1s or 5m"));
                None
            }
        }
    }

    /// A whole number up to `most`, or `none`, which is 0.
    pub(super) fn count(&mut self, node: &Node, most: u32) -> Option<u32> {
        match &node.value {
            Value::Text(text) if text == "none" => Some(0),
            Value::Whole(number) => u32::try_from(*number).ok().filter(|number| *number <= most),
            _ => None,
        }
        .or_else(|| {
            self.expected(node, &format!("none or a whole number from 0 to {most}"));
            None
        })
    }

    /// So many bytes, as `10MB` or `512MiB`, within a range; `per_second`: `10MB/s` is the same.
    pub(super) fn bytes(&mut self, node: &Node, range: RangeInclusive<u64>, per_second: bool) -> Option<u64> {
        let parsed = match &node.value {
            Value::Text(text) if per_second => amount::bytes(text.strip_suffix("/s").unwrap_or(text).trim_end()),
            Value::Text(text) => amount::bytes(text),
            _ => None,
        };
        parsed.filter(|bytes| range.contains(bytes)).or_else(|| {
            let (least, most) = (amount::written(*range.start()), amount::written(*range.end()));
            self.expected(node, &format!("bytes with their unit, from {least} to {most}, like 500kB, 10MB or 64MiB"));
            None
        })
    }

    /// So many in a time, as `20/s`.
    pub(super) fn rate(&mut self, node: &Node) -> Option<Rate> {
        let parsed = match &node.value {
            Value::Text(text) => amount::rate(text),
            _ => None,
        };
        parsed.or_else(|| {
            self.expected(node, "none, or how many in a second, a minute or an hour, like 20/s, 300/m or 5000/h");
            None
        })
    }

    /// The items of a list.
    pub(super) fn list<'n>(&mut self, node: &'n Node, right: &str) -> &'n [Node] {
        match &node.value {
            Value::List(items) => items,
            _ => {
                self.expected(node, right);
                &[]
            }
        }
    }
}

/// The items of a list, or the one value that stands for a list of one.
pub(super) fn one_or_list(node: &Node) -> &[Node] {
    match &node.value {
        Value::List(items) => items,
        _ => std::slice::from_ref(node),
    }
}

/// A choice among words: `tcp, http or https`.
fn in_words(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [more @ .., last] => format!("{} or {last}", more.join(", ")),
    }
}
