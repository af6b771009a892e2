//! One watch: all objects of a kind, in the cluster or in one namespace, for ever.
//!
//! After any failure the watch begins anew with a list. kube's own recovery resumes in silence, and silence cannot be
//! told from failing on: beginning anew ends in a word (`InitDone`) that says that all is current. Until that word the
//! objects of before stay.

use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::core::DynamicResourceScope;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{Config, DefaultBackoff, Event, watcher};
use serde::{Deserialize, Deserializer};
use tokio::sync::mpsc;

use crate::control::kube::objects::{Kind, Object, Seen};
use crate::control::kube::store::{Change, Feed};

use super::failure::{Failure, Server};
use super::standing::Standing;

/// Seconds until the server ends a watch, to be begun again where it was. kube gives a silent one up 5 s later, which
/// is how a connection that died without a word is noticed.
const WATCH_SECONDS: u32 = 50;

/// The longest pause between two tries. The backoff alone would go up to a minute, in which a server that is back would
/// not be heard.
const PAUSE: Duration = Duration::from_secs(20);

/// An object as the watch reads it: never an error, so that one cannot spoil a list.
#[derive(Clone, Debug)]
pub(super) struct Watched<K> {
    meta: ObjectMeta,
    seen: Seen<K>,
}

impl<K: Kind> Watched<K> {
    /// The object itself.
    pub(super) fn into_object(self) -> Object {
        K::object(self.seen)
    }
}

impl<'de, K: Kind> Deserialize<'de> for Watched<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let (seen, version) = Seen::read(&value);
        let meta = ObjectMeta {
            name: Some(seen.name.name.to_string()),
            namespace: Some(seen.name.namespace.to_string()),
            resource_version: Some(version),
            ..ObjectMeta::default()
        };
        Ok(Self { meta, seen })
    }
}

impl<K: Kind> kube::Resource for Watched<K> {
    type DynamicType = ();
    type Scope = DynamicResourceScope;

    fn kind((): &()) -> std::borrow::Cow<'_, str> {
        K::KIND.into()
    }

    fn group((): &()) -> std::borrow::Cow<'_, str> {
        K::GROUP.into()
    }

    fn version((): &()) -> std::borrow::Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> std::borrow::Cow<'_, str> {
        K::PLURAL.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

/// Sends the changes of a feed until nobody takes them.
pub(super) async fn follow<K: Kind>(
    api: Api<Watched<K>>,
    feed: Feed,
    changes: mpsc::Sender<Change>,
    standing: Standing,
    server: Arc<Server>,
) {
    let mut config = Config::default().timeout(WATCH_SECONDS);
    if let Some(fields) = K::FIELDS {
        config = config.fields(fields);
    }
    let mut backoff = DefaultBackoff::default();
    loop {
        let mut events = pin!(watcher(api.clone(), config.clone()));
        let mut gather = Gather::new(feed.clone());
        let failure = loop {
            let event = match events.next().await {
                Some(Ok(event)) => event,
                Some(Err(error)) => break Failure::of::<K>(&error, &feed, &server),
                None => break Failure::Kind(format!("{}: the watch ended", K::PLURAL)),
            };
            let is_whole = matches!(event, Event::InitDone);
            if let Some(change) = gather.take(event)
                && changes.send(change).await.is_err()
            {
                return;
            }
            if is_whole {
                backoff.reset();
                standing.good(&feed);
            }
        };
        tracing::debug!(kind = K::FEED, ?failure, "watch failed");
        standing.failed(&feed, failure);
        let pause = backoff.next().unwrap_or(PAUSE).min(PAUSE);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = standing.recovered() => {}
        }
    }
}

/// Turns watch events into changes: what a list brings is held back until the list is whole.
#[derive(Debug)]
struct Gather {
    feed: Feed,
    list: Vec<Object>,
}

impl Gather {
    fn new(feed: Feed) -> Self {
        Self { feed, list: Vec::new() }
    }

    fn take<K: Kind>(&mut self, event: Event<Watched<K>>) -> Option<Change> {
        match event {
            Event::Init => self.list.clear(),
            Event::InitApply(object) => self.list.push(K::object(object.seen)),
            Event::InitDone => {
                let objects = std::mem::take(&mut self.list);
                return Some(Change::Replace { feed: self.feed.clone(), objects });
            }
            Event::Apply(object) => return Some(Change::Apply(K::object(object.seen))),
            Event::Delete(object) => return Some(Change::Delete { kind: K::FEED, name: object.seen.name }),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::control::kube::objects::service::Service;

    fn service(name: &str) -> Watched<Service> {
        serde_json::from_value(json!({"metadata": {"namespace": "a", "name": name, "resourceVersion": "1"}})).unwrap()
    }

    #[test]
    fn a_list_replaces_only_when_it_is_whole() {
        let mut gather = Gather::new(Feed { kind: "Service", namespace: None });
        assert_eq!(gather.take::<Service>(Event::Init), None);
        assert_eq!(gather.take(Event::InitApply(service("lost"))), None);
        // The list broke off and begins again.
        assert_eq!(gather.take::<Service>(Event::Init), None);
        assert_eq!(gather.take(Event::InitApply(service("web"))), None);
        let Some(Change::Replace { objects, .. }) = gather.take::<Service>(Event::InitDone) else {
            panic!("a whole list replaces")
        };
        assert_eq!(objects.iter().map(|object| object.name().to_string()).collect::<Vec<_>>(), ["a/web"]);
        assert!(matches!(gather.take(Event::Apply(service("web"))), Some(Change::Apply(_))));
        assert!(matches!(gather.take(Event::Delete(service("web"))), Some(Change::Delete { .. })));
    }

    #[test]
    fn an_object_of_another_shape_is_no_error() {
        let odd: Watched<Service> = serde_json::from_value(json!({"metadata": {"name": "x"}, "spec": 7})).unwrap();
        assert!(odd.seen.object.is_err());
    }
}
