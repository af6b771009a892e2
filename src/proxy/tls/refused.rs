//! Pure. Which failed handshakes are refusals of a client's certificate, and how often people are told of them.
//!
//! Whoever was sent away for his certificate asks why, and the client's side shows little more than an alert. A stranger
//! who tries again and again must not fill the log for that: one line in [`EVERY`] on each thread, which says how many
//! were left out.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use rustls::Error;

/// How often one is told.
const EVERY: Duration = Duration::from_secs(10);

/// When the next one may be told, and how many were not.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Refused {
    next: Cell<Duration>,
    unsaid: Cell<u64>,
}

impl Refused {
    /// Whether one may be told at `now`: how many were not since the last one that was.
    pub(super) fn may_tell(&self, now: Duration) -> Option<u64> {
        if now < self.next.get() {
            self.unsaid.set(self.unsaid.get() + 1);
            return None;
        }
        self.next.set(now + EVERY);
        Some(self.unsaid.take())
    }
}

/// Whether a handshake failed for the client's certificate.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    matches!(
        error,
        Some(Error::InvalidCertificate(_) | Error::InvalidCertRevocationList(_) | Error::NoCertificatesPresented)
    )
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, CertificateError};

    use super::*;

    #[test]
    fn one_is_told_and_then_how_many_were_not() {
        let refused = Refused::default();
        let at = |millis| refused.may_tell(Duration::from_millis(millis));
        assert_eq!([at(0), at(1), at(9_999), at(10_000), at(10_001)], [Some(0), None, None, Some(2), None]);
        assert_eq!([at(60_000), at(70_000)], [Some(1), Some(0)]);
    }

    #[test]
    fn only_certificates_are_refused() {
        let is = |error| is_refusal(&io::Error::new(io::ErrorKind::InvalidData, error));
        assert!(is(Error::NoCertificatesPresented) && is(CertificateError::Expired.into()));
        // The client's own word of our certificate, and noise.
        assert!(!is(Error::AlertReceived(AlertDescription::UnknownCA)) && !is(Error::DecryptError));
        assert!(!is_refusal(&io::Error::other("closed")) && !is_refusal(&io::ErrorKind::TimedOut.into()));
    }
}
