//! What is known to bring servers down, done to a whole proxy: each attack ends within its bound, and a well-behaved
//! client beside it loses nothing.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

#[path = "attacks/floods.rs"]
mod floods;
#[path = "attacks/heads.rs"]
mod heads;
#[path = "attacks/logs.rs"]
mod logs;
#[path = "attacks/memory.rs"]
mod memory;
#[path = "attacks/process.rs"]
mod process;
#[path = "attacks/raw.rs"]
mod raw;
#[path = "attacks/resets.rs"]
mod resets;
#[path = "attacks/site.rs"]
mod site;
#[path = "attacks/slow.rs"]
mod slow;
#[path = "attacks/windows.rs"]
mod windows;
