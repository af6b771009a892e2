//! Files that are ours alone: what outlives the process, and may hold keys.
//!
//! A file is written aside, synced, then renamed, so that a crash leaves the old one or the new. Files are for their
//! owner alone (0600, folders 0700); what others could read is closed to them, and said. All here blocks on the disk.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// What others may do: nothing.
const OTHERS: u32 = 0o077;

/// Makes a folder and those above it where they are not there, and closes it to others.
///
/// # Errors
/// It is not there, or not ours to close.
pub(super) fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    close_to_others(path, 0o700)
}

/// Puts a whole file in the place of what was there before.
///
/// # Errors
/// It is not written; what was there before still is.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("new");
    write_new(&aside, bytes)?;
    fs::rename(&aside, path)?;
    // The name too must outlive a loss of power.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Writes a file of our own from its beginning, and waits for the disk.
///
/// # Errors
/// It is not written, or in part.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // What a crash left there may have another mode, or be a link.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The content of a file of at most so many bytes; `None` = it is not there.
///
/// # Errors
/// It cannot be read, or is larger.
pub(super) fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if let Err(error) = close_to_others(path, 0o600) {
        tracing::warn!(%error, "{} can be read by others: make it 0600", path.display());
    }
    let mut bytes = Vec::new();
    // One more, to tell a file of just that length from a longer one.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it is larger than {most} bytes")));
    }
    Ok(Some(bytes))
}

/// Takes a file as a sign that what is beside it is ours, for as long as it is held open.
///
/// # Errors
/// Another process has it; or this file system knows no locks.
pub(super) fn lock(path: &Path) -> Result<File, TryLockError> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.map_err(TryLockError::Error)?;
    file.try_lock()?;
    Ok(file)
}

/// Gives a file or folder its mode, where others may do anything with it.
fn close_to_others(path: &Path, mode: u32) -> io::Result<()> {
    if fs::metadata(path)?.permissions().mode() & OTHERS == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    let path = path.display();
    tracing::warn!(
        "{path} was open to others on this host and is no longer; if they are strangers, replace what is in it"
    );
    Ok(())
}

/// Stands for texts in the names of files: FNV-1a, the same in every process. What is read back is checked, so that two
/// that met would cost what one of them holds, no more.
pub(super) fn digest<'t>(texts: impl IntoIterator<Item = &'t str>) -> u64 {
    let bytes = texts.into_iter().flat_map(|text| text.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
