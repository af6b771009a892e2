//! WRITES. The one loop that turns what was asked into what is served.

pub mod clock;
pub mod file;
pub mod kube;
pub mod merge;
pub mod pace;
pub mod pem;
