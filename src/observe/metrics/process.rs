//! Families of the process itself, read from `/proc/self`. Where there is no such folder there are no such families.

use std::fs;

use super::family::{Family, Page};

/// Ticks a second in `/proc/self/stat`: `USER_HZ`, which is part of the kernel's interface and 100 on every
/// architecture that has a standard library for us.
const TICKS: f64 = 100.0;

pub(super) fn write(page: &mut Page) -> Result<(), prometheus::Error> {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let (stat, status) = (read("/proc/self/stat"), read("/proc/self/status"));
    let times = parse_stat(&stat);
    let boot = field(&read("/proc/stat"), "btime ");
    let kib = |key| field(&status, key).map(|kib| kib * 1024.0);
    let families = [
        (
            Family::counter("process_cpu_seconds_total", "CPU time spent in user and kernel mode."),
            times.map(|t| t.cpu_seconds),
        ),
        (
            Family::gauge("process_start_time_seconds", "When the process began, in seconds since 1970."),
            times.zip(boot).map(|(t, boot)| boot + t.started_after_boot),
        ),
        (Family::gauge("process_resident_memory_bytes", "Memory resident."), kib("VmRSS:")),
        (Family::gauge("process_virtual_memory_bytes", "Memory mapped."), kib("VmSize:")),
        (Family::gauge("process_threads", "Threads."), field(&status, "Threads:")),
        (Family::gauge("process_open_fds", "Open descriptors."), open_descriptors()),
        (
            Family::gauge("process_max_fds", "The most descriptors that may be open."),
            field(&read("/proc/self/limits"), "Max open files"),
        ),
    ];
    for (mut family, value) in families {
        if let Some(value) = value {
            family.add(&[], value);
        }
        page.add(family)?;
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Times {
    cpu_seconds: f64,
    started_after_boot: f64,
}

/// The name in the second field may hold spaces and brackets; counting begins after its last bracket.
fn parse_stat(stat: &str) -> Option<Times> {
    let (_, rest) = stat.rsplit_once(')')?;
    let ticks = |field: usize| rest.split_ascii_whitespace().nth(field - 3)?.parse::<u64>().ok();
    let (user, kernel, started) = (ticks(14)?, ticks(15)?, ticks(22)?);
    Some(Times { cpu_seconds: (user + kernel) as f64 / TICKS, started_after_boot: started as f64 / TICKS })
}

/// The first number after `key` at the beginning of a line.
fn field(text: &str, key: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Kernels from 6.2 on give the count as the folder's size; before, the entries are counted, less the one that
/// counting opens.
fn open_descriptors() -> Option<f64> {
    const FOLDER: &str = "/proc/self/fd";
    match fs::metadata(FOLDER).ok()?.len() {
        0 => Some(fs::read_dir(FOLDER).ok()?.count().saturating_sub(1) as f64),
        count => Some(count as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4 0 0 0 0 250 50 0 0 20 0 3 0 1234 1 1";
        assert_eq!(parse_stat(stat), Some(Times { cpu_seconds: 3.0, started_after_boot: 12.34 }));
        assert_eq!(parse_stat("7 (a) S 1"), None);
    }

    #[test]
    fn a_field_is_the_first_number_after_its_key() {
        let status = "Name:\tsluice\nVmRSS:\t    2048 kB\nThreads:\t3\n";
        assert_eq!(field(status, "VmRSS:"), Some(2048.0));
        assert_eq!(
            field("Max open files            1024                 524288    files\n", "Max open files"),
            Some(1024.0)
        );
        assert_eq!(field(status, "VmSize:"), None);
    }

    #[test]
    fn open_descriptors_follow_what_is_open() {
        let held: Vec<_> = (0..50).filter_map(|_| fs::File::open("/proc/self/stat").ok()).collect();
        assert!(open_descriptors().is_some_and(|count| count >= held.len() as f64));
    }
}
