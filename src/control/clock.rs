//! The time of day, for sources to say when they were last heard and for certificates; and chance.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970; 0 before that.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Seconds since 1970; 0 before that.
pub(super) fn now_s() -> i64 {
    i64::try_from(now_ms() / 1000).unwrap_or(i64::MAX)
}

/// A number of chance from 0 to 1: good enough to spread load, not for secrets.
pub(super) fn draw() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    // 53 bits are what an f64 holds exactly.
    (RandomState::new().hash_one(0) >> 11) as f64 / (1u64 << 53) as f64
}
