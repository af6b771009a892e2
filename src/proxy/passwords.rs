//! Checks of names and passwords: by a thread of its own, since a good hash takes a data thread's whole turn and more.
//!
//! Theory: what was found right is remembered for a while under a keyed hash of the password and of the very hash it
//! was checked against, so that the next request costs a microsecond, and a password that is changed in the list is
//! asked for anew at once. What was found wrong is remembered for some seconds, for programs that try the same again
//! and again. The rest waits in a bounded line for one thread. That thread rests after a wrong one for as long as it
//! took, so that a flood of wrong passwords has at most half of one core; and a source that was wrong too often is not
//! heard until some time has passed. All of it is shared by the data threads, behind short locks that only requests
//! with a name and a password come to.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::model::htpasswd::Hashed;
use crate::model::live::sources::SourceKey;

mod hash;

/// Checks that wait for the thread at once.
const LINE: usize = 32;
/// How long a request waits for its check.
const WAIT: Duration = Duration::from_secs(10);
/// How long a right password is not checked again.
const RIGHT: Duration = Duration::from_secs(300);
/// How long a wrong one is not.
const WRONG: Duration = Duration::from_secs(10);
/// The most that is remembered of each kind.
const MOST: usize = 4096;
/// So many wrong passwords a source may try at once …
const TRIES: u32 = 10;
/// … and one more after each of these.
const FORGIVEN: Duration = Duration::from_secs(3);

/// What a check came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// It is the right password.
    Right,
    /// It is not.
    Wrong,
    /// The source was wrong too often lately.
    TooOften,
    /// Too many checks wait.
    Busy,
}

/// The checks of the whole process.
pub(super) struct Passwords {
    key: hmac::Key,
    known: Mutex<Known>,
    line: OnceLock<Option<SyncSender<Job>>>,
}

#[derive(Default)]
struct Known {
    right: Memory<Print, Instant>,
    wrong: Memory<Print, Instant>,
    // How many tries a source has spent, as of a time.
    tries: Memory<SourceKey, (u32, Instant)>,
}

/// Stands for a password and the hash it was checked against.
type Print = [u8; 32];

struct Job {
    hashed: Hashed,
    password: Vec<u8>,
    answer: oneshot::Sender<bool>,
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passwords")
    }
}

impl Default for Passwords {
    fn default() -> Self {
        // A key of chance; without one, nothing that was remembered before is known after a restart either way.
        let mut bytes = [0; 32];
        let _ = aws_lc_rs::rand::fill(&mut bytes);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        Self { key, known: Mutex::default(), line: OnceLock::new() }
    }
}

impl Passwords {
    /// Whether `password` is the one of a user; `hashed` is the user's, or where there is no such user (`exists` is
    /// false) one to spend the same time on. Waits for its turn, at most ten seconds.
    pub(super) async fn check(&self, hashed: &Hashed, exists: bool, password: &[u8], source: IpAddr) -> Verdict {
        let (print, source) = (self.print(hashed, exists, password), SourceKey::of(source));
        let now = Instant::now();
        {
            let mut known = self.known();
            if known.right.find(&print, |until| *until > now) {
                return Verdict::Right;
            }
            if known.wrong.find(&print, |until| *until > now) {
                return Verdict::Wrong;
            }
            if !known.take_try(source, now) {
                return Verdict::TooOften;
            }
        }
        let (answer, answered) = oneshot::channel();
        let job = Job { hashed: hashed.clone(), password: password.to_vec(), answer };
        let sent = self.line().map(|line| line.try_send(job));
        let verdict = match sent {
            Some(Ok(())) => match timeout(WAIT, answered).await {
                Ok(Ok(right)) if right && exists => Verdict::Right,
                Ok(Ok(_)) => Verdict::Wrong,
                Ok(Err(_)) | Err(_) => Verdict::Busy,
            },
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => Verdict::Busy,
        };
        let now = Instant::now();
        let mut known = self.known();
        match verdict {
            Verdict::Right => {
                known.give_try(source);
                known.right.put(print, now + RIGHT, |until| *until > now);
            }
            Verdict::Wrong => known.wrong.put(print, now + WRONG, |until| *until > now),
            // It was not judged, so it was no wrong one.
            Verdict::TooOften | Verdict::Busy => known.give_try(source),
        }
        verdict
    }

