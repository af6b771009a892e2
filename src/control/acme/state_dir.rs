//! What outlives the process: accounts and certificates, under `acme/` in the state folder.
//!
//! Each is one file, so that a key and its chain never part, and is written as `control::private` does. What cannot be
//! read back is said, and ordered anew.
//!
//! Two processes with one folder would order the same twice and write over each other's accounts: whoever writes first
//! has it for as long as it lives (`flock`), and the other is told so. It may read, so it serves what is there.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use instant_acme::AccountCredentials;

use super::issued::Issued;
use crate::control::private::{self, digest, write_new};
use crate::model::host::Host;
use crate::model::intent::Order;

/// The largest file that is read.
const LARGEST: u64 = 1 << 20;
/// The most of a name that is shown in the name of a file, whose limit is 255.
const SHOWN: usize = 100;
/// After a refusal a new process rests for as long: whoever is restarted again and again must not use up the five
/// failures that Let's Encrypt takes in an hour, and whoever mended what was wrong will not wait for hours.
const REST: Duration = Duration::from_secs(15 * 60);

/// The folder.
#[derive(Clone, Debug)]
pub(super) struct StateDir {
    root: PathBuf,
    /// Held open for its lock.
    lock: Arc<Mutex<Option<File>>>,
}

impl StateDir {
    /// The part of the state folder that is ACME's. Touches no file.
    pub(super) fn new(state_dir: &Path) -> Self {
        Self { root: state_dir.join("acme"), lock: Arc::default() }
    }

    /// Makes the folders where they are not there, finds out whether files can be made in them, and takes them for this
    /// process. Blocks.
    ///
    /// # Errors
    /// What to do about it.
    pub(super) fn prepare(&self) -> Result<(), String> {
        let probe = self.root.join("accounts/.probe");
        let made = self.folders().and_then(|()| write_new(&probe, b"")).and_then(|()| fs::remove_file(&probe));
        let root = self.root.display();
        made.map_err(|error| {
            format!("{root} cannot be written: {error}; make process.state_dir a folder that sluice may write to")
        })?;
        match self.take() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(format!(
                "{root} is another sluice's as long as that runs; give each a process.state_dir of its own"
            )),
            // Some network file systems know no locks; there nobody is kept out.
            Err(TryLockError::Error(error)) => {
                tracing::debug!(%error, "{root} cannot be locked");
                Ok(())
            }
        }
    }

    fn take(&self) -> Result<(), TryLockError> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_none() {
            *lock = Some(private::lock(&self.root.join(".lock"))?);
        }
        Ok(())
    }

    /// The certificate of an order, if a good one is there. Blocks on a small read.
    pub(super) fn certificate(&self, order: &Order) -> Option<Issued> {
        let path = self.certificate_path(order);
        let text = read(&path)?;
        Issued::parse(&text, order).map_err(|reason| ignore(&path, &reason)).ok()
    }

    /// Keeps the certificate of an order: its key and chain as PEM. Blocks until the disk has it.
    ///
    /// # Errors
    /// It is not kept; what was there before still is.
    pub(super) fn keep_certificate(&self, order: &Order, pem: &str) -> io::Result<()> {
        let head = format!("Key and certificate of {}\nfrom {}\n", order.hosts_in_words(" "), order.directory);
        self.keep(&self.certificate_path(order), &format!("{head}{pem}"))
    }

    /// The account that an order is made with, if there is one. Blocks on a small read.
    pub(super) fn account(&self, order: &Order) -> Option<AccountCredentials> {
        let path = self.account_path(order);
        // The error may quote what is there.
        serde_json::from_slice(&read(&path)?).map_err(|_| ignore(&path, "it is not an account")).ok()
    }

    /// Keeps an account. Blocks until the disk has it.
    ///
    /// # Errors
    /// It is not kept; what was there before still is.
    pub(super) fn keep_account(&self, order: &Order, account: &AccountCredentials) -> io::Result<()> {
        self.keep(&self.account_path(order), &serde_json::to_string(account)?)
    }

    /// Forgets an account that the authority does not know. Blocks.
    pub(super) fn forget_account(&self, order: &Order) {
        // One that is gone already is as good.
        let _ = fs::remove_file(self.account_path(order));
    }

    /// Notes that the authority said no to an order just now, for the next process. Blocks.
    pub(super) fn note_refusal(&self, order: &Order) {
        // Without the note the next process only asks sooner.
        if let Err(error) = write_new(&self.refusal_path(order), b"") {
            tracing::debug!(%error, "a refusal cannot be noted");
        }
    }

    /// Forgets that it did. Blocks.
    pub(super) fn forget_refusal(&self, order: &Order) {
        // Mostly there is none.
        let _ = fs::remove_file(self.refusal_path(order));
    }

    /// How long an order is not asked for again, which was refused in an earlier process than the one that began at
    /// `began`. Blocks.
    pub(super) fn rest(&self, order: &Order, began: SystemTime, now: SystemTime) -> Option<Duration> {
        let refused = fs::metadata(self.refusal_path(order)).and_then(|meta| meta.modified()).ok()?;
        // One of the future is of a clock that was wrong.
        let ago = now.duration_since(refused).ok().filter(|_| refused < began)?;
        REST.checked_sub(ago).filter(|left| !left.is_zero())
    }

    fn refusal_path(&self, order: &Order) -> PathBuf {
        self.certificate_path(order).with_extension("refused")
    }

    fn certificate_path(&self, order: &Order) -> PathBuf {
        let first: String = order.hosts.first().map(Host::as_str).unwrap_or_default().chars().take(SHOWN).collect();
        let digest = digest([&*order.directory, &order.hosts_in_words(",")]);
        self.root.join(format!("certificates/{first}-{digest:016x}.pem"))
    }

    fn account_path(&self, order: &Order) -> PathBuf {
        let authority = order.directory.trim_start_matches("https://").split(['/', ':']).next().unwrap_or_default();
        let shown: String =
            authority.chars().filter(|c| c.is_ascii_alphanumeric() || "-.".contains(*c)).take(SHOWN).collect();
        let digest = digest([&*order.directory, order.email.as_deref().unwrap_or_default()]);
        self.root.join(format!("accounts/{shown}-{digest:016x}.json"))
    }

    fn folders(&self) -> io::Result<()> {
        let all = [self.root.clone(), self.root.join("accounts"), self.root.join("certificates")];
        all.iter().try_for_each(|folder| private::folder(folder))
    }

    fn keep(&self, path: &Path, text: &str) -> io::Result<()> {
        self.folders()?;
        private::replace(path, text.as_bytes())
    }
}

/// The content of a file; `None`: it is not there, or nothing can be had of it, which is said.
fn read(path: &Path) -> Option<Vec<u8>> {
    private::read(path, LARGEST).unwrap_or_else(|error| {
        ignore(path, &error.to_string());
        None
    })
}

fn ignore(path: &Path, reason: &str) {
    tracing::error!("{} cannot be used and is ordered anew: {reason}", path.display());
}

#[cfg(test)]
mod tests;
