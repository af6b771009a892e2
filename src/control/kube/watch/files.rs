//! What an access is read from, so that a change of it is noticed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kube::Config;

use crate::control::kube::spec::Access;

/// Where the kubelet puts a pod's credentials.
const POD: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The files of an access, and how they were when it was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    keys: Vec<(PathBuf, Stamp)>,
    tokens: Vec<(PathBuf, Stamp)>,
}

/// Differs when a file does: device, number, length and time of change. `None` = it is not there.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

impl Files {
    /// The file that an access names itself. Blocks shortly, as all here.
    pub(super) fn of(access: &Access) -> Self {
        match access {
            Access::Kubeconfig(path) => Self { keys: stamped([path.clone()]), tokens: Vec::new() },
            Access::InCluster => Self { keys: stamped([Path::new(POD).join("ca.crt")]), tokens: Vec::new() },
            Access::Manifests(_) | Access::Inline(_) => Self::default(),
        }
    }

    /// And those that are named in there.
    pub(super) fn with(mut self, config: &Config) -> Self {
        let user = &config.auth_info;
        let named = [&user.client_certificate, &user.client_key];
        self.keys.extend(stamped(named.into_iter().flatten().map(PathBuf::from)));
        self.keys.extend(stamped(config.root_cert_file.clone()));
        self.tokens = stamped(user.token_file.as_ref().map(PathBuf::from));
        self
    }

    /// Whether certificates or keys are others than were read, or where they are named. Tokens are read again by kube
    /// within a minute; `tokens` asks for them too.
    pub(super) fn differ(&self, tokens: bool) -> bool {
        let tokens = self.tokens.iter().filter(|_| tokens);
        self.keys.iter().chain(tokens).any(|(path, was)| stamp(path) != *was)
    }
}

fn stamped(paths: impl IntoIterator<Item = PathBuf>) -> Vec<(PathBuf, Stamp)> {
    let with_stamp = |path: PathBuf| {
        let stamp = stamp(&path);
        (path, stamp)
    };
    paths.into_iter().map(with_stamp).collect()
}

/// Follows links: the kubelet changes one link, and with it all files of a pod at once.
fn stamp(path: &Path) -> Stamp {
    let meta = fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino(), meta.len(), meta.ctime(), meta.ctime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_replaced_or_removed_differs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        let access = Access::Kubeconfig(path.clone());
        let files = Files::of(&access);
        assert!(!files.differ(true), "not there, as before");
        fs::write(&path, "a").unwrap();
        assert!(files.differ(false));
        let files = Files::of(&access);
        assert!(!files.differ(true));
        fs::write(dir.path().join("new"), "b").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert!(files.differ(false), "of the same length");
        let files = Files::of(&access);
        fs::remove_file(&path).unwrap();
        assert!(files.differ(false));
    }

    #[test]
    fn tokens_are_looked_at_when_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new("https://192.0.2.1".parse().unwrap());
        config.auth_info.token_file = Some(dir.path().join("token").display().to_string());
        let files = Files::default().with(&config);
        fs::write(dir.path().join("token"), "t").unwrap();
        assert!(!files.differ(false) && files.differ(true));
    }
}
