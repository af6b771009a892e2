//! The contract between who asks and who serves: Intent, Snapshot, Live.
//!
//! Owns the three truths and the functions between them. No I/O, no Kubernetes, no serde, no clock: `now` and random
//! draws are arguments.

pub mod balance;
pub mod blame;
pub mod compile;
pub mod filter;
pub mod histogram;
pub mod host;
pub mod htpasswd;
pub mod intent;
pub mod live;
pub mod map;
pub mod outcome;
pub mod path;
pub mod problem;
pub mod route;
pub mod secret;
pub mod snapshot;
pub mod source;
pub mod speech;
pub mod tls;
pub(crate) mod words;
