//! Process settings that need a restart. A leaf: read by `app` and `cli` alone, which pass plain values on.
