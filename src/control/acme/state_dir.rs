//! What outlives the process: accounts and certificates, under `acme/` in the state folder.
//!
//! Each is one file, so that a key and its chain never part: written aside, synced, then renamed, so that a crash leaves
//! the old one or the new. Files are for their owner alone (0600, folders 0700); what others could read is closed to
//! them, and said. What cannot be read back is said too, and ordered anew.
//!
//! Two processes with one folder would order the same twice and write over each other's accounts: whoever writes first
//! has it for as long as it lives (`flock`), and the other is told so. It may read, so it serves what is there.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use instant_acme::AccountCredentials;

use super::issued::Issued;
use crate::model::host::Host;
use crate::model::intent::Order;

/// The largest file that is read.
const LARGEST: u64 = 1 << 20;
/// The most of a name that is shown in the name of a file, whose limit is 255.
const SHOWN: usize = 100;
/// After a refusal a new process rests for as long: whoever is restarted again and again must not use up the five
/// failures that Let's Encrypt takes in an hour, and whoever mended what was wrong will not wait for hours.
const REST: Duration = Duration::from_secs(15 * 60);
/// What others may do: nothing.
const OTHERS: u32 = 0o077;

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
            let path = self.root.join(".lock");
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
            let file = file.map_err(TryLockError::Error)?;
            file.try_lock()?;
            *lock = Some(file);
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
        for folder in [self.root.clone(), self.root.join("accounts"), self.root.join("certificates")] {
            DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
            close_to_others(&folder, 0o700)?;
        }
        Ok(())
    }

    fn keep(&self, path: &Path, text: &str) -> io::Result<()> {
        self.folders()?;
        let aside = path.with_extension("new");
        write_new(&aside, text.as_bytes())?;
        fs::rename(&aside, path)?;
        // The name too must outlive a loss of power.
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

/// Writes a file of our own from its beginning, and waits for the disk.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // What a crash left there may have another mode, or be a link.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The content of a file; `None`: it is not there, or nothing can be had of it, which is said.
fn read(path: &Path) -> Option<Vec<u8>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            ignore(path, &error.to_string());
            return None;
        }
    };
    if let Err(error) = close_to_others(path, 0o600) {
        tracing::warn!(%error, "{} can be read by others: make it 0600", path.display());
    }
    let mut bytes = Vec::new();
    match file.take(LARGEST).read_to_end(&mut bytes) {
        Ok(_) => Some(bytes),
        Err(error) => {
            ignore(path, &error.to_string());
            None
        }
    }
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

fn ignore(path: &Path, reason: &str) {
    tracing::error!("{} cannot be used and is ordered anew: {reason}", path.display());
}

/// Stands for texts in the names of files: FNV-1a, the same in every process. What is read back is checked, so that two
/// that met would cost an order, no more.
fn digest<'t>(texts: impl IntoIterator<Item = &'t str>) -> u64 {
    let bytes = texts.into_iter().flat_map(|text| text.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests;
