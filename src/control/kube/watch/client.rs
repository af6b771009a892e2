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
    if config.cluster_url.scheme().is_none() {
        let Server { url, access } = server;
        return Err(format!("{access}: server {url:?} says neither http nor https; write https://{url}"));
    }
    config.connect_timeout = Some(CONNECT);
    config.write_timeout = Some(WRITE);
    config.read_timeout = Some(SILENCE);
    // Or the time a connection lay idle in the pool would count as silence.
    config.reset_reader_on_write = true;
    let client = Client::try_from(config).map_err(|error| {
        let what = if matches!(error, kube::Error::Auth(_)) {
            "the user's way to sign in"
        } else {
            "the certificates and keys"
        };
        format!("{}: {}; correct {what} there", server.access, chain(&error))
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
            let contexts: Vec<_> = kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
            let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
            config.map_err(|error| match error {
                KubeconfigError::CurrentContextNotSet | KubeconfigError::LoadContext(_) => {
                    let all = if contexts.is_empty() { "none".to_owned() } else { contexts.join(", ") };
                    format!("{}; set current-context to one of its contexts: {all}", failed(&error))
                }
                error => failed(&error),
            })
        }
        Access::InCluster => Config::incluster().map_err(|error| {
            let error = chain(&error);
            format!(
                "in_cluster is set, but this is not a pod with a service account ({error}); give a kubeconfig instead"
            )
        }),
        Access::Manifests(_) | Access::Inline(_) => Err("manifests have no API server".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A whole kubeconfig but for its server and context.
    fn kubeconfig(server: &str, current: &str) -> String {
        format!(
            "current-context: {current}\ncontexts: [{{name: one, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{server: \"{server}\"}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n"
        )
    }

    #[tokio::test]
    async fn an_access_that_is_wrong_says_what_would_be_right() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        let access = Access::Kubeconfig(path.clone());
        let told = async || connect(&access).await.err().unwrap_or_default();
        assert!(told().await.contains("No such file"));
        for (text, part) in [
            (kubeconfig("https://192.0.2.1:6443", "two"), "to one of its contexts: one"),
            (kubeconfig("https://192.0.2.1:6443", "\"\""), "to one of its contexts: one"),
            (kubeconfig("192.0.2.1:6443", "one"), "write https://192.0.2.1:6443"),
            ("a: [".to_owned(), "line 1"),
        ] {
            std::fs::write(&path, text).unwrap();
            let told = told().await;
            assert!(told.starts_with(&format!("kubeconfig {}: ", path.display())), "{told}");
            assert!(told.contains(part), "{told}");
        }
        std::fs::write(&path, kubeconfig("https://192.0.2.1:6443", "one")).unwrap();
        let (_, server) = connect(&access).await.unwrap();
        assert_eq!(server.url, "https://192.0.2.1:6443");
    }
}
