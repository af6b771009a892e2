//! Files on a real disk: modes, what is damaged, what a crash leaves.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::control::acme::tests::{order, pem};

struct Disk {
    folder: tempfile::TempDir,
    dir: StateDir,
}

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::new(&folder.path().join("state"));
        Self { folder, dir }
    }

    /// All files under `acme/`, by their path below it, with their modes.
    fn files(&self) -> Vec<(String, u32)> {
        let root = self.folder.path().join("state/acme");
        let mut files = Vec::new();
        for folder in ["accounts", "certificates"] {
            for entry in fs::read_dir(root.join(folder)).unwrap() {
                let entry = entry.unwrap();
                let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
                files.push((format!("{folder}/{}", entry.file_name().to_str().unwrap()), mode));
            }
        }
        files
    }

    fn only(&self) -> PathBuf {
        let files = self.files();
        assert_eq!(files.len(), 1, "{files:?}");
        self.folder.path().join("state/acme").join(&files[0].0)
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_is_kept_is_read_back_and_is_nobody_elses() {
    let disk = Disk::new();
    let asked = order(&["a.test", "b.test"]);
    assert_eq!(disk.dir.certificate(&asked), None);
    disk.dir.keep_certificate(&asked, &pem(&["a.test", "b.test"], 10..100)).unwrap();
    let first = disk.dir.certificate(&asked).unwrap();
    assert_eq!((first.validity.not_before, first.validity.not_after), (10 * 86400, 100 * 86400));
    disk.dir.keep_certificate(&asked, &pem(&["a.test", "b.test"], 70..160)).unwrap();
    assert_ne!(disk.dir.certificate(&asked).unwrap(), first);
    assert_eq!(mode(&disk.only()), 0o600);
    for folder in ["state", "state/acme", "state/acme/accounts", "state/acme/certificates"] {
        assert_eq!(mode(&disk.folder.path().join(folder)), 0o700, "{folder}");
    }
}

#[test]
fn each_order_has_a_file_of_its_own() {
    let disk = Disk::new();
    let (a, b) = (order(&["a.test"]), order(&["a.test", "b.test"]));
    let staging = Order { directory: "https://staging.test/".into(), ..a.clone() };
    for (asked, hosts) in [(&a, &["a.test"][..]), (&b, &["a.test", "b.test"]), (&staging, &["a.test"])] {
        disk.dir.keep_certificate(asked, &pem(hosts, 1..2)).unwrap();
    }
    assert_eq!(disk.files().len(), 3);
    let long = format!("{}.test", vec!["x".repeat(60); 4].join("."));
    disk.dir.keep_certificate(&order(&[&long]), &pem(&[&long], 1..2)).unwrap();
    assert!(disk.dir.certificate(&order(&[&long])).is_some(), "a name that is longer than files' may be");
}

#[test]
fn what_cannot_be_used_is_as_if_it_were_not_there() {
    let disk = Disk::new();
    let asked = order(&["a.test"]);
    disk.dir.keep_certificate(&asked, &pem(&["a.test"], 1..2)).unwrap();
    let path = disk.only();
    let good = fs::read_to_string(&path).unwrap();
    let (key, cert) = good.split_at(good.find("-----BEGIN CERTIFICATE").unwrap());
    let other = pem(&["a.test"], 1..2);
    let other_key = &other[..other.find("-----BEGIN CERTIFICATE").unwrap()];
    let table = [
        ("nothing", String::new()),
        ("half of it", good[..good.len() / 2].to_owned()),
        ("no key", cert.to_owned()),
        ("no certificate", key.to_owned()),
        ("another's key", format!("{other_key}{cert}")),
        ("another's name", pem(&["b.test"], 1..2)),
    ];
    for (what, text) in table {
        fs::write(&path, text).unwrap();
        assert_eq!(disk.dir.certificate(&asked), None, "{what}");
    }
    fs::write(&path, [0xff; 64]).unwrap();
    assert_eq!(disk.dir.certificate(&asked), None, "no text");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(disk.dir.certificate(&asked), None, "a folder");
    fs::remove_dir(&path).unwrap();
    disk.dir.keep_certificate(&asked, &good).unwrap();
    assert!(disk.dir.certificate(&asked).is_some(), "and it can be replaced");
}

#[test]
fn what_others_could_read_is_closed_to_them() {
    let disk = Disk::new();
    let asked = order(&["a.test"]);
    let folder = disk.folder.path().join("state/acme/certificates");
    disk.dir.keep_certificate(&asked, &pem(&["a.test"], 1..2)).unwrap();
    let path = disk.only();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    assert!(disk.dir.certificate(&asked).is_some(), "it is used all the same");
    assert_eq!(mode(&path), 0o600);
    disk.dir.prepare().unwrap();
    assert_eq!(mode(&folder), 0o700);
}

#[test]
fn what_a_crash_left_half_written_is_in_nobodys_way() {
    let disk = Disk::new();
    let asked = order(&["a.test"]);
    disk.dir.keep_certificate(&asked, &pem(&["a.test"], 1..2)).unwrap();
    let (path, target) = (disk.only(), disk.folder.path().join("elsewhere"));
    // A link in its place must not make us write elsewhere.
    symlink(&target, path.with_extension("new")).unwrap();
    disk.dir.keep_certificate(&asked, &pem(&["a.test"], 3..4)).unwrap();
    assert!(!target.exists());
    assert_eq!(disk.only(), path);
    assert_eq!(disk.dir.certificate(&asked).unwrap().validity.not_before, 3 * 86400);
}

#[test]
fn a_folder_that_cannot_be_had_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let said = StateDir::new(&file).prepare().unwrap_err();
    assert!(said.contains("file/acme cannot be written: ") && said.contains("process.state_dir"), "{said}");
    StateDir::new(folder.path()).prepare().unwrap();
    assert_eq!(fs::read_dir(folder.path().join("acme/accounts")).unwrap().count(), 0, "it leaves nothing behind");
}

