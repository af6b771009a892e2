//! Writes Events (events.k8s.io/v1): whichever `bulletin` says is next, one after the other.
//!
//! Of the two APIs for Events, which show the same objects, this one: its series is meant for what is said again and
//! again, it guards what a name stands for against change, and `kubectl describe` shows both alike.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::control::clock;
use crate::control::kube::watch::chain;

use super::Word;
use super::bulletin::{Bulletin, Fate, Write};
use super::notice::Notice;

/// How long one write may take.
const WRITE: Duration = Duration::from_secs(10);

/// The longest pause after a failure.
const PAUSE: Duration = Duration::from_secs(20);

/// How often it is tried again what we have no right to.
const FORBIDDEN: Duration = Duration::from_secs(60);

/// Writes what `word` says stands and what happens, while `held`; until nothing more will be told.
pub(super) async fn write(
    client: Client,
    me: &str,
    mut word: watch::Receiver<Arc<Word>>,
    mut held: watch::Receiver<bool>,
    mut happenings: mpsc::Receiver<Notice>,
) {
    let mut bulletin = Bulletin::new(Instant::now());
    let mut backoff = DefaultBackoff::default();
    let (mut told, mut paused) = (None, None::<Instant>);
    word.mark_changed();
    loop {
        match word.has_changed() {
            Ok(true) => bulletin.stand(&word.borrow_and_update().notices, Instant::now()),
            Ok(false) => {}
            Err(_) => return,
        }
        while let Ok(notice) = happenings.try_recv() {
            bulletin.happened(notice, Instant::now());
        }
        let (may, now) = (*held.borrow_and_update(), Instant::now());
        paused = paused.filter(|until| now < *until);
        let next = if may && paused.is_none() { bulletin.next(now) } else { None };
        if let Some(next) = next {
            let written = timeout(WRITE, one(&client, &next, me)).await;
            let reason = match written.unwrap_or_else(|_| Err(Trouble::Passing(format!("no answer within {WRITE:?}"))))
            {
                Ok(fate) => {
                    bulletin.done(&next, fate, Instant::now());
                    backoff.reset();
                    told = None;
                    continue;
                }
                Err(Trouble::Refused(reason)) => {
                    bulletin.done(&next, Fate::Refused, Instant::now());
                    reason
                }
                Err(Trouble::Forbidden(reason)) => {
                    paused = Some(Instant::now() + FORBIDDEN);
                    reason
                }
                Err(Trouble::Passing(reason)) => {
                    paused = Some(Instant::now() + backoff.next().unwrap_or(PAUSE).min(PAUSE));
                    reason
                }
            };
            if told.as_ref() != Some(&reason) {
                tracing::warn!("an Event could not be written: {reason}");
            }
            told = Some(reason);
            continue;
        }
        let due = if may { paused.or_else(|| bulletin.due(now)) } else { None };
        tokio::select! {
            changed = word.changed() => match changed {
                // Left to the head of the loop.
                Ok(()) => word.mark_changed(),
                Err(_) => return,
            },
            changed = held.changed() => if changed.is_err() { return },
            Some(notice) = happenings.recv() => bulletin.happened(notice, Instant::now()),
            () = sleep_until(due.unwrap_or(now)), if due.is_some() => {}
        }
    }
}

/// Why an Event was not written.
enum Trouble {
    /// It never will be.
    Refused(String),
    /// None will be until somebody gives us the right.
    Forbidden(String),
    /// Another time it may go well.
    Passing(String),
}

async fn one(client: &Client, write: &Write, me: &str) -> Result<Fate, Trouble> {
    let (Write::Create(notice) | Write::Again { notice, .. }) = write;
    let event = notice.event();
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &event.namespace, &ApiResource::erase::<Event>(&()));
    let patch = async |patch: Value| match api.patch(&event.name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(now) => Ok(Some(now)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(trouble(&error)),
    };
    match write {
        Write::Create(notice) => {
            let body = serde_json::from_value(notice.body(&time(), me)).map_err(|e| Trouble::Refused(e.to_string()))?;
            match api.create(&PostParams::default(), &body).await {
                Ok(_) => Ok(Fate::Written),
                // A patch that changes nothing writes nothing, and answers with what is there.
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    Ok(patch(json!({})).await?.map_or(Fate::Lost, |there| Fate::Known(count(&there))))
                }
                Err(error) => Err(trouble(&error)),
            }
        }
        Write::Again { count, .. } => {
            let series = json!({"series": {"count": count, "lastObservedTime": time()}});
            Ok(patch(series).await?.map_or(Fate::Lost, |_| Fate::Written))
        }
    }
}

fn count(event: &DynamicObject) -> i32 {
    let count = event.data.pointer("/series/count").and_then(Value::as_i64);
    count.and_then(|count| i32::try_from(count).ok()).unwrap_or(1)
}

fn trouble(error: &kube::Error) -> Trouble {
    match error {
        kube::Error::Api(status) if status.code == 403 && !status.message.contains("being terminated") => {
            Trouble::Forbidden(
                "forbidden (403); give our account the verbs create and patch on events.events.k8s.io, as \
                 deploy/kubernetes/rights.yaml does"
                    .to_owned(),
            )
        }
        kube::Error::Api(status) if matches!(status.code, 400 | 403 | 404 | 405 | 413 | 422) => {
            Trouble::Refused(chain(error))
        }
        error => Trouble::Passing(chain(error)),
    }
}

fn time() -> Value {
    let ms = i64::try_from(clock::now_ms()).unwrap_or_default();
    json!(MicroTime(Timestamp::from_millisecond(ms).unwrap_or_default()))
}
