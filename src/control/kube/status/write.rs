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
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use super::{Statuses, Target, Wish, patch};

/// How long one patch may take.
const PATCH: Duration = Duration::from_secs(10);

/// Least time between two rounds, so that a quarrel with another writer stays slow.
const PACE: Duration = Duration::from_millis(200);

/// A patch whose effect was not seen for so long is written again: someone else undid it.
const AGAIN: Duration = Duration::from_secs(30);

/// Should the backoff ever run out.
const PAUSE: Duration = Duration::from_secs(30);

/// Writes what differs, for ever. Who wants no statuses written sends none.
pub(in crate::control::kube) async fn write(client: Client, mut statuses: Receiver<Arc<Statuses>>) {
    let mut sent: BTreeMap<Target, (Wish, Instant)> = BTreeMap::new();
    let mut backoff = DefaultBackoff::default();
    loop {
        let now = statuses.borrow_and_update().clone();
        match round(&client, &now, &mut sent).await {
            Err(reason) => {
                tracing::warn!(reason, "a status could not be written; trying again");
                tokio::time::sleep(backoff.next().unwrap_or(PAUSE)).await;
            }
            Ok(()) => {
                backoff.reset();
                tokio::time::sleep(PACE).await;
                tokio::select! {
                    changed = statuses.changed() => if changed.is_err() {
                        // Nobody will wish for anything any more; ending would end the watches too.
                        return std::future::pending().await;
                    },
                    () = tokio::time::sleep(AGAIN) => {}
                }
            }
        }
    }
}

/// Writes each status that differs and was not written just now; one that fails does not keep others from theirs.
async fn round(
    client: &Client,
    statuses: &Statuses,
    sent: &mut BTreeMap<Target, (Wish, Instant)>,
) -> Result<(), String> {
    sent.retain(|target, (wish, at)| statuses.0.get(target) == Some(wish) && at.elapsed() < AGAIN);
    let mut outcome = Ok(());
    for (target, wish) in &*statuses.0 {
        if !wish.differs || sent.contains_key(target) {
            continue;
        }
        match write_one(client, target, wish).await {
            Ok(()) => drop(sent.insert(target.clone(), (wish.clone(), Instant::now()))),
            Err(reason) => outcome = Err(format!("{target}: {reason}")),
        }
    }
    outcome
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
            Err(format!("forbidden (403); give our account the verb patch on {}/status", kind.plural))
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {PATCH:?}")),
    }
}
