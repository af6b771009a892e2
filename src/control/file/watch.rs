//! Watches the file and the certificates it names, and tells the loop what a change made of them.
//!
//! Theory: the *folders* are watched, not the files, because editors and Kubernetes swap files by renaming. An event
//! only means "look again"; what counts is whether a new reading differs from the last. So a missed event is mended by
//! the slow look every [`LOOK_AGAIN`], which also serves file systems that send no events.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout, timeout_at};

use super::schema::Reading;
use super::{FileError, Loaded, folder_of, read_once};
use crate::control::clock;
use crate::model::live::SourceState;

/// How long it must be quiet before the file is read, so that half-written files are seldom seen.
const QUIET: Duration = Duration::from_millis(50);
/// How long noise may put off the reading.
const NOISE: Duration = Duration::from_millis(500);
/// How often the file is read without any event.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What became of the file.
#[derive(Debug)]
pub enum Change {
    /// It is good and differs from before.
    Good(Box<Loaded>),
    /// It has mistakes; the last good one stays in force.
    Bad(Vec<FileError>),
}

/// Watches `path` for ever, or until nobody listens. `start` is what was loaded last; `reload` asks for a reading now.
pub async fn watch(
    path: PathBuf,
    start: Loaded,
    reload: Arc<Notify>,
    changes: mpsc::Sender<Change>,
    state: Arc<SourceState>,
) {
    let mut folders = Folders::new();
    folders.follow(&path, &[]);
    let mut last = Reading { result: Ok(start), files: Vec::new() };
    let mut asked = false;
    loop {
        let reading = read_aside(&path).await;
        if folders.follow(&path, &reading.files) {
            // A folder that was not watched while it was read may have changed since.
            continue;
        }
        let differs = reading.result != last.result;
        tell(&reading, differs, asked, &path, &state);
        if differs && changes.send(Change::from(&reading)).await.is_err() {
            return;
        }
        last = reading;
        asked = folders.changed(&reload).await;
    }
}

impl From<&Reading> for Change {
    fn from(reading: &Reading) -> Self {
        match &reading.result {
            Ok(loaded) => Self::Good(Box::new(loaded.clone())),
            Err(errors) => Self::Bad(errors.clone()),
        }
    }
}

/// Reads on a thread that may block.
async fn read_aside(path: &Path) -> Reading {
    let owned = path.to_owned();
    match tokio::task::spawn_blocking(move || read_once(&owned)).await {
        Ok(reading) => reading,
        Err(error) => {
            let message = format!("could not be read: {error}; please report this");
            let error = FileError { file: path.display().to_string().into(), at: Default::default(), message };
            Reading { result: Err(vec![error]), files: Vec::new() }
        }
    }
}

fn tell(reading: &Reading, differs: bool, asked: bool, path: &Path, state: &SourceState) {
    let path = path.display();
    match &reading.result {
        Ok(_) => {
            state.heard(clock::now_ms());
            if differs {
                tracing::info!("{path} was read anew");
            } else if asked {
                tracing::info!("{path} was read anew; nothing changed");
            }
        }
        Err(errors) if differs || asked => {
            for error in errors {
                tracing::error!("{error}");
            }
            tracing::error!("{path} has mistakes; the last good one stays in force");
            state.failed(&in_short(errors));
        }
        Err(_) => {}
    }
}

fn in_short(errors: &[FileError]) -> String {
    match errors {
        [] => String::new(),
        [only] => only.to_string(),
        [first, more @ ..] => format!("{first} (and {} more)", more.len()),
    }
}

/// The folders that are watched.
struct Folders {
    watcher: Option<RecommendedWatcher>,
    stirred: Arc<Notify>,
    watched: BTreeSet<PathBuf>,
}

impl Folders {
    fn new() -> Self {
        let stirred = Arc::new(Notify::new());
        let inner = stirred.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| !is_own_doing(event.kind)) {
                inner.notify_one();
            }
        });
        let watcher = watcher.inspect_err(|error| {
            let every = LOOK_AGAIN.as_secs();
            tracing::warn!("file events cannot be had ({error}); the file is read every {every} s instead");
        });
        Self { watcher: watcher.ok(), stirred, watched: BTreeSet::new() }
    }

    /// Watches the folders of these files, and those their links lead to. True when one is new.
    fn follow(&mut self, path: &Path, files: &[PathBuf]) -> bool {
        let mut wanted = BTreeSet::new();
        for file in files.iter().map(PathBuf::as_path).chain([path]) {
            wanted.insert(folder_of(file).to_owned());
            if let Ok(real) = file.canonicalize() {
                wanted.insert(folder_of(&real).to_owned());
            }
        }
        let Some(watcher) = &mut self.watcher else { return false };
        for folder in self.watched.difference(&wanted) {
            // A folder that is gone is not watched any more anyway.
            let _ = watcher.unwatch(folder);
        }
        // Each is watched again, for it may have been replaced by another of its name. One that cannot be watched is
        // covered by the slow look.
        wanted.retain(|folder| watcher.watch(folder, RecursiveMode::NonRecursive).is_ok());
        let is_new = !wanted.is_subset(&self.watched);
        self.watched = wanted;
        is_new
    }

    /// Waits until it is worth while to look again; true when somebody asked.
    async fn changed(&self, reload: &Notify) -> bool {
        tokio::select! {
            () = reload.notified() => return true,
            () = self.stirred.notified() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => return false,
        }
        let deadline = Instant::now() + NOISE;
        let settle = async { while timeout(QUIET, self.stirred.notified()).await.is_ok() {} };
        tokio::select! {
            () = reload.notified() => true,
            _ = timeout_at(deadline, settle) => false,
        }
    }
}

/// Reading makes events too; answering them would never end.
fn is_own_doing(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

#[cfg(test)]
mod tests;
