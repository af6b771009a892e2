//! The way to an API server: who it is, and a client for it.

use std::error::Error;
use std::time::Duration;

use futures_util::FutureExt;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use crate::control::kube::spec::Access;

use super::failure::{Server, chain};

const CONNECT: Duration = Duration::from_secs(5);
const WRITE: Duration = Duration::from_secs(10);

/// A connection on which nothing arrives for so long is dead. A watch that works ends sooner by itself.
const SILENCE: Duration = Duration::from_secs(58);

/// A client for this access, and whom it will talk to. Nothing is dialled yet.
///
/// # Errors
/// What is wrong with the access, in words.
pub(super) async fn connect(access: &Access) -> Result<(Client, Server), String> {
    let mut config = config(access).await?;
    let server = Server { url: url(&config), access: in_words(access) };
    config.connect_timeout = Some(CONNECT);
    config.write_timeout = Some(WRITE);
    config.read_timeout = Some(SILENCE);
    // Or the time a connection lay idle in the pool would count as silence.
    config.reset_reader_on_write = true;
    let client = Client::try_from(config).map_err(|error| {
        format!("{}: {}; correct the certificates or keys named there", server.access, chain(&error))
    })?;
    Ok((client, server))
}

/// Reads an access as [`connect`] would, without a word on the network. Blocks on small reads.
///
/// # Errors
/// What is wrong with the access, in words.
pub(super) fn look_at(access: &Access) -> Result<(), String> {
    // Reading is done at the first poll; what would wait beyond that is not for a look.
    config(access).now_or_never().map_or(Ok(()), |read| read.map(drop))
}

fn url(config: &Config) -> String {
    config.cluster_url.to_string().trim_end_matches('/').to_owned()
}

fn in_words(access: &Access) -> String {
    match access {
        Access::Kubeconfig(path) => format!("kubeconfig {}", path.display()),
        Access::InCluster => "the pod's service account".to_owned(),
        Access::Manifests(_) | Access::Inline(_) => "manifests".to_owned(),
    }
}

async fn config(access: &Access) -> Result<Config, String> {
    match access {
        Access::Kubeconfig(path) => {
            let failed = |error: &dyn Error| format!("kubeconfig {}: {}", path.display(), chain(error));
            let kubeconfig = Kubeconfig::read_from(path).map_err(|error| match error {
                // Its own words name the file once more.
                KubeconfigError::ReadConfig(error, _) => format!("{}; name one that can be read", failed(&error)),
                error => failed(&error),
            })?;
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| failed(&error))
        }
        Access::InCluster => Config::incluster().map_err(|error| {
            format!("in_cluster is set, but this is not a pod with a service account: {}", chain(&error))
        }),
        Access::Manifests(_) | Access::Inline(_) => Err("manifests have no API server".to_owned()),
    }
}
