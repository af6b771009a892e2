//! Pure. What is done where nobody says anything and the model cannot know: the file and the clusters ask here alike.

use std::time::Duration;

use crate::model::intent::{Probe, Sticky, Transport};

/// How long a source keeps its backend, as with a Service's `sessionAffinity`: three hours.
pub(super) const STICKY: Sticky = Sticky::Source { timeout: STICKY_TIME };
/// The time of [`STICKY`].
pub(super) const STICKY_TIME: Duration = Duration::from_secs(10_800);

/// How backends are checked by whom nothing is said of it, when listeners of these transports lead to them.
///
/// A connection can be opened to whatever serves TCP. What takes datagrams alone need not answer on TCP, and a check
/// that fails for that would take it out: it is not checked unless somebody says how. A pool nobody leads to is checked
/// as if it served TCP.
pub(super) fn probe(transports: impl IntoIterator<Item = Transport>) -> Option<Probe> {
    let mut transports = transports.into_iter().peekable();
    let is_for_udp_alone = transports.peek().is_some() && transports.all(|transport| transport == Transport::Udp);
    (!is_for_udp_alone).then(Probe::default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_datagrams_alone_is_not_checked() {
        use Transport::{Tcp, Udp};
        for (transports, is_checked) in
            [(&[][..], true), (&[Tcp], true), (&[Udp], false), (&[Udp, Udp], false), (&[Udp, Tcp], true)]
        {
            assert_eq!(probe(transports.iter().copied()).is_some(), is_checked, "{transports:?}");
        }
    }
}
