//! The hash map of what data threads look up.
//!
//! Its hasher is quick and seeded per map; the standard one, made against floods of chosen keys, costs several times as
//! much on the short keys of a look-up. Keys come from configuration alone: what a client sends is looked up and never
//! inserted, so it cannot make a bucket long.

/// A map from configuration's keys.
pub type Map<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;
