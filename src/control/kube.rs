//! The only door to Kubernetes.

pub mod spec;