#[test]
fn accounts_are_kept_by_authority_and_address() {
    let disk = Disk::new();
    let plain = order(&["a.test"]);
    let with_email = Order { email: Some("me@a.test".into()), ..plain.clone() };
    let key = rcgen::KeyPair::generate().unwrap();
    // The library's own form: base64url of PKCS#8.
    let text = format!(r#"{{"id":"https://ca.test/1","key_pkcs8":"{}","directory":"https://ca.test/directory"}}"#, {
        let pem = key.serialize_pem();
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        body.replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned()
    });
    let account: AccountCredentials = serde_json::from_str(&text).unwrap();
    assert!(disk.dir.account(&plain).is_none());
    disk.dir.keep_account(&plain, &account).unwrap();
    assert!(disk.dir.account(&plain).is_some());
    assert!(disk.dir.account(&order(&["b.test"])).is_some(), "the same for other hosts");
    assert!(disk.dir.account(&with_email).is_none());
    assert_eq!(mode(&disk.only()), 0o600);
    fs::write(disk.only(), "{}").unwrap();
    assert!(disk.dir.account(&plain).is_none(), "damaged");
    disk.dir.forget_account(&plain);
    assert!(disk.files().is_empty());
}

#[test]
fn the_folder_is_one_process_and_the_next_one_waits_for_its_end() {
    let disk = Disk::new();
    let other = StateDir::new(&disk.folder.path().join("state"));
    disk.dir.prepare().unwrap();
    disk.dir.prepare().unwrap();
    let told = other.prepare().unwrap_err();
    assert!(told.contains("is another sluice's as long as that runs"), "{told}");
    disk.dir.keep_certificate(&order(&["a.test"]), &pem(&["a.test"], 10..100)).unwrap();
    assert!(other.certificate(&order(&["a.test"])).is_some(), "what is there is served");
    let Disk { folder, dir } = disk;
    drop(dir);
    other.prepare().unwrap();
    drop(folder);
}

#[test]
fn a_refusal_is_remembered_by_the_next_process_for_a_while() {
    let disk = Disk::new();
    disk.dir.prepare().unwrap();
    let (refused, other) = (order(&["a.test"]), order(&["b.test"]));
    disk.dir.note_refusal(&refused);
    let now = SystemTime::now();
    let later = |seconds| now + Duration::from_secs(seconds);
    let rest = |order, began, now| disk.dir.rest(order, began, now).map(|left| left.as_secs().div_ceil(60));
    assert_eq!(rest(&refused, later(60), later(60)), Some(14));
    assert_eq!(rest(&refused, later(60), later(901)), None, "it is over");
    assert_eq!(rest(&refused, later(0) - Duration::from_secs(60), later(60)), None, "this process knows by itself");
    assert_eq!(rest(&refused, later(60), later(0) - Duration::from_secs(60)), None, "the clock was set back");
    assert_eq!(rest(&other, later(60), later(60)), None);
    disk.dir.forget_refusal(&refused);
    assert_eq!(rest(&refused, later(60), later(60)), None);
}
