//! The listeners by which a certificate authority can be shown a proof, and which of them are open.

use std::fmt;
use std::sync::Arc;

use crate::model::intent::{Challenge, Intent, ListenerKey, Protocol};
use crate::model::live::listener::Socket;
use crate::model::live::{ListenerState, Live};

/// The port of HTTP-01 (RFC 8555 §8.3), seen from the authority.
const HTTP: u16 = 80;
/// The port of TLS-ALPN-01 (RFC 8737 §3).
const TLS: u16 = 443;

/// One listener each, the likeliest first.
#[derive(Clone, Default)]
pub(super) struct Doors(Vec<(Challenge, Arc<ListenerState>)>);

impl fmt::Debug for Doors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(challenge, _)| challenge)).finish()
    }
}

impl Doors {
    /// Those of an intent. A listener on the very port that an authority asks comes first; behind a port forward it may
    /// be any.
    pub(super) fn of(intent: &Intent, live: &Live) -> Self {
        let mut doors: Vec<(bool, Challenge, ListenerKey)> = Vec::new();
        for (key, listener) in &intent.listeners {
            let (challenge, port) = match listener.protocol {
                Protocol::Http => (Challenge::Http01, HTTP),
                Protocol::Https => (Challenge::TlsAlpn01, TLS),
                Protocol::Tcp | Protocol::Udp | Protocol::TlsPassthrough => continue,
            };
            doors.push((key.address.port() != port, challenge, *key));
        }
        doors.sort_unstable();
        Self(doors.into_iter().map(|(_, challenge, key)| (challenge, live.listener(&key))).collect())
    }

    /// The ways that can be gone now, each once; only `wish`, if there is one.
    pub(super) fn open(&self, wish: Option<Challenge>) -> Vec<Challenge> {
        let mut ways = Vec::new();
        for (challenge, state) in &self.0 {
            let fits = wish.is_none_or(|wish| wish == *challenge) && !ways.contains(challenge);
            if fits && matches!(state.socket(), Socket::Open(_)) {
                ways.push(*challenge);
            }
        }
        ways
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::acme::tests::{listening, open};

    fn doors(listeners: &[(Protocol, u16)], closed: &[u16]) -> Vec<Challenge> {
        let live = Live::new(1);
        let intent = listening(listeners);
        let doors = Doors::of(&intent, &live);
        let keys = intent.listeners.keys().filter(|key| !closed.contains(&key.address.port()));
        keys.for_each(|key| open(&live, *key));
        doors.open(None)
    }

    #[test]
    fn the_port_that_authorities_ask_comes_first() {
        use Challenge::{Http01, TlsAlpn01};
        use Protocol::{Http, Https, Tcp, TlsPassthrough};
        assert_eq!(doors(&[(Http, 80), (Https, 443)], &[]), [Http01, TlsAlpn01]);
        assert_eq!(doors(&[(Http, 8080), (Https, 443)], &[]), [TlsAlpn01, Http01]);
        assert_eq!(doors(&[(Http, 8080), (Https, 8443)], &[]), [Http01, TlsAlpn01]);
        assert_eq!(doors(&[(Http, 80), (Http, 8080), (Https, 443)], &[80]), [TlsAlpn01, Http01]);
        assert_eq!(doors(&[(Http, 80), (Https, 443)], &[80]), [TlsAlpn01]);
        assert_eq!(doors(&[(Tcp, 80), (TlsPassthrough, 443)], &[]), []);
    }
}
