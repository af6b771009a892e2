//! Pure. Changes to the fields of a message.
//!
//! What frames a message or is for one hop alone is never the edits' to touch: a length that is not that of the body is
//! how requests are smuggled.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::model::intent::filter::FieldEdits;

/// The longest value, in bytes.
const LONGEST: usize = 8 * 1024;

/// Names that no edit may touch.
const KEPT: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Changes to fields, ready for use.
#[derive(Debug)]
pub struct FieldPlan {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderValue)>,
    add: Vec<(HeaderName, HeaderValue)>,
}

impl FieldPlan {
    /// The plan of these edits; `None` when they change nothing.
    ///
    /// # Errors
    /// The first name or value that may not be.
    pub fn of(edits: &FieldEdits) -> Result<Option<Self>, String> {
        if edits.is_empty() {
            return Ok(None);
        }
        let pairs = |all: &[(Arc<str>, Arc<str>)]| {
            all.iter().map(|(n, v)| Ok((name(n)?, value(v)?))).collect::<Result<_, String>>()
        };
        Ok(Some(Self {
            remove: edits.remove.iter().map(|text| name(text)).collect::<Result<_, _>>()?,
            set: pairs(&edits.set)?,
            add: pairs(&edits.add)?,
        }))
    }

    /// Makes the changes: first what is removed, then what is set, then what is added. What no longer fits into the map
    /// (over 32,768 fields) is left out.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            let _ = headers.try_insert(name, value.clone());
        }
        for (name, value) in &self.add {
            let _ = headers.try_append(name, value.clone());
        }
    }
}

/// The name of a field that may be edited.
///
/// # Errors
/// What is wrong with it and what would be right.
pub fn name(text: &str) -> Result<HeaderName, String> {
    let shown: String = text.chars().take(80).collect();
    let name = HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| format!("{shown:?} is not the name of a field; write one like X-Team"))?;
    match name.as_str() {
        "host" => Err("Host is not a field to edit; write rewrite_host: NAME".to_owned()),
        kept if KEPT.contains(&kept) => {
            Err(format!("{shown} frames the message or is for one connection alone, so it is not yours to edit"))
        }
        _ => Ok(name),
    }
}

/// The value of a field.
///
/// # Errors
/// What is wrong with it and what would be right. It does not say the value, which may be a secret.
pub fn value(text: &str) -> Result<HeaderValue, String> {
    if text.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes; the value of a field is at most so long"));
    }
    let value = HeaderValue::from_str(text).ok().filter(|_| text.trim() == text);
    let right = "write plain characters, no line breaks, no spaces around them";
    value.ok_or_else(|| format!("what is written is not the value of a field; {right}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edits(remove: &[&str], set: &[(&str, &str)], add: &[(&str, &str)]) -> FieldEdits {
        let pairs = |all: &[(&str, &str)]| all.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        FieldEdits { remove: remove.iter().map(|n| (*n).into()).collect(), set: pairs(set), add: pairs(add) }
    }

    #[test]
    fn what_is_removed_goes_first_then_sets_then_additions() {
        let plan =
            FieldPlan::of(&edits(&["x-a", "server"], &[("x-b", "2"), ("x-c", "3")], &[("x-c", "4"), ("x-a", "5")]));
        let mut headers = HeaderMap::new();
        for (name, value) in [("x-a", "1"), ("x-a", "1"), ("x-b", "1"), ("server", "x"), ("x-d", "1")] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        plan.unwrap().unwrap().apply(&mut headers);
        let all = |name: &str| headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!((all("x-a"), all("x-b"), all("x-c")), (vec!["5"], vec!["2"], vec!["3", "4"]));
        assert_eq!((all("server").len(), all("x-d")), (0, vec!["1"]));
        assert!(FieldPlan::of(&FieldEdits::default()).unwrap().is_none());
    }

    #[test]
    fn what_frames_a_message_is_not_for_edits() {
        for bad in KEPT.iter().copied().chain(["Transfer-Encoding", "", "a b", "x:y", ":path", "é", "x\r\ny"]) {
            assert!(name(bad).is_err(), "{bad}");
        }
        for bad in ["a\r\nb", "a\nb", "a\0", " a", "a "] {
            let error = value(bad).unwrap_err();
            assert!(error.contains("is not the value of a field") && !error.contains(&format!("{bad:?}")), "{error}");
        }
        assert_eq!(name("X-Team").unwrap(), "x-team");
        assert!(value("").is_ok() && value("max-age=1; x=\"y\"").is_ok());
        assert!(FieldPlan::of(&edits(&[], &[("host", "a")], &[])).unwrap_err().contains("rewrite_host"));
    }
}
