//! Listeners whose socket could not be opened, as problems of those who asked for them.
//!
//! The proxy tries again and again and writes what it finds into Live; nobody wakes the loop for it, which looks now and
//! then. An address that is not of this host is the mistake most often made with `services.addresses`, and its owner
//! looks at the Service, not at our log. Opens no socket and must not know what one is: it compares what was asked with
//! what Live says.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::intent::Intent;
use crate::model::live::Live;
use crate::model::live::listener::Socket;
use crate::model::problem::{Cause, Problem};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(2);

/// What could not be opened when it was looked last.
#[derive(Debug)]
pub(super) struct Unopened {
    problems: Vec<Problem>,
    due: Instant,
}

impl Unopened {
    /// Nothing was looked at yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { problems: Vec::new(), due: now + LOOK }
    }

    /// When to look.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// What was found.
    pub(super) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Looks at what was published; true if something else was found than before.
    pub(super) fn look(&mut self, intent: Option<&Intent>, live: &Live, now: Instant) -> bool {
        self.due = now + LOOK;
        let listeners = intent.iter().flat_map(|intent| &intent.listeners);
        let told = listeners.filter_map(|(key, listener)| match live.listener(key).socket() {
            Socket::Failed(reason) => Some(Problem::new(&listener.origin, &*reason).because(Cause::Unopened)),
            Socket::Closed | Socket::Open(_) => None,
        });
        let before = std::mem::replace(&mut self.problems, told.collect());
        before != self.problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::file;
    use crate::model::compile::compile;
    use crate::model::snapshot::Snapshot;

    #[test]
    fn who_asked_is_told_while_the_socket_is_not_open() {
        let yaml = "listeners: {a: {bind: 127.0.0.1:81, protocol: tcp, pool: p}, b: {bind: 127.0.0.1:82, protocol: tcp, pool: p}}\n\
                    pools: {p: {backends: [127.0.0.1:1]}}\n";
        let intent = file::parse(yaml).unwrap().fragment;
        let live = Live::new(1);
        let (snapshot, _) = compile(&intent, &Snapshot::default(), &live);
        let now = Instant::now();
        let mut unopened = Unopened::new(now);
        assert!(!unopened.look(Some(&intent), &live, now));
        let key = *intent.listeners.keys().next().unwrap();
        live.listener(&key).set_socket(Socket::Failed("127.0.0.1:81 is taken".into()));
        assert!(unopened.look(Some(&intent), &live, now) && !unopened.look(Some(&intent), &live, now));
        let told: Vec<_> = unopened.problems().iter().map(ToString::to_string).collect();
        assert_eq!(told, ["file: listener a: 127.0.0.1:81 is taken"]);
        live.listener(&key).set_socket(Socket::Open(key.address));
        assert!(unopened.look(Some(&intent), &live, now) && unopened.problems().is_empty());
        // The states live as long as what was compiled.
        drop(snapshot);
    }
}
