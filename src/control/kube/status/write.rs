//! Writes statuses to the API server: only those that differ, one after the other, again when it fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use crate::control::kube::watch::chain;

use super::notice::Notice;
use super::{Statuses, Target, Wish, Word, patch};

/// How long one patch may take.
const PATCH: Duration = Duration::from_secs(10);

/// Least time between two rounds, so that a quarrel with another writer stays slow.
const PACE: Duration = Duration::from_millis(200);

/// A patch whose effect was not seen for so long is written again: someone else undid it.
const AGAIN: Duration = Duration::from_secs(30);

/// The longest pause after a failure.
const PAUSE: Duration = Duration::from_secs(20);

/// What was tried: until then it is not tried again, unless the wish is another.
type Tried = BTreeMap<Target, (Wish, Instant)>;

/// Writes what differs while `held`, until nothing more will be told. What it changed goes to `happened`.
pub(super) async fn write(
    client: Client,
    mut word: Receiver<Arc<Word>>,
    mut held: Receiver<bool>,
    happened: mpsc::Sender<Notice>,
) {
    let mut tried = Tried::new();
    let mut backoff = DefaultBackoff::default();
    let mut told = None;
    loop {
        let now = word.borrow_and_update().statuses.clone();
        let may = *held.borrow_and_update();
        if !may {
            // Whoever writes meanwhile has tried other things.
            tried.clear();
        }
        let failed = round(&client, &now, &mut tried, &held, &happened).await;
        if let Some((_, _, reason)) = failed.last() {
            if told.as_ref() != Some(reason) {
                tracing::warn!("a status could not be written, and is tried again: {reason}");
            }
            told = Some(reason.clone());
            let until = Instant::now() + backoff.next().unwrap_or(PAUSE).min(PAUSE);
            tried.extend(failed.into_iter().map(|(target, wish, _)| (target, (wish, until))));
        } else {
            backoff.reset();
        }
        tokio::time::sleep(PACE).await;
        let next = tried.values().map(|(_, until)| *until).min();
        tokio::select! {
            changed = word.changed() => if changed.is_err() { return },
            changed = held.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
        }
    }
}

/// Writes each status that differs and was not tried just now, while `held`. Returns those that failed, and why: they do
/// not keep others from theirs.
async fn round(
    client: &Client,
    statuses: &Statuses,
    tried: &mut Tried,
    held: &Receiver<bool>,
    happened: &mpsc::Sender<Notice>,
) -> Vec<(Target, Wish, String)> {
    let now = Instant::now();
    tried.retain(|target, (wish, until)| statuses.0.get(target) == Some(wish) && now < *until);
    let mut failed = Vec::new();
    for (target, wish) in &*statuses.0 {
        if !*held.borrow() {
            break;
        }
        if !wish.differs || tried.contains_key(target) {
            continue;
        }
        match write_one(client, target, wish).await {
            Ok(()) => {
                tell(target, wish);
                // Where too many wait, the status itself says it.
                let _ = happened.try_send(Notice::of_status(target, &wish.uid, &wish.shown));
                tried.insert(target.clone(), (wish.clone(), Instant::now() + AGAIN));
            }
            Err(reason) => failed.push((target.clone(), wish.clone(), format!("{target}: {reason}"))),
        }
    }
    failed
}

fn tell(target: &Target, wish: &Wish) {
    let shown: Vec<_> = wish.shown.iter().map(ToString::to_string).collect();
    if shown.is_empty() {
        tracing::info!("status cleared on {target}");
    } else {
        tracing::info!("status set on {target}: {}", shown.join(", "));
    }
}

async fn write_one(client: &Client, target: &Target, wish: &Wish) -> Result<(), String> {
    let (kind, name) = match target {
        Target::Service(name) => (ApiResource::erase::<Service>(&()), name),
        Target::Ingress(name) => (ApiResource::erase::<Ingress>(&()), name),
    };
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &name.namespace, &kind);
    let patch = Patch::Merge(patch(target, &wish.shown));
    match tokio::time::timeout(PATCH, api.patch_status(&name.name, &PatchParams::default(), &patch)).await {
        Ok(Ok(_)) => Ok(()),
        // It is gone; so is the wish, as soon as the watch says so.
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(()),
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
            let what = format!(
                "{}/status",
                if kind.group.is_empty() { kind.plural } else { format!("{}.{}", kind.plural, kind.group) }
            );
            Err(format!(
                "forbidden (403); give our account the verb patch on {what}, as deploy/kubernetes/rights.yaml does"
            ))
        }
        Ok(Err(error)) => Err(chain(&error)),
        Err(_) => Err(format!("no answer within {PATCH:?}")),
    }
}
