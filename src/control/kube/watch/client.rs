//! The way to an API server: who it is, and clients for it.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use crate::control::kube::spec::Access;

use super::failure::{Server, chain};
use super::files::Files;

const CONNECT: Duration = Duration::from_secs(5);
const WRITE: Duration = Duration::from_secs(10);

/// A connection on which nothing arrives for so long is dead. A watch that works ends sooner by itself.
const SILENCE: Duration = Duration::from_secs(58);

/// An access that was read.
pub(super) struct Known {
    config: Config,
    /// Where it was read, like `kubeconfig /etc/sluice/kubeconfig`.
    words: String,
    files: Files,
}

/// A way to one API server.
pub(super) struct Way {
    /// For lists, watches and writing.
    pub(super) client: Client,
    /// For who knocks: connections of its own, so that none is older than the question.
    pub(super) fresh: Client,
    /// Whom it leads to.
    pub(super) server: Arc<Server>,
}

/// Reads an access. Blocks on small reads.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) async fn read(access: &Access) -> Result<Known, String> {
    // Before it is read: what changes meanwhile is a change.
    let files = Files::of(access);
    let mut config = config(access).await?;
    let words = in_words(access);
    if config.cluster_url.scheme().is_none() {
        let url = url(&config.cluster_url);
        return Err(format!("{words}: server {url:?} says neither http nor https; write https://{url}"));
    }
    config.connect_timeout = Some(CONNECT);
    config.write_timeout = Some(WRITE);
    config.read_timeout = Some(SILENCE);
    // Or the time a connection lay idle in the pool would count as silence.
    config.reset_reader_on_write = true;
    // It would try again in secret for minutes, and we would call the source good meanwhile.
    config.default_retry = false;
    let files = files.with(&config);
    Ok(Known { config, words, files })
}

impl Known {
    /// A way to its server. Nothing is dialled yet; where a program gives the credentials, it is run, and this blocks
    /// on it.
    ///
    /// # Errors
    /// What is wrong with the access, in words.
    pub(super) fn way(&self) -> Result<Way, String> {
        let server = Server { url: url(&self.config.cluster_url), access: self.words.clone() };
        let client = || {
            Client::try_from(self.config.clone()).map_err(|error| {
                let what = if matches!(error, kube::Error::Auth(_)) {
                    "the user's way to sign in"
                } else {
                    "the certificates and keys"
                };
                format!("{}: {}; correct {what} there", self.words, chain(&error))
            })
        };
        Ok(Way { client: client()?, fresh: client()?, server: server.into() })
    }

    /// What tells its cluster from another one: by whom its server is certified, and where it is.
    pub(super) fn identity(&self) -> String {
        let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        match self.config.root_cert.as_deref().unwrap_or_default() {
            // Any server may be of the cluster whose authority certifies it.
            [] => digest.update(url(&self.config.cluster_url).as_bytes()),
            roots => roots.iter().for_each(|root| digest.update(root)),
        }
        digest.finish().as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    /// What it was read from.
    pub(super) fn files(&self) -> &Files {
        &self.files
    }
}

/// Reads an access as [`read`] does, without a word on the network. Blocks on small reads.
///
/// # Errors
/// What is wrong with the access, in words.
pub(super) fn look_at(access: &Access) -> Result<(), String> {
    // Reading is done at the first poll; what would wait beyond that is not for a look.
    config(access).now_or_never().map_or(Ok(()), |read| read.map(drop))
}

fn url(url: &http::Uri) -> String {
    url.to_string().trim_end_matches('/').to_owned()
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
        let told = async || read(&access).await.err().unwrap_or_default();
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
        let way = read(&access).await.unwrap().way().unwrap();
        assert_eq!(way.server.url, "https://192.0.2.1:6443");
    }
}
