//! Pure. What is wrong with the file, each with its place: found all in one go, so that one edit mends all.

use std::fmt;
use std::sync::Arc;

/// A place in the file; both counted from 1, 0 = the file as a whole.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct At {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

/// One thing that is wrong, in the words of the person who must mend it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct FileError {
    /// The file as it was named.
    pub file: Arc<str>,
    /// Where in it.
    pub at: At,
    /// The key, what is wrong with it and what would be right.
    pub message: String,
}

impl FileError {
    /// The place alone: `sluice.yaml:12:5`.
    pub fn place(&self) -> String {
        match self.at {
            At { line: 0, .. } => self.file.to_string(),
            At { line, column } => format!("{}:{line}:{column}", self.file),
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place(), self.message)
    }
}

impl std::error::Error for FileError {}

/// Collects what is wrong while reading goes on.
#[derive(Debug)]
pub(super) struct Faults {
    file: Arc<str>,
    list: Vec<FileError>,
}

impl Faults {
    /// None yet.
    pub(super) fn new(file: &Arc<str>) -> Self {
        Self { file: file.clone(), list: Vec::new() }
    }

    /// Adds one.
    pub(super) fn add(&mut self, at: At, message: impl Into<String>) {
        self.list.push(FileError { file: self.file.clone(), at, message: message.into() });
    }

    /// `value` if nothing is wrong, else all that is, in the order of the file.
    pub(super) fn or<T>(mut self, value: T) -> Result<T, Vec<FileError>> {
        if self.list.is_empty() {
            return Ok(value);
        }
        self.list.sort();
        self.list.dedup();
        Err(self.list)
    }
}
