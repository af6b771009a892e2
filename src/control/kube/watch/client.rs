//! The way to an API server: connecting, and its failures in words.

use std::error::Error;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::watcher;
use kube::{Client, Config};

use crate::control::kube::objects::Kind;
use crate::control::kube::spec::Access;
use crate::control::kube::store::Feed;

const CONNECT: Duration = Duration::from_secs(5);
const WRITE: Duration = Duration::from_secs(10);

/// A connection on which nothing arrives for so long is dead. A watch that works ends sooner by itself.
const SILENCE: Duration = Duration::from_secs(58);

/// A client for this access. Nothing is dialled yet.
///
/// # Errors
/// What is wrong with the access, in words.
pub(super) async fn connect(access: &Access) -> Result<Client, String> {
    let mut config = config(access).await?;
    config.connect_timeout = Some(CONNECT);
    config.write_timeout = Some(WRITE);
    config.read_timeout = Some(SILENCE);
    // Or the time a connection lay idle in the pool would count as silence.
    config.reset_reader_on_write = true;
    Client::try_from(config).map_err(|error| format!("cannot make a client: {}", chain(&error)))
}

async fn config(access: &Access) -> Result<Config, String> {
    match access {
        Access::Kubeconfig(path) => {
            let failed = |error: &dyn Error| format!("kubeconfig {}: {}", path.display(), chain(error));
            let kubeconfig = Kubeconfig::read_from(path).map_err(|error| failed(&error))?;
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| failed(&error))
        }
        Access::InCluster => Config::incluster().map_err(|error| {
            format!("in_cluster is set, but this is not a pod with a service account: {}", chain(&error))
        }),
        Access::Manifests(_) | Access::Inline(_) => Err("manifests have no API server".to_owned()),
    }
}

/// Why a watch failed and what would help.
pub(super) fn in_words<K: Kind>(error: &watcher::Error, feed: &Feed) -> String {
    let what = if K::GROUP.is_empty() { K::PLURAL.to_owned() } else { format!("{}.{}", K::PLURAL, K::GROUP) };
    let place = feed.namespace.as_ref().map_or_else(String::new, |namespace| format!(" in namespace {namespace}"));
    match code(error) {
        Some(401) => format!("{what}{place}: the API server does not accept our credentials (401); renew them"),
        Some(403) => {
            format!("{what}{place}: forbidden (403); give our account the verbs get, list and watch on {what}")
        }
        _ => format!("{what}{place}: {}", chain(error)),
    }
}

fn code(error: &watcher::Error) -> Option<u16> {
    use watcher::Error::{InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status))
        | WatchError(status) => Some(status.code),
        InitialListFailed(_) | WatchStartFailed(_) | WatchFailed(_) | NoResourceVersion => None,
    }
}

/// An error and its causes in one line; a cause that repeats what was said is left out.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