    fn print(&self, hashed: &Hashed, exists: bool, password: &[u8]) -> Print {
        let mut context = hmac::Context::with_key(&self.key);
        match hashed {
            Hashed::Bcrypt { salt, digest, .. } => {
                [&salt[..], &digest[..]].iter().for_each(|part| context.update(part))
            }
            Hashed::Apr1 { digest, .. } => context.update(digest),
            Hashed::Sha1(digest) => context.update(digest),
            Hashed::ShaCrypt { digest, .. } => context.update(digest.as_bytes()),
        }
        context.update(&[u8::from(exists)]);
        context.update(password);
        let mut print = [0; 32];
        // SHA-256 gives just as many.
        print.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        print
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // What is remembered may be forgotten at any time, so half of a change does no harm.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to the thread, which is started when it is first needed and ends with the process.
    fn line(&self) -> Option<&SyncSender<Job>> {
        let start = || {
            let (sender, jobs) = sync_channel(LINE);
            std::thread::Builder::new().name("passwords".to_owned()).spawn(move || work(&jobs)).ok().map(|_| sender)
        };
        self.line.get_or_init(start).as_ref()
    }
}

fn work(jobs: &Receiver<Job>) {
    while let Ok(Job { hashed, password, answer }) = jobs.recv() {
        if answer.is_closed() {
            continue;
        }
        let began = Instant::now();
        let right = hash::is_right(&hashed, &password);
        let _ = answer.send(right);
        if !right {
            std::thread::sleep(began.elapsed());
        }
    }
}

impl Known {
    /// Spends a try of this source, if it has one left.
    fn take_try(&mut self, source: SourceKey, now: Instant) -> bool {
        let (spent, since) = self.tries.0.get(&source).copied().unwrap_or((0, now));
        let forgiven = u32::try_from((now - since).as_nanos() / FORGIVEN.as_nanos()).unwrap_or(u32::MAX);
        let left = spent.saturating_sub(forgiven);
        if left >= TRIES {
            return false;
        }
        let since = if left == 0 { now } else { since + FORGIVEN * forgiven };
        // Who has been quiet for this long has nothing left to forgive.
        let stale = FORGIVEN * TRIES;
        self.tries.put(source, (left + 1, since), |(_, since)| now - *since < stale);
        true
    }

    fn give_try(&mut self, source: SourceKey) {
        if let Some((spent, _)) = self.tries.0.get_mut(&source) {
            *spent = spent.saturating_sub(1);
        }
    }
}

/// What is remembered, bounded: when it is full what is stale goes, and if nothing is, all does.
struct Memory<K, V>(HashMap<K, V>);

impl<K, V> Default for Memory<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash, V> Memory<K, V> {
    fn find(&mut self, key: &K, is_fresh: impl Fn(&V) -> bool) -> bool {
        match self.0.get(key).map(is_fresh) {
            Some(true) => true,
            Some(false) => {
                self.0.remove(key);
                false
            }
            None => false,
        }
    }

    fn put(&mut self, key: K, value: V, is_fresh: impl Fn(&V) -> bool) {
        if self.0.len() >= MOST && !self.0.contains_key(&key) {
            self.0.retain(|_, value| is_fresh(value));
            if self.0.len() >= MOST {
                self.0.clear();
            }
        }
        self.0.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::htpasswd::Users;

    fn users() -> Users {
        Users::parse(b"ann:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/\nbob:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=").unwrap()
    }

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn right_and_wrong_ones_are_told_apart_and_remembered() {
        let (passwords, users) = (Passwords::default(), users());
        for name in ["ann", "bob"] {
            let hashed = users.find(name).unwrap();
            for _ in 0..50 {
                assert_eq!(passwords.check(hashed, true, b"secret", HOME).await, Verdict::Right);
            }
            assert_eq!(passwords.check(hashed, true, b"Secret", HOME).await, Verdict::Wrong);
            assert_eq!(passwords.check(hashed, false, b"secret", HOME).await, Verdict::Wrong, "nobody's password");
        }
        assert_eq!(passwords.known().right.0.len(), 2);
        // What is remembered of one hash says nothing of another.
        let changed = Users::parse(b"ann:$apr1$zz$j2/RZcZLBHtY4Hv3/anFc1").unwrap();
        assert_eq!(passwords.check(changed.find("ann").unwrap(), true, b"secret", HOME).await, Verdict::Wrong);
    }

    #[tokio::test]
    async fn a_source_that_is_wrong_too_often_is_not_heard_and_others_are() {
        let (passwords, users) = (Passwords::default(), users());
        let bob = users.find("bob").unwrap();
        let mut found = Vec::new();
        for n in 0..TRIES + 3 {
            found.push(passwords.check(bob, true, format!("guess {n}").as_bytes(), HOME).await);
        }
        assert_eq!(found.iter().filter(|v| **v == Verdict::Wrong).count(), TRIES as usize);
        assert_eq!(found.last(), Some(&Verdict::TooOften));
        assert_eq!(passwords.check(bob, true, b"guess 0", HOME).await, Verdict::Wrong, "known, so it costs nothing");
        let other = "192.0.2.1".parse().unwrap();
        assert_eq!(passwords.check(bob, true, b"secret", other).await, Verdict::Right);
        assert_eq!(passwords.check(bob, true, b"secret", HOME).await, Verdict::Right, "what is known is not refused");
    }

    #[test]
    fn tries_come_back_with_time() {
        let (mut known, source) = (Known::default(), SourceKey::of(HOME));
        let start = Instant::now();
        for _ in 0..TRIES {
            assert!(known.take_try(source, start));
        }
        assert!(!known.take_try(source, start + FORGIVEN - Duration::from_millis(1)));
        assert!(known.take_try(source, start + FORGIVEN));
        assert!(!known.take_try(source, start + FORGIVEN));
        assert!(known.take_try(source, start + FORGIVEN * 2));
        known.give_try(source);
        assert!(known.take_try(source, start + FORGIVEN * 2));
        for _ in 0..TRIES {
            assert!(known.take_try(source, start + FORGIVEN * 100));
        }
        assert!(!known.take_try(source, start + FORGIVEN * 100));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut memory = Memory::default();
        for n in 0..MOST * 3 {
            memory.put(n, n, |value| *value >= MOST);
            assert!(memory.0.len() <= MOST);
        }
    }
}
