//! What certificate authorities are answered while an order is under way, and how orders went.
//!
//! Control offers answers, the data plane gives them. Nearly always there is none, which costs a request or a handshake
//! one load of a flag; else a reader takes a whole table, which a writer has swapped in. Only what was offered is
//! answered: the challenges of others on the same path are none of ours.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::sign::CertifiedKey;

use crate::model::host::Host;

/// Where an authority looks for the answer to HTTP-01 (RFC 8555 §8.3).
const PATH: &str = "/.well-known/acme-challenge/";

/// The protocol that an authority offers in a handshake of TLS-ALPN-01 (RFC 8737 §4).
pub const PROTOCOL: &[u8] = b"acme-tls/1";

/// Answers to challenges, and counts of orders.
#[derive(Debug, Default)]
pub struct AcmeState {
    any: AtomicBool,
    answers: ArcSwap<Answers>,
    /// Held while the table is changed.
    changing: Mutex<()>,
    issued: AtomicU64,
    failed: AtomicU64,
}

#[derive(Clone, Debug, Default)]
struct Answers {
    /// By token.
    texts: HashMap<Box<str>, Arc<str>>,
    keys: HashMap<Host, Arc<CertifiedKey>>,
}

/// One answer to one challenge.
#[derive(Clone)]
pub enum Answer {
    /// The text to give on the path of the token.
    Text {
        /// The last part of the path.
        token: Box<str>,
        /// The key authorization.
        text: Arc<str>,
    },
    /// The certificate to show for a name.
    Key {
        /// The name.
        host: Host,
        /// A self-signed certificate that holds the proof.
        key: Arc<CertifiedKey>,
    },
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { token, .. } => f.debug_struct("Text").field("token", token).finish_non_exhaustive(),
            Self::Key { host, .. } => f.debug_struct("Key").field("host", host).finish_non_exhaustive(),
        }
    }
}

/// Keeps an answer offered for as long as it lives.
#[derive(Debug)]
pub struct Offer {
    state: Arc<AcmeState>,
    answer: Answer,
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.state.change(|answers| match &self.answer {
            Answer::Text { token, .. } => drop(answers.texts.remove(token)),
            // Another order for the same name may have offered its own since.
            Answer::Key { host, key } => {
                if answers.keys.get(host).is_some_and(|held| Arc::ptr_eq(held, key)) {
                    answers.keys.remove(host);
                }
            }
        });
    }
}

impl AcmeState {
    /// Offers an answer until what this gives back is dropped.
    pub fn offer(self: &Arc<Self>, answer: Answer) -> Offer {
        self.change(|answers| match answer.clone() {
            Answer::Text { token, text } => drop(answers.texts.insert(token, text)),
            Answer::Key { host, key } => drop(answers.keys.insert(host, key)),
        });
        Offer { state: self.clone(), answer }
    }

    /// Whether any answer is offered.
    pub fn is_offering(&self) -> bool {
        self.any.load(Relaxed)
    }

    /// The text to answer a plain request for this path with; `None`: it is no challenge of ours.
    pub fn text(&self, path: &str) -> Option<Arc<str>> {
        if !self.any.load(Relaxed) {
            return None;
        }
        self.answers.load().texts.get(path.strip_prefix(PATH)?).cloned()
    }

    /// The certificate to show an authority that looks for this name; `None`: we did not ask it to.
    pub fn key(&self, host: &Host) -> Option<Arc<CertifiedKey>> {
        if !self.any.load(Relaxed) {
            return None;
        }
        self.answers.load().keys.get(host).cloned()
    }

    /// An order ended, in a certificate or not.
    pub fn ended(&self, in_a_certificate: bool) {
        if in_a_certificate { &self.issued } else { &self.failed }.fetch_add(1, Relaxed);
    }

    /// How many orders ended in a certificate, and how many did not.
    pub fn orders(&self) -> (u64, u64) {
        (self.issued.load(Relaxed), self.failed.load(Relaxed))
    }

    fn change(&self, change: impl FnOnce(&mut Answers)) {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut answers = Answers::clone(&self.answers.load());
        change(&mut answers);
        let any = !(answers.texts.is_empty() && answers.keys.is_empty());
        self.answers.store(Arc::new(answers));
        self.any.store(any, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(token: &str) -> Answer {
        Answer::Text { token: token.into(), text: format!("{token}.thumb").into() }
    }

    fn key(host: &str) -> (Answer, Arc<CertifiedKey>) {
        let made = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
        let der = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der).unwrap();
        let key = Arc::new(CertifiedKey::new(vec![made.cert.der().clone()], signer));
        (Answer::Key { host: Host::parse(host).unwrap(), key: key.clone() }, key)
    }

    #[test]
    fn only_what_is_offered_is_answered_and_only_as_long() {
        let state = Arc::new(AcmeState::default());
        assert_eq!(state.text("/.well-known/acme-challenge/a"), None);
        let (first, second) = (state.offer(text("a")), state.offer(text("b")));
        assert_eq!(state.text("/.well-known/acme-challenge/a").as_deref(), Some("a.thumb"));
        for path in ["/.well-known/acme-challenge/c", "/.well-known/acme-challenge/", "/a", "a", "/x/a"] {
            assert_eq!(state.text(path), None, "{path}");
        }
        drop(first);
        assert_eq!(state.text("/.well-known/acme-challenge/a"), None);
        assert_eq!(state.text("/.well-known/acme-challenge/b").as_deref(), Some("b.thumb"));
        drop(second);
        assert!(!state.any.load(Relaxed), "the flag falls with the last answer");
    }

    #[test]
    fn a_later_key_for_a_name_is_not_taken_back_by_the_earlier_ones_end() {
        let state = Arc::new(AcmeState::default());
        let host = Host::parse("a.test").unwrap();
        let ((first, _), (second, later)) = (key("a.test"), key("a.test"));
        let first = state.offer(first);
        let second = state.offer(second);
        drop(first);
        assert!(Arc::ptr_eq(&state.key(&host).unwrap(), &later));
        drop(second);
        assert!(state.key(&host).is_none());
    }

    #[test]
    fn what_is_shown_of_an_answer_is_no_proof() {
        assert!(!format!("{:?}", text("a")).contains("thumb"));
    }
}
