//! The file source: one YAML file, and the certificates it names, read whole each time.
//!
//! [`load`] is for the start, where a mistake means exit; [`watch`] is for the time after, where a mistake leaves the
//! last good file in force; [`parse`] is for a text without a file. None binds anything.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub mod fault;
mod nearest;
mod node;
mod read;
pub mod schema;
pub mod watch;

pub use fault::{At, FileError};
pub use schema::{Admin, Loaded, Process};

/// The largest file that is read, and the largest certificate.
const LARGEST: u64 = 4 << 20;

/// Reads a file and what it names. Blocks on small reads. The error is every mistake that was found, in the order of
/// the file.
pub fn load(path: &Path) -> Result<Loaded, Vec<FileError>> {
    read_once(path).result
}

/// Reads the text of a file that is nowhere: relative paths begin at `.`, and whatever the text names cannot be read.
/// Touches no file system. The error is every mistake that was found, in the order of the text.
pub fn parse(text: &str) -> Result<Loaded, Vec<FileError>> {
    let nothing = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
    let base = schema::Base { folder: Path::new("."), home: None, read: &nothing };
    schema::read(text, &"text".into(), &base).result
}

fn read_once(path: &Path) -> schema::Reading {
    let name: Arc<str> = path.display().to_string().into();
    let whole = |message: String| schema::Reading {
        result: Err(vec![FileError { file: name.clone(), at: At::default(), message }]),
        files: Vec::new(),
    };
    let bytes = match read_bounded(path) {
        Ok(bytes) => bytes,
        Err(error) => return whole(format!("cannot be read: {error}; name a file that can with --config")),
    };
    let Ok(text) = String::from_utf8(bytes) else {
        return whole("is not UTF-8 text; save it as UTF-8".to_owned());
    };
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let base = schema::Base { folder: folder_of(path), home: home.as_deref(), read: &read_bounded };
    schema::read(&text, &name, &base)
}

/// The folder a file is in; `.` for a bare name.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {} MiB", LARGEST >> 20)));
    }
    Ok(bytes)
}
