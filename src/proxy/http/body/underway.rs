//! What a request holds: its lease, its place at the client and the backend's connection.

use std::rc::Rc;
use std::sync::Arc;

use tokio::time::Instant;

use crate::model::live::{Lease, PoolState};
use crate::proxy::http::clients::Lent;
use crate::proxy::http::session::Session;

/// What a request holds until its answer has ended. It is let go of when the answer's body is dropped, or before that
/// when the client goes away.
#[derive(Debug)]
pub(in crate::proxy::http) struct Underway {
    pub(super) session: Rc<Session>,
    started: Instant,
    /// Takes the duration, once a pool was chosen.
    pub(in crate::proxy::http) pool: Option<Arc<PoolState>>,
    /// Counts the request at its backend.
    pub(in crate::proxy::http) lease: Option<Lease>,
    /// The backend's connection.
    pub(in crate::proxy::http) connection: Option<Lent>,
    /// The client got all that there was for it.
    pub(super) is_whole: bool,
}

impl Underway {
    /// Begins with a request's head.
    pub(in crate::proxy::http) fn new(session: &Rc<Session>) -> Self {
        session.begin();
        Self {
            session: session.clone(),
            started: Instant::now(),
            pool: None,
            lease: None,
            connection: None,
            is_whole: false,
        }
    }

    /// When the request's head was read.
    pub(in crate::proxy::http) fn started(&self) -> Instant {
        self.started
    }

    /// The backend has said all: a stream that its client leaves waiting holds nothing of it. A connection of HTTP/1 ends
    /// its answer at once, and reads the clock once for all.
    pub(super) fn release(&mut self) {
        if self.session.h2.get()
            && let Some(connection) = self.connection.take()
        {
            connection.give_back(Instant::now());
            self.lease = None;
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let now = Instant::now();
        self.session.end(now);
        self.session.judge(self.is_whole);
        if let Some(pool) = &self.pool {
            pool.took(now - self.started);
        }
        if let Some(connection) = self.connection.take() {
            connection.give_back(now);
        }
    }
}
