//! Objects from files as kubectl writes them, instead of from an API server.
//!
//! Owns reading a folder, the last good content of each of its files, and following it. What the objects mean is not
//! known here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::objects::endpoints::EndpointSlice;
use super::objects::ingress::{Ingress, IngressClass};
use super::objects::node::Node;
use super::objects::opaque::OpaqueSecret;
use super::objects::secret::TlsSecret;
use super::objects::service::Service;
use super::objects::users::UserSecret;
use super::objects::{Kind, Object};
use super::spec::Access;
use super::store::{Change, Fault, Feed};

pub mod follow;
pub mod parse;

/// Reads manifests once, whole and strictly: for `render` and `check`. Blocks on the file system.
///
/// # Errors
/// Every file that cannot be read or parsed; or that `access` is not a set of manifests.
pub fn read(access: &Access) -> Result<Vec<Change>, Vec<Fault>> {
    let (objects, faults) = match access {
        Access::Manifests(folder) => Folder::new(folder).read().map_err(|fault| vec![fault])?,
        Access::Inline(texts) => inline(texts),
        Access::Kubeconfig(_) | Access::InCluster => {
            let reason = "is read from an API server; give a folder of manifests instead".to_owned();
            return Err(vec![Fault { place: "this cluster".to_owned(), reason }]);
        }
    };
    if faults.is_empty() { Ok(changes(objects)) } else { Err(faults) }
}

/// The objects of texts that were given with the configuration.
pub(super) fn inline(texts: &[(String, String)]) -> (Vec<Object>, Vec<Fault>) {
    let (mut objects, mut faults) = (Vec::new(), Vec::new());
    for (name, text) in texts {
        match parse::parse(name, text) {
            Ok(more) => objects.extend(more),
            Err(fault) => faults.push(fault),
        }
    }
    (objects, faults)
}

/// Objects as the whole content of every kind.
pub(super) fn changes(objects: Vec<Object>) -> Vec<Change> {
    let mut by_kind: BTreeMap<&'static str, Vec<Object>> = [
        Service::FEED,
        EndpointSlice::FEED,
        Node::FEED,
        Ingress::FEED,
        IngressClass::FEED,
        TlsSecret::FEED,
        UserSecret::FEED,
        OpaqueSecret::FEED,
    ]
    .map(|kind| (kind, Vec::new()))
    .into();
    for object in objects {
        by_kind.entry(object.kind()).or_default().push(object);
    }
    let replace = |(kind, objects)| Change::Replace { feed: Feed { kind, namespace: None }, objects };
    by_kind.into_iter().map(replace).collect()
}

/// A folder of manifests. A file that cannot be read now counts with what it last said.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    last_good: BTreeMap<PathBuf, Vec<Object>>,
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), last_good: BTreeMap::new() }
    }

    /// Everything in it, and what could not be read. Blocks on the file system.
    ///
    /// # Errors
    /// The folder itself cannot be read; then everything of before stays good.
    pub(super) fn read(&mut self) -> Result<(Vec<Object>, Vec<Fault>), Fault> {
        let files = self.files().map_err(|error| Fault {
            place: self.path.display().to_string(),
            reason: format!("cannot be read: {error}; it must be a folder of manifests"),
        })?;
        // What a deleted file said is gone with it.
        self.last_good.retain(|path, _| files.contains(path));
        let mut faults = Vec::new();
        for path in files {
            let name = path.display().to_string();
            let parsed = std::fs::read_to_string(&path)
                .map_err(|error| Fault { place: name.clone(), reason: format!("cannot be read: {error}") })
                .and_then(|text| {
                    // A tool that failed leaves an empty file where it was told to write.
                    let had_some = self.last_good.get(&path).is_some_and(|objects| !objects.is_empty());
                    if had_some && parse::is_blank(&text) {
                        let reason = "is empty; delete it to drop its objects, which are served until then".to_owned();
                        return Err(Fault { place: name.clone(), reason });
                    }
                    parse::parse(&name, &text)
                });
            match parsed {
                Ok(objects) => drop(self.last_good.insert(path, objects)),
                Err(fault) => faults.push(fault),
            }
        }
        Ok((self.last_good.values().flatten().cloned().collect(), faults))
    }

    fn files(&self) -> std::io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let path = entry?.path();
            let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
            let known = path.extension().is_some_and(|kind| kind == "yaml" || kind == "yml" || kind == "json");
            if known && !hidden {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }
}

#[cfg(test)]
mod tests;
