//! Pure. Edits of messages: of their fields, of the places that answers name, of bodies. Who applies them is
//! `proxy/http/filter.rs`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::seconds;

/// Changes to the fields of a message: first those removed, then those set, then those added.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq, Serialize)]
pub struct FieldEdits {
    /// Names, lower-case.
    pub remove: Vec<Arc<str>>,
    /// Instead of whatever is there.
    #[serde(serialize_with = "fields")]
    pub set: Vec<(Arc<str>, Arc<str>)>,
    /// Beside whatever is there.
    #[serde(serialize_with = "fields")]
    pub add: Vec<(Arc<str>, Arc<str>)>,
}

impl FieldEdits {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

/// What backends say of places, and what clients are told in its stead: (what is there, what is put there). Each is
/// looked for once, the first that fits is taken.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq, Serialize)]
pub struct Renames {
    /// The beginning of a `Location`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<(Arc<str>, Arc<str>)>,
    /// The whole `Domain` of a cookie, whatever its case and a dot before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie_domain: Option<(Arc<str>, Arc<str>)>,
    /// The beginning of the `Path` of a cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie_path: Option<(Arc<str>, Arc<str>)>,
}

impl Renames {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What browsers are told about https.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Hsts {
    /// For how long.
    #[serde(serialize_with = "seconds")]
    pub max_age: Duration,
    /// Whether it is for all below the host too.
    pub subdomains: bool,
    /// Whether browsers may ship with it.
    pub preload: bool,
}

impl fmt::Display for Hsts {
    /// The value of `Strict-Transport-Security` (RFC 6797 §6.1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { max_age, subdomains, preload } = self;
        write!(f, "max-age={}", max_age.as_secs())?;
        if *subdomains {
            f.write_str("; includeSubDomains")?;
        }
        if *preload {
            f.write_str("; preload")?;
        }
        Ok(())
    }
}

/// How answers are compressed.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Compress {
    /// Codings that are offered; of those that the client likes equally the first is taken.
    pub codings: Vec<Coding>,
    /// Media types that are compressed, like `text/html` or `text/*`.
    pub types: Vec<Arc<str>>,
    /// Bodies known to be smaller than this, in bytes, stay as they are.
    pub min_size: u64,
}

impl Compress {
    /// The codings that are offered where none are named: what costs least for what it saves comes first.
    pub fn usual_codings() -> Vec<Coding> {
        vec![Coding::Zstd, Coding::Br, Coding::Gzip]
    }

    /// The media types that are compressed where none are named: text, and what is written as text.
    pub fn usual_types() -> Vec<Arc<str>> {
        let types = [
            "text/*",
            "application/javascript",
            "application/json",
            "application/ld+json",
            "application/manifest+json",
            "application/wasm",
            "application/xhtml+xml",
            "application/xml",
            "image/svg+xml",
        ];
        types.map(Arc::from).to_vec()
    }

    /// Bodies below this are not worth a coding where no size is named, in bytes: they fit into one segment as they
    /// are.
    pub const USUAL_MIN_SIZE: u64 = 1024;
}

/// A coding of bodies (RFC 9110 §8.4.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Br,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// Its name in `Accept-Encoding` and `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Br => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// A body of our own.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct ErrorPage {
    /// Its media type.
    pub content_type: Arc<str>,
    /// The body.
    #[serde(serialize_with = "length")]
    pub body: Bytes,
    /// Whether it also stands in place of what backends answer with this status.
    pub backends: bool,
}

/// Fields as they are, but for the values of those that by their name are there to be believed.
fn fields<S: Serializer>(fields: &[(Arc<str>, Arc<str>)], to: S) -> Result<S::Ok, S::Error> {
    const TELLING: [&str; 7] = ["auth", "cookie", "key", "pass", "secret", "session", "token"];
    let is_secret = |name: &str| TELLING.iter().any(|part| name.contains(part));
    let shown = |(name, value): &'_ (Arc<str>, Arc<str>)| match is_secret(name) {
        true => (Arc::clone(name), Arc::from("hidden")),
        false => (Arc::clone(name), Arc::clone(value)),
    };
    to.collect_seq(fields.iter().map(shown))
}

fn length<S: Serializer>(body: &Bytes, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{} bytes", body.len()))
}
