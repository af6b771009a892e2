//! Pure. Lengths of time as people write them, in the file and in annotations alike.

use std::time::Duration;

/// Units from the longest, with their milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Parts such as `1h30m`, each a whole number and its unit (`ms`, `s`, `m`, `h`, `d`), added up. `None` when it is not
/// such a text, or longer than can be counted.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (_, millis) = UNITS.iter().find(|(unit, _)| *unit == &rest[..letters])?;
        sum = sum.checked_add(Duration::from_millis(number.checked_mul(*millis)?))?;
        rest = &rest[letters..];
    }
    (!text.is_empty()).then_some(sum)
}

/// The shortest text of one part that [`parse`] takes for this time, which is cut to milliseconds.
pub(super) fn written(duration: Duration) -> String {
    let millis = duration.as_millis();
    let fits = |(_, unit): &&(&str, u64)| millis != 0 && millis.is_multiple_of(u128::from(*unit));
    UNITS
        .iter()
        .find(fits)
        .map_or_else(|| "0s".to_owned(), |(name, unit)| format!("{}{name}", millis / u128::from(*unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_whole_numbers_with_units() {
        for (text, millis) in
            [("500ms", 500), ("1s", 1_000), ("5m", 300_000), ("1h30m", 5_400_000), ("2d", 172_800_000)]
        {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "s", "1.5s", "-1s", "1 s", "1w", "99999999999999999999s", "18446744073709551615d", "1sé"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        for (millis, text) in [(0, "0s"), (90_000, "90s"), (3_600_000, "1h"), (100, "100ms"), (86_400_000, "1d")] {
            assert_eq!(written(Duration::from_millis(millis)), text);
            assert_eq!(parse(text), Some(Duration::from_millis(millis)));
        }
    }
}
