//! Pure. Amounts of bytes and rates as people write them, in the file and in annotations alike.

use std::time::Duration;

use crate::model::intent::Rate;

/// Units with their bytes: those of disks and networks count by 1000, those of memory by 1024.
const UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// A whole number and its unit (`B`, `kB`, `MB`, `GB`, `KiB`, `MiB` or `GiB`), as bytes. `None` when it is not such a
/// text, or more than can be counted.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let (_, unit) = UNITS.iter().find(|(unit, _)| *unit == text[digits..].trim_start())?;
    number.checked_mul(*unit)
}

/// So many bytes as [`bytes()`] takes them: in the largest unit by which they are whole.
pub(super) fn written(bytes: u64) -> String {
    let fits = |(_, unit): &&(&str, u64)| bytes >= *unit && bytes.is_multiple_of(*unit);
    let largest = UNITS.iter().filter(fits).max_by_key(|(_, unit)| *unit);
    largest.map_or_else(|| format!("{bytes}B"), |(name, unit)| format!("{}{name}", bytes / unit))
}

/// `20/s`, `300/m` or `5000/h`, from 1 to 1,000,000 of them. `None` when it is not such a text.
pub(super) fn rate(text: &str) -> Option<Rate> {
    let (count, per) = text.split_once('/')?;
    let per = match per.trim() {
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(3600),
        _ => return None,
    };
    let count = count.trim();
    // `parse` alone would take a plus sign.
    let is_number = count.bytes().all(|b| b.is_ascii_digit());
    let count = count.parse().ok().filter(|count| is_number && (1..=1_000_000).contains(count))?;
    Some(Rate { count, per })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_whole_numbers_with_a_unit() {
        for (text, bytes_meant) in [
            ("1B", 1),
            ("10MB", 10_000_000),
            ("512MiB", 512 << 20),
            ("2 GiB", 2 << 30),
            ("64kB", 64_000),
            ("64KiB", 65_536),
            ("0B", 0),
        ] {
            assert_eq!(bytes(text), Some(bytes_meant), "{text}");
        }
        for text in ["", "10", "MB", "1.5MB", "-1MB", "+1MB", "10mb", "10M", "10KB", "99999999999GiB", "1MBx", "1MB/s"]
        {
            assert_eq!(bytes(text), None, "{text}");
        }
        for (bytes_written, text) in [(0, "0B"), (1, "1B"), (1_000, "1kB"), (1 << 20, "1MiB"), (1 << 40, "1024GiB")] {
            assert_eq!(written(bytes_written), text);
            assert_eq!(bytes(text), Some(bytes_written));
        }
    }

    #[test]
    fn rates_are_so_many_in_a_second_a_minute_or_an_hour() {
        for (text, count, secs) in [("20/s", 20, 1), ("300/m", 300, 60), ("5000 / h", 5000, 3600), ("1/s", 1, 1)] {
            assert_eq!(rate(text), Some(Rate { count, per: Duration::from_secs(secs) }), "{text}");
        }
        for text in ["", "20", "/s", "0/s", "-1/s", "+1/s", "1.5/s", "20/d", "1000001/s", "20/s/s", "99999999999/s"] {
            assert_eq!(rate(text), None, "{text}");
        }
    }
}
