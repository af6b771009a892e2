//! A strict reader of Prometheus' text format: what it accepts, every scraper does. Panics tell the line.

use std::collections::BTreeMap;

/// Labels without `le`, sorted by name.
type Labels = BTreeMap<String, String>;

/// A page that was read.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    /// The type of every family.
    pub(crate) families: BTreeMap<String, String>,
    samples: BTreeMap<(String, Labels), f64>,
}

impl Exposition {
    /// Reads a page; panics where it breaks a rule of the format or of naming.
    pub(crate) fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line must end");
        let mut page = Self::default();
        let mut family: Option<(String, String)> = None;
        let mut help: Option<String> = None;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, words) = rest.split_once(' ').expect(line);
                assert!(!words.is_empty(), "no words: {line}");
                help = Some(name.to_owned());
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                assert_eq!(help.take().as_deref(), Some(name), "TYPE follows the HELP of the same family: {line}");
                check_name(name, kind);
                let known = page.families.insert(name.to_owned(), kind.to_owned());
                assert_eq!(known, None, "a family stands in one place: {line}");
                family = Some((name.to_owned(), kind.to_owned()));
            } else {
                assert!(!line.starts_with('#') && !line.is_empty(), "neither comment nor sample: {line:?}");
                let (name, kind) = family.as_ref().expect("a sample has a family");
                page.add(line, name, kind);
            }
        }
        page.check_histograms();
        page
    }

    fn add(&mut self, line: &str, family: &str, kind: &str) {
        let (name, labels, value) = sample(line);
        let suffix = name.strip_prefix(family).expect(line);
        let fits =
            if kind == "histogram" { ["_bucket", "_sum", "_count"].contains(&suffix) } else { suffix.is_empty() };
        assert!(fits, "of another family than {family}: {line}");
        assert!(kind == "gauge" || value >= 0.0, "only gauges may be negative: {line}");
        assert_eq!(self.samples.insert((name, labels), value), None, "twice: {line}");
    }

    fn check_histograms(&self) {
        for family in self.families.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name) {
            let mut by_series: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
            for ((_, labels), count) in self.samples.iter().filter(|((name, _), _)| *name == format!("{family}_bucket"))
            {
                let mut labels = labels.clone();
                let bound = labels.remove("le").expect("a bucket has a bound");
                by_series.entry(labels).or_default().push((number(&bound), *count));
            }
            assert!(!by_series.is_empty(), "{family} has no series");
            for (labels, mut buckets) in by_series {
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
                assert!(buckets.is_sorted_by_key(|(_, count)| *count), "{family}{labels:?} does not cumulate");
                let (last, all) = *buckets.last().unwrap();
                assert!(last.is_infinite(), "{family}{labels:?} has no last bucket");
                assert_eq!(self.samples[&(format!("{family}_count"), labels.clone())], all);
                assert!(self.samples.contains_key(&(format!("{family}_sum"), labels)));
            }
        }
    }

    /// The value of a series written as on the page; the order of labels does not matter.
    pub(crate) fn value(&self, series: &str) -> f64 {
        let (name, labels, _) = sample(&format!("{series} 0"));
        *self.samples.get(&(name, labels)).unwrap_or_else(|| panic!("no series {series}"))
    }

    /// How many series there are whose name is this.
    pub(crate) fn series(&self, name: &str) -> usize {
        self.samples.keys().filter(|(of, _)| of == name).count()
    }

    /// All values that a label of this name has, on series of this name.
    pub(crate) fn values_of(&self, name: &str, label: &str) -> Vec<&str> {
        self.samples.keys().filter(|(of, _)| of == name).filter_map(|(_, l)| l.get(label)).map(String::as_str).collect()
    }
}

/// The rules `promtool check metrics` enforces.
fn check_name(name: &str, kind: &str) {
    assert!(is_name(name) && !name.contains(':'), "{name}");
    assert!(["counter", "gauge", "histogram"].contains(&kind), "{name} {kind}");
    assert_eq!(name.ends_with("_total"), kind == "counter", "{name} {kind}: counters and they alone end in _total");
    for suffix in ["_bucket", "_sum", "_count"] {
        assert!(!name.ends_with(suffix), "{name} looks like part of a histogram");
    }
    for unit in ["_ms", "_milliseconds", "_kilobytes", "_minutes", "_percent"] {
        assert!(!name.contains(unit), "{name} is not in a base unit");
    }
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

fn sample(line: &str) -> (String, Labels, f64) {
    let name_end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line:?}"));
    let (name, mut rest) = line.split_at(name_end);
    assert!(is_name(name), "{line:?}");
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line:?}"));
            assert!(is_name(label) && !label.starts_with("__"), "{line:?}");
            let (value, after) = quoted(after, line);
            assert_eq!(labels.insert(label.to_owned(), value), None, "a label twice: {line:?}");
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None => {
                    rest = after.strip_prefix('}').unwrap_or_else(|| panic!("{line:?}"));
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line:?}"));
    (name.to_owned(), labels, number(value))
}

/// The text up to the closing quote, and what comes after that.
fn quoted<'t>(text: &'t str, line: &str) -> (String, &'t str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c @ ('"' | '\\'))) => value.push(c),
                other => panic!("escape {other:?} in {line:?}"),
            },
            c => value.push(c),
        }
    }
    panic!("a label does not end: {line:?}")
}

fn number(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        text => {
            let number: f64 = text.parse().unwrap_or_else(|_| panic!("{text:?} is not a number"));
            assert!(number.is_finite(), "{text:?}");
            number
        }
    }
}
