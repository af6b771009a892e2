//! Counts of answers by status code, with a bounded number of series.

use super::shard::Count;

/// Codes that have a series of their own; any other is counted with its class.
const KNOWN: [u16; 31] = [
    101, 200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 408, 409, 410, 413, 414, 415,
    421, 422, 429, 431, 500, 502, 503, 504,
];
const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// One count a known code and one a class.
#[derive(Debug, Default)]
pub struct Codes {
    known: [Count; KNOWN.len()],
    classes: [Count; CLASSES.len()],
}

impl Codes {
    /// Counts an answer with this status.
    pub fn record(&self, status: u16) {
        match KNOWN.binary_search(&status) {
            Ok(slot) => self.known[slot].add(1),
            Err(_) => self.classes[class(status)].add(1),
        }
    }

    /// The label and count of every code that was seen.
    pub fn seen(&self) -> impl Iterator<Item = (CodeLabel, u64)> {
        let known = KNOWN.iter().zip(&self.known).map(|(code, count)| (CodeLabel::Code(*code), count.get()));
        let classes = CLASSES.iter().zip(&self.classes).map(|(name, count)| (CodeLabel::Class(name), count.get()));
        known.chain(classes).filter(|(_, count)| *count > 0)
    }
}

/// The value of the label `code`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum CodeLabel {
    /// `404`
    Code(u16),
    /// `4xx`, for codes without a series of their own.
    Class(&'static str),
}

impl std::fmt::Display for CodeLabel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "{code}"),
            Self::Class(name) => f.write_str(name),
        }
    }
}

fn class(status: u16) -> usize {
    match status / 100 {
        c @ 1..=5 => usize::from(c),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_codes_stand_alone_and_others_with_their_class() {
        assert!(KNOWN.is_sorted());
        let codes = Codes::default();
        for status in [200, 200, 404, 418, 599, 999] {
            codes.record(status);
        }
        let seen: Vec<_> = codes.seen().map(|(label, count)| format!("{label}={count}")).collect();
        assert_eq!(seen, ["200=2", "404=1", "other=1", "4xx=1", "5xx=1"]);
    }
}
