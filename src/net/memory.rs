//! How much memory the process takes, read from /proc. What is too much is for others to say.

/// Bytes resident now, as the kernel counts them. `None` where `/proc` does not say. Costs a read of some 20 µs.
pub fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_touched_is_resident() {
        let before = resident().unwrap();
        let held = vec![1u8; 64 << 20];
        let with = resident().unwrap();
        assert!(std::hint::black_box(&held).iter().all(|b| *b == 1));
        assert!(with > before + (32 << 20), "{before} {with}");
    }
}
