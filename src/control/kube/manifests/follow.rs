//! Follows a folder of manifests: reads it whole whenever something in it changed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::sync::{Notify, mpsc};

use crate::control::clock::now_ms;
use crate::control::kube::store::Change;
use crate::model::live::control::SourceState;

use super::{Folder, changes};

/// Writers take a moment to finish a file, and to write the next.
const SETTLE: Duration = Duration::from_millis(50);

/// Between two readings without any sign: where the kernel tells of changes, and where it does not.
const AT_LEAST: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(5));

/// Sends the folder's objects, at once and after every change. Runs until nobody listens.
pub async fn follow(path: &Path, sender: mpsc::Sender<Change>, source: Arc<SourceState>) {
    let stirred = Arc::new(Notify::new());
    let watcher = watcher(path, stirred.clone());
    if let Err(error) = &watcher {
        tracing::warn!(%error, folder = %path.display(), "changes are not told by the kernel; reading every 5 s");
    }
    let at_least = if watcher.is_ok() { AT_LEAST.0 } else { AT_LEAST.1 };
    let mut folder = Folder::new(path);
    let mut told = None;
    loop {
        let reading = tokio::task::spawn_blocking(move || {
            let read = folder.read();
            (folder, read)
        });
        let Ok((back, read)) = reading.await else { return };
        folder = back;
        match read {
            Err(fault) => {
                source.failed(&fault.to_string());
                if told.as_ref() != Some(&fault) {
                    tracing::warn!("{fault}; what was last read of it is served on");
                }
                told = Some(fault);
            }
            Ok((objects, faults)) => {
                told = None;
                let failed = faults.first().map(ToString::to_string);
                for change in changes(objects).into_iter().chain([Change::Faults(faults)]) {
                    if sender.send(change).await.is_err() {
                        return;
                    }
                }
                source.heard(now_ms());
                if let Some(failed) = failed {
                    source.failed(&failed);
                }
            }
        }
        let _ = tokio::time::timeout(at_least, stirred.notified()).await;
        tokio::time::sleep(SETTLE).await;
    }
}

fn watcher(path: &Path, stirred: Arc<Notify>) -> notify::Result<notify::RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading is an event too; an error may hide a change.
        if event.is_ok_and(|event| event.kind.is_access() && !is_close_of_write(&event)) {
            return;
        }
        stirred.notify_one();
    })?;
    watcher.watch(path, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

fn is_close_of_write(event: &notify::Event) -> bool {
    use notify::event::{AccessKind, AccessMode, EventKind};
    event.kind == EventKind::Access(AccessKind::Close(AccessMode::Write))
}
