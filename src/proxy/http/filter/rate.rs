//! How many requests one asker may send.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use super::Filtering;
use crate::model::intent::filter::RateKey;
use crate::model::live::rates::Asker;

/// Counts a request that came at `now`, or gives the answer to one too many, which says when to come again.
pub(super) fn judge(filtering: &Filtering<'_>, parts: &Parts, now: Duration) -> Result<(), Response<Bytes>> {
    let plan = filtering.plan;
    let (Some(limit), Some(rates)) = (&plan.asked.rate, &plan.rates) else { return Ok(()) };
    let client = filtering.asker.client.to_canonical();
    if limit.except.iter().any(|range| range.contains(&client)) {
        return Ok(());
    }
    let value = match &limit.key {
        RateKey::Source => None,
        RateKey::Header(name) => parts.headers.get(&**name),
    };
    let asker = match value {
        Some(value) => Asker::Value(value.as_bytes()),
        None => Asker::source(filtering.asker.client),
    };
    rates.ask(asker, limit, now).map_err(|wait| {
        let mut answer = filtering.asker.answer(StatusCode::TOO_MANY_REQUESTS, "too many requests; come again later");
        // Whole seconds, never too early.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        answer
    })
}
