//! Pure. What was asked but cannot be done, and who asked for it.
//!
//! Both are shown in logs and on pages, and quote what strangers wrote: control characters are escaped on the way in, so
//! that nobody can write a line of their own into a log or colour a terminal.

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
    /// An origin from its two parts. Control characters are escaped.
    pub fn new(source: impl Into<Arc<str>>, object: impl Into<Arc<str>>) -> Self {
        Self { source: printable(source.into()), object: printable(object.into()) }
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
    /// The same in one word, for machines that count.
    pub cause: Cause,
}

/// Why a piece cannot be served: a small closed set, which labels metrics.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Cause {
    /// What was written makes no sense, or asks for what may not be had.
    #[default]
    Invalid,
    /// Another has the address and port that it asks for.
    AddressTaken,
    /// The address and port cannot be listened to on this host.
    Unopened,
    /// Another has the host, or the host and path, that it asks for.
    HostTaken,
    /// It names something that is not there.
    Missing,
    /// A certificate is missing, broken, ended, or for other names.
    Certificate,
    /// It asks for something that this version does not serve.
    Unsupported,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Invalid,
        Self::AddressTaken,
        Self::Unopened,
        Self::HostTaken,
        Self::Missing,
        Self::Certificate,
        Self::Unsupported,
    ];

    /// Its word on metrics and pages.
    pub fn label(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::AddressTaken => "address-taken",
            Self::Unopened => "unopened",
            Self::HostTaken => "host-taken",
            Self::Missing => "missing",
            Self::Certificate => "certificate",
            Self::Unsupported => "unsupported",
        }
    }
}

impl Problem {
    /// A problem of `origin`, [`Cause::Invalid`] unless [`Problem::because`] says otherwise. Control characters in the
    /// reason are escaped.
    pub fn new(origin: &Origin, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { origin: origin.clone(), reason: escaped(&reason).unwrap_or(reason), cause: Cause::default() }
    }

    /// The same for this cause.
    pub fn because(self, cause: Cause) -> Self {
        Self { cause, ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.reason)
    }
}

fn printable(text: Arc<str>) -> Arc<str> {
    escaped(&text).map_or(text, Arc::from)
}

/// The text with its control characters and breaks of lines escaped; `None` when it has none.
fn escaped(text: &str) -> Option<String> {
    let is_hidden = |c: char| {
        c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.contains(is_hidden).then(|| {
        text.chars().fold(String::with_capacity(text.len() + 8), |mut out, c| {
            if is_hidden(c) {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
            out
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_wrote_stays_on_its_line() {
        let origin = Origin::new("home", "secret/a/b\n2026 ERROR forged");
        let problem = Problem::new(&origin, "its backend\r\n\u{1b}[31mred\u{2028}\u{202e}x – é");
        assert_eq!(
            problem.to_string(),
            r"home: secret/a/b\n2026 ERROR forged: its backend\r\n\u{1b}[31mred\u{2028}\u{202e}x – é"
        );
    }

    #[test]
    fn a_plain_text_is_taken_as_it_is() {
        let text: Arc<str> = "listener web".into();
        assert!(Arc::ptr_eq(&Origin::new("file", text.clone()).object, &text));
    }
}
