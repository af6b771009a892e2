//! Pure. What a human may write: the whole file, checked key by key, defaults filled in.
//!
//! Stricter than compile on purpose: a name that leads nowhere or a repeated path is an error with its line here, not
//! a problem later. Files the file names (certificates) are read through a function that is handed in.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::fault::{At, Faults, FileError};
use super::node::{self, Node, Value};
use crate::control::kube::spec::ClusterSpec;
use crate::control::merge::merge;
use crate::model::intent::{Intent, PoolName};
use crate::model::problem::Origin;

mod cluster;
mod idle;
mod listener;
mod overlap;
mod pool;
mod process;
mod values;

pub use cluster::usual_cluster;
pub use process::{Admin, Process};

/// The name of the file among the sources.
pub const SOURCE: &str = "file";

/// Keys under which nothing at all is a mistake.
const PARTS: [&str; 3] = ["clusters", "listeners", "pools"];

/// What a file says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Loaded {
    /// Settings of the process, read once at start.
    pub process: Process,
    /// The clusters to serve, in the order of the file.
    pub clusters: Vec<ClusterSpec>,
    /// Listeners, pools and certificates of the file itself.
    pub fragment: Intent,
    /// Where in the file the asker of each thing stands, to give problems found later their line.
    pub places: BTreeMap<Origin, At>,
}

/// Where relative paths begin, and how files are read.
pub(super) struct Base<'b> {
    /// The folder of the file.
    pub(super) folder: &'b Path,
    /// What `~` stands for, if that is known.
    pub(super) home: Option<&'b Path>,
    /// Reads a whole file.
    pub(super) read: &'b dyn Fn(&Path) -> io::Result<Vec<u8>>,
}

/// One reading of the file: what it says or all that is wrong with it, and the other files that were looked at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Reading {
    pub(super) result: Result<Loaded, Vec<FileError>>,
    pub(super) files: Vec<PathBuf>,
}

/// Reads the text of a file called `name`.
pub(super) fn read(text: &str, name: &Arc<str>, base: &Base<'_>) -> Reading {
    match node::parse(text, name) {
        Err(error) => Reading { result: Err(vec![error]), files: Vec::new() },
        Ok(top) => {
            let mut door = Door {
                faults: Faults::new(name),
                base,
                files: Vec::new(),
                places: BTreeMap::new(),
                pools: None,
                has_state_dir: false,
                unprobed: Vec::new(),
            };
            let loaded = door.file(&top);
            Reading { result: door.faults.or(loaded), files: door.files }
        }
    }
}

/// The state of one reading.
struct Door<'b> {
    faults: Faults,
    base: &'b Base<'b>,
    files: Vec<PathBuf>,
    places: BTreeMap<Origin, At>,
    /// The pools there are, even those with mistakes in them; known before listeners are read.
    pools: Option<Vec<PoolName>>,
    /// Whether there is a place for what must outlive the process.
    has_state_dir: bool,
    /// Those that say nothing of how they are checked.
    unprobed: Vec<PoolName>,
}

impl Door<'_> {
    fn file(&mut self, top: &Node) -> Loaded {
        if let Value::Map(entries) = &top.value {
            // So is one that was cut off after `listeners:`; who wishes to have none leaves the key out.
            for (key, node) in entries {
                if matches!(node.value, Value::Nothing) && PARTS.contains(&key.text.as_str()) {
                    let text = &key.text;
                    self.faults.add(key.at, format!("{text}: is empty; remove the key, or write {{}} to have none"));
                }
            }
        }
        if matches!(top.value, Value::Nothing) {
            // A file caught in the middle of being written must not take everything down.
            self.faults.wrong(top, "the file is empty; it needs listeners: and pools:, or clusters:");
        }
        let known = ["process", "clusters", "listeners", "pools"];
        let Some(keys) = self.faults.keys(top, &known, &[("log", &["none"])]) else { return Loaded::default() };
        let process = keys.find("process").map(|node| self.process(node)).unwrap_or_default();
        self.has_state_dir = process.state_dir.is_some();
        let clusters = keys.find("clusters").map(|node| self.clusters(node)).unwrap_or_default();
        let mut fragment = Intent::default();
        if let Some(node) = keys.find("pools") {
            self.pools(node, &mut fragment);
        }
        let mut parts = vec![fragment];
        if let Some(node) = keys.find("listeners") {
            self.listeners(node, &mut parts);
        }
        let (mut fragment, clashes) = merge(&parts);
        for clash in clashes {
            let at = self.places.get(&clash.origin).copied().unwrap_or_default();
            self.faults.add(at, format!("{}: {}", clash.origin.object, clash.reason));
        }
        self.settle_pools(&mut fragment);
        self.tell_overlaps(&process, &fragment);
        self.tell_circles(&fragment);
        self.tell_idle_routes(&fragment);
        Loaded { process, clusters, fragment, places: std::mem::take(&mut self.places) }
    }

    /// The origin of a thing that stands at `at`.
    fn origin(&mut self, object: String, at: At) -> Origin {
        let origin = Origin::new(SOURCE, object);
        self.places.insert(origin.clone(), at);
        origin
    }

    /// A path as the file writes it: `~` is the home folder, relative ones begin at the file's own folder.
    fn path(&mut self, node: &Node) -> Option<PathBuf> {
        let text = self.faults.text(node, "the path of a file")?;
        if text.is_empty() {
            self.faults.wrong(node, "is empty; write the path of a file, relative to this file or absolute");
            return None;
        }
        match (text.strip_prefix("~/"), self.base.home) {
            (Some(rest), Some(home)) => Some(home.join(rest)),
            (Some(_), None) => {
                self.faults.wrong(node, "begins with ~, but HOME is not set; write an absolute path");
                None
            }
            (None, _) => Some(plain(&self.base.folder.join(text))),
        }
    }

    /// The content of a file that a key names.
    fn content(&mut self, node: &Node) -> Option<Vec<u8>> {
        let path = self.path(node)?;
        let content = (self.base.read)(&path);
        self.files.push(path.clone());
        match content {
            Ok(content) => Some(content),
            Err(error) => {
                let path = path.display();
                self.faults.wrong(node, format_args!("{path} cannot be read: {error}; name a file that can"));
                None
            }
        }
    }
}

/// A path without the `.` that joining leaves: `./k` and `././k` are `k`.
fn plain(path: &Path) -> PathBuf {
    let plain: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    if plain.as_os_str().is_empty() { Component::CurDir.as_os_str().into() } else { plain }
}

#[cfg(test)]
mod tests;
