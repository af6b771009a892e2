//! Pure. YAML as a tree in which each value knows its place and its key.
//!
//! Derived serde structs would stop at the first mistake; a tree lets `schema` name all of them at once. The tree is
//! read through serde all the same, so anchors, merge keys and the limits against hostile input are the library's.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DefaultMessageFormatter, DuplicateKeyPolicy, Location, MessageFormatter, Spanned};

use super::fault::{At, FileError};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where it begins.
    pub(super) at: At,
    /// Its keys from the top: `pools.site.retries`; empty at the top.
    pub(super) path: String,
    /// What stands there.
    pub(super) value: Value,
}

/// What can stand in YAML.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Nothing, or `null`.
    Nothing,
    /// `true` or `false`.
    Switch(bool),
    /// A whole number.
    Whole(i64),
    /// Another number.
    Real(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Keys and values, in the order of the file; keys may repeat.
    Map(Vec<(Key, Node)>),
}

/// A key and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) at: At,
    pub(super) text: String,
}

impl fmt::Display for Value {
    /// The value as an error shows it: short.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Switch(on) => write!(f, "{on}"),
            Self::Whole(number) => write!(f, "{number}"),
            Self::Real(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{:?}", text.chars().take(80).collect::<String>()),
            Self::List(_) => f.write_str("a list"),
            Self::Map(_) => f.write_str("a set of keys"),
        }
    }
}

/// Reads YAML. The error is that of the library with its place, and what would be right where that is known.
pub(super) fn parse(text: &str, file: &Arc<str>) -> Result<Node, FileError> {
    let options = serde_saphyr::options! {
        // The format is six levels deep; each level costs the stack of this thread.
        budget: serde_saphyr::budget! { max_depth: 16 },
        // Repeated keys are named with all else that is wrong.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(raw) => Ok(settle(raw, String::new())),
        Err(error) => {
            let at = error.location().map(At::from).unwrap_or_default();
            let message = DefaultMessageFormatter.format_message(error.without_snippet()).escape_debug().to_string();
            Err(FileError { file: file.clone(), at, message: format!("not valid YAML: {message}{}", hint(text, at)) })
        }
    }
}

/// The two values of this file that YAML takes for something else when they stand bare.
fn hint(text: &str, at: At) -> &'static str {
    let around = (at.line.saturating_sub(1) as usize).saturating_sub(1)..=(at.line.saturating_sub(1) as usize);
    let near = |what: &str| text.lines().enumerate().any(|(i, line)| around.contains(&i) && line.contains(what));
    if near(": *.") || near("- *.") || near("[*.") {
        "; a host that begins with * must be quoted, as in \"*.example.test\""
    } else if near("[::") {
        "; an address in brackets must be quoted, as in \"[::]:8080\""
    } else {
        ""
    }
}

impl From<Location> for At {
    fn from(place: Location) -> Self {
        let clip = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Self { line: clip(place.line()), column: clip(place.column()) }
    }
}

fn settle(raw: Spanned<Raw>, path: String) -> Node {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    let value = match raw.value {
        Raw::Plain(value) => value,
        Raw::List(items) => Value::List(
            items.into_iter().enumerate().map(|(i, item)| settle(item, format!("{path}[{}]", i + 1))).collect(),
        ),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let path = below(&key.value);
                    (Key { at: key.referenced.into(), text: key.value }, settle(value, path))
                })
                .collect(),
        ),
    };
    Node { at: raw.referenced.into(), path, value }
}

/// The tree as serde builds it, before paths are known.
enum Raw {
    Plain(Value),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys, a list, text, a number, true or false")
    }

    fn visit_unit<E: Error>(self) -> Result<Raw, E> {
        Ok(Raw::Plain(Value::Nothing))
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<Raw, E> {
        Ok(Raw::Plain(Value::Switch(on)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Raw, E> {
        Ok(Raw::Plain(Value::Whole(number)))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Raw, E> {
        Ok(Raw::Plain(i64::try_from(number).map_or(Value::Real(number as f64), Value::Whole)))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Raw, E> {
        Ok(Raw::Plain(Value::Real(number)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Plain(Value::Text(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Node {
        parse(text, &"f.yaml".into()).unwrap()
    }

    fn entry<'n>(node: &'n Node, key: &str) -> (&'n Key, &'n Node) {
        let Value::Map(entries) = &node.value else { panic!("{node:?}") };
        entries.iter().find(|(k, _)| k.text == key).map(|(k, v)| (k, v)).unwrap()
    }

    #[test]
    fn values_know_their_place_and_path() {
        let node = read("# head\na:\n  b: [x, 2, true, ~, 1.5]\n  c: {d: e}\n");
        let (key, a) = entry(&node, "a");
        assert_eq!(key.at, At { line: 2, column: 1 });
        let (key, b) = entry(a, "b");
        assert_eq!(key.at, At { line: 3, column: 3 });
        let Value::List(items) = &b.value else { panic!() };
        assert_eq!(items[1].at, At { line: 3, column: 10 });
        assert_eq!(items[1].path, "a.b[2]");
        let shown: Vec<_> = items.iter().map(|i| i.value.to_string()).collect();
        assert_eq!(shown, ["\"x\"", "2", "true", "nothing", "1.5"]);
        assert_eq!(entry(entry(a, "c").1, "d").1.path, "a.c.d");
    }

    #[test]
    fn repeated_keys_and_anchors_are_kept() {
        let node = read("a: &x {p: 1}\na: *x\n");
        let Value::Map(entries) = &node.value else { panic!() };
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[1].1.at, At { line: 2, column: 4 });
        assert!(matches!(read("").value, Value::Nothing));
    }

    #[test]
    fn broken_yaml_has_a_place_and_a_hint() {
        let error = |text: &str| parse(text, &"f.yaml".into()).unwrap_err().to_string();
        let e = error("a: b\nc: [1\nd: 2\n");
        assert!(e.starts_with("f.yaml:"), "{e}");
        let e = error("host: *.example.test\n");
        assert!(e.starts_with("f.yaml:1:") && e.contains("must be quoted"), "{e}");
        let e = error("a: 1\nbind: [::]:8080\n");
        assert!(e.starts_with("f.yaml:2:") && e.contains("\"[::]:8080\""), "{e}");
        for deep in ["[".repeat(10_000), "- ".repeat(10_000), "a: {".repeat(10_000)] {
            let e = error(&deep);
            assert!(e.starts_with("f.yaml:"), "{e}");
        }
    }
}
