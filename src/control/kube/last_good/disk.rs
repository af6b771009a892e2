//! The file in which the last good state of a cluster is kept, under `clusters/` in the state folder.
//!
//! Flash wears out by writing, so nothing is written that is there already; how often is for the loop to say. Who has
//! taken the folder writes in it, as long as it lives; a second process reads what is there.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Kept, decode, encode};
use crate::control::kube::spec::ClusterSpec;
use crate::control::kube::store::Store;
use crate::control::private;

/// The largest file that is read: 20,000 endpoints are some 5 MB.
const LARGEST: u64 = 256 << 20;

/// The file of one cluster. Clones are the same.
#[derive(Clone, Debug)]
pub struct Disk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    name: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Of what the file holds, as far as is known.
    digest: Arc<str>,
    /// Held open for its lock.
    lock: Option<File>,
    /// Why it could not be written the last time.
    fault: Option<String>,
}

impl Disk {
    /// The file of the cluster of this name. Touches nothing.
    pub fn new(state_dir: &Path, cluster: &str) -> Self {
        let (folder, name) = (state_dir.join("clusters"), cluster.to_owned());
        Self(Arc::new(Inner { folder, name, state: Mutex::default() }))
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.0.folder.join(format!("{}.json", self.0.name))
    }

    /// What was kept; `None` = nothing was. Blocks on the disk.
    ///
    /// # Errors
    /// Why it cannot be used, with its place.
    pub fn load(&self, spec: &ClusterSpec, identity: &str) -> Result<Option<Kept>, String> {
        let path = self.path();
        let unusable = |reason: String| format!("{} is not used: {reason}", path.display());
        let Some(bytes) = private::read(&path, LARGEST).map_err(|error| unusable(error.to_string()))? else {
            return Ok(None);
        };
        let kept = decode(&bytes, spec, identity).map_err(unusable)?;
        self.state().digest = kept.digest.clone();
        Ok(Some(kept))
    }

    /// Writes the objects, if others are in the file. Blocks until the disk has them. That it fails is told once, and
    /// by [`Disk::fault`].
    pub fn save(&self, store: &Store, spec: &ClusterSpec, identity: &str, now_ms: u64) {
        let mut state = self.state();
        let fault = self.write(&mut state, store, spec, identity, now_ms).err();
        if let Some(fault) = fault.as_ref().filter(|fault| state.fault.as_ref() != Some(fault)) {
            tracing::warn!("cluster {}: {fault}", self.0.name);
        }
        state.fault = fault;
    }

    /// Why the last write failed, if it did.
    pub fn fault(&self) -> Option<String> {
        self.state().fault.clone()
    }

    /// Removes the file: nothing is to be kept any more. Blocks.
    pub fn forget(&self) {
        if let Err(error) = fs::remove_file(self.path())
            && error.kind() != std::io::ErrorKind::NotFound
        {
            let path = self.path();
            tracing::warn!("{} is no longer used and cannot be removed: {error}; remove it", path.display());
        }
    }

    fn write(
        &self,
        state: &mut State,
        store: &Store,
        spec: &ClusterSpec,
        identity: &str,
        now_ms: u64,
    ) -> Result<(), String> {
        let path = self.path();
        let failed = |error: &dyn std::fmt::Display| {
            format!(
                "its last good state cannot be kept in {}: {error}; make process.state_dir a folder that sluice may \
                 write to",
                path.display()
            )
        };
        let (bytes, digest) = encode(store, spec, identity, now_ms).map_err(|error| failed(&error))?;
        if digest == state.digest {
            return Ok(());
        }
        private::folder(&self.0.folder).map_err(|error| failed(&error))?;
        if state.lock.is_none() {
            match private::lock(&self.0.folder.join(format!("{}.lock", self.0.name))) {
                Ok(lock) => state.lock = Some(lock),
                Err(TryLockError::WouldBlock) => {
                    return Err(format!(
                        "its last good state is kept by another sluice as long as that runs, in {}; give each a \
                         process.state_dir of its own",
                        path.display()
                    ));
                }
                // Some network file systems know no locks; there nobody is kept out.
                Err(TryLockError::Error(error)) => tracing::debug!(%error, "{} cannot be locked", path.display()),
            }
        }
        private::replace(&path, &bytes).map_err(|error| failed(&error))?;
        state.digest = digest;
        Ok(())
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
