//! Bodies on their way: counted as they flow, never gathered. The answer's body is also what the request still holds —
//! its lease, its place at the client and the backend's connection — and gives all of it back when it ends.

use bytes::Bytes;
use hyper::body::Frame;

pub(super) use answer::ResponseBody;
pub(super) use request::{Limit, RequestBody};
pub(super) use underway::Underway;

mod answer;
mod content;
mod request;
pub(super) mod shrinking;
mod underway;

/// Why the body of an answer broke off.
pub(super) type Cut = Box<dyn std::error::Error + Send + Sync>;

fn length(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| data.len() as u64)
}
