//! cli

pub mod check;
pub mod render;
