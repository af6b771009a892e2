//! Sessions that clients may resume, each under the policy it was begun under and no other.
//!
//! Theory: a resumed session skips the check of certificates, so one that was begun where none is asked for must not open
//! a door that asks for one, nor may the session of one host's certificate stand for another's. The keys of tickets and
//! the memory of session ids are one for the process, so that they outlive every snapshot; what goes into a ticket, and
//! the id that is remembered, begin with the number of their policy. A number is given once and never again. A policy is
//! the listener's rules (with the authorities and revocations of clients) and the certificates' *names*: a renewal keeps
//! its sessions, a change of who is trusted does not. Ticket keys change every six hours, and tickets live for twelve.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions};

use crate::model::intent::CertName;
use crate::model::intent::tls::TlsRules;

/// Sessions kept for TLS 1.2 resumption by id, in all.
const SESSIONS: usize = 4096;

/// What a session is bound to: rules, and certificates in order.
pub(super) type Policy = (TlsRules, Box<[CertName]>);

/// The sessions of the process.
pub(super) struct Sessions {
    /// Without randomness there are no tickets and each handshake is a full one.
    tickets: Option<Arc<dyn ProducesTickets>>,
    remembered: Arc<dyn StoresServerSessions>,
    policies: Mutex<HashMap<Policy, Weak<Bound>>>,
    next: AtomicU64,
}

impl Sessions {
    pub(super) fn new() -> Self {
        Self {
            tickets: rustls::crypto::aws_lc_rs::Ticketer::new().ok(),
            remembered: ServerSessionMemoryCache::new(SESSIONS),
            policies: Mutex::default(),
            next: AtomicU64::new(0),
        }
    }

    /// Whether there are tickets.
    pub(super) fn has_tickets(&self) -> bool {
        self.tickets.is_some()
    }

    /// The sessions of a policy: the same for as long as a configuration uses them.
    pub(super) fn of(&self, policy: Policy) -> Arc<Bound> {
        let mut policies = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = policies.get(&policy).and_then(Weak::upgrade) {
            return known;
        }
        policies.retain(|_, bound| bound.strong_count() > 0);
        let number = self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let bound = Arc::new(Bound { number, tickets: self.tickets.clone(), remembered: self.remembered.clone() });
        policies.insert(policy, Arc::downgrade(&bound));
        bound
    }
}

/// The sessions of one policy.
pub(super) struct Bound {
    number: [u8; 8],
    tickets: Option<Arc<dyn ProducesTickets>>,
    remembered: Arc<dyn StoresServerSessions>,
}

impl Bound {
    fn marked(&self, bytes: &[u8]) -> Vec<u8> {
        [&self.number, bytes].concat()
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("number", &u64::from_be_bytes(self.number)).finish_non_exhaustive()
    }
}

impl ProducesTickets for Bound {
    fn enabled(&self) -> bool {
        self.tickets.as_ref().is_some_and(|tickets| tickets.enabled())
    }

    fn lifetime(&self) -> u32 {
        self.tickets.as_ref().map_or(0, |tickets| tickets.lifetime())
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.tickets.as_ref()?.encrypt(&self.marked(plain))
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        // The number is within what the ticket's key vouches for, so comparing it tells nobody anything.
        let plain = self.tickets.as_ref()?.decrypt(cipher)?;
        plain.strip_prefix(&self.number).map(<[u8]>::to_vec)
    }
}

impl StoresServerSessions for Bound {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.remembered.put(self.marked(&key), value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.remembered.get(&self.marked(key))
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.remembered.take(&self.marked(key))
    }

    fn can_cache(&self) -> bool {
        self.remembered.can_cache()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::intent::tls::TlsVersion;

    fn policy(min_version: TlsVersion, cert: &str) -> Policy {
        (TlsRules { min_version, ..TlsRules::default() }, [CertName::new(cert)].into())
    }

    #[test]
    fn a_session_is_of_its_policy_alone() {
        let sessions = Sessions::new();
        let a = sessions.of(policy(TlsVersion::Tls12, "a"));
        let same = sessions.of(policy(TlsVersion::Tls12, "a"));
        let others = [sessions.of(policy(TlsVersion::Tls13, "a")), sessions.of(policy(TlsVersion::Tls12, "b"))];
        let ticket = a.encrypt(b"secret").unwrap();
        assert!(a.put(vec![1], vec![2]));
        assert_eq!(same.decrypt(&ticket).as_deref(), Some(&b"secret"[..]));
        assert_eq!(same.get(&[1]), Some(vec![2]));
        for other in others {
            assert_eq!(other.decrypt(&ticket), None);
            assert_eq!((other.get(&[1]), other.take(&[1])), (None, None));
        }
        assert_eq!(same.take(&[1]), Some(vec![2]));
    }

    #[test]
    fn a_policy_that_nobody_uses_is_forgotten_and_its_sessions_are_not_taken_again() {
        let sessions = Sessions::new();
        let gone = sessions.of(policy(TlsVersion::Tls12, "a"));
        let ticket = gone.encrypt(b"secret").unwrap();
        drop(gone);
        sessions.of(policy(TlsVersion::Tls12, "b"));
        assert_eq!(sessions.policies.lock().unwrap().len(), 1);
        assert_eq!(sessions.of(policy(TlsVersion::Tls12, "a")).decrypt(&ticket), None);
    }
}
