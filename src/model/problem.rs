//! Pure. What was asked but cannot be done, and who asked for it.

use std::fmt;
use std::sync::Arc;

/// Who asked for a thing: the source of configuration and, in that source's own words, the object.
///
/// Opaque to everything but the source itself; others show it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Origin {
    /// The source's name: `file`, or the name of a cluster in the file.
    pub source: Arc<str>,
    /// The object in that source: `listener web`, `ingress/default/shop`.
    pub object: Arc<str>,
}

impl Origin {
    /// An origin from its two parts.
    pub fn new(source: impl Into<Arc<str>>, object: impl Into<Arc<str>>) -> Self {
        Self { source: source.into(), object: object.into() }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.object)
    }
}

/// One piece that cannot be served as asked. It spoils nothing else.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Problem {
    /// Who asked.
    pub origin: Origin,
    /// What is wrong and what would be right, for the person who must act.
    pub reason: String,
}

impl Problem {
    /// A problem of `origin`.
    pub fn new(origin: &Origin, reason: impl Into<String>) -> Self {
        Self { origin: origin.clone(), reason: reason.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.reason)
    }
}
