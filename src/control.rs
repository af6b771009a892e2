//! WRITES. The one loop that turns what was asked into what is served.

pub mod kube;
pub mod pem;
