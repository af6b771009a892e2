//! sluice: an edge load balancer for people who run their own Kubernetes.
//!
//! # The law of imports
//!
//! | band | may import of ours | must never know |
//! |---|---|---|
//! | [`net`] | nothing | what a listener or a pool is |
//! | [`model`] | nothing | Kubernetes, YAML, sockets, clocks |
//! | [`control`] | `model` | sockets, connections |
//! | [`proxy`] | `model`, `net` | Kubernetes, YAML, who wrote the configuration |
//! | [`health`] | `model`, `net` | why a backend is listed |
//! | [`observe`] | `model` | how bytes move |
//! | [`app`] | everything | (imported by [`cli`] alone) |
//! | [`cli`] | `app`, `settings`, `model`, `control`, `observe` | how bytes move |
//!
//! [`settings`], [`drain`] and [`ready`] are leaves: `settings` is read by `app` and `cli` only, the other two by all.
//! `control` and `proxy` never see each other; they meet in `model`. `tests/layering.rs` enforces this table.

pub mod app;
pub mod cli;
pub mod control;
pub mod drain;
pub mod health;
pub mod model;
pub mod net;
pub mod observe;
pub mod proxy;
pub mod ready;
pub mod settings;
