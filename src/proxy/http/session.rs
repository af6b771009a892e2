//! What all requests of one client connection share.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use tokio::time::{Instant, Sleep, sleep_until};

use super::Tls;
use super::calm::Budget;
use super::clients::{Clients, Shelf};
use super::forwarded;
use super::streams::{Shut, Turn};
use super::trunks::Trunks;
use super::tunnel::Tunnel;
use super::watched::Traffic;
use crate::model::host::Host;
use crate::model::intent::{ClientLimits, ListenerKey};
use crate::model::live::ListenerState;
use crate::model::outcome::Outcome;
use crate::model::snapshot::{ListenerPlan, PoolPlan};
use crate::model::speech::SpeechPlan;
use crate::model::tls::Names;
use crate::net::proxy_protocol::Ends;
use crate::proxy::announce::Told;
use crate::proxy::limit::{self, speed::Speed};
use crate::proxy::{Connection, Worker};

/// One client connection.
pub(super) struct Session {
    /// The data thread.
    pub(super) worker: Rc<Worker>,
    /// The listener it came by.
    pub(super) key: ListenerKey,
    /// Counts bytes.
    pub(super) listener: Arc<ListenerState>,
    /// How fast its bodies may go; `None`: as fast as they can.
    pub(super) speed: Option<Rc<Speed>>,
    /// The peer's address; who asks is told by [`Self::client_of`].
    pub(super) source: IpAddr,
    /// The peer's address and port.
    pub(super) peer: SocketAddr,
    /// The client's address, made once, so that each request only counts a reference; like the next two.
    pub(super) client: HeaderValue,
    /// `http` or `https`.
    pub(super) proto: HeaderValue,
    /// The port that the client connected to.
    pub(super) port: HeaderValue,
    /// Whether it is a proxy that is believed what it says of the client. As with source ranges, judged once.
    pub(super) trusted: bool,
    /// Whether HTTP/2 is spoken.
    pub(super) h2: Cell<bool>,
    /// The authority of the last request and its host: most clients ask one host again and again.
    pub(super) host: RefCell<Option<(Box<str>, Host)>>,
    /// How long it may take, and how much it may ask.
    pub(super) limits: ClientLimits,
    /// Where the stream that runs now is with its body.
    pub(super) turn: Cell<Turn>,
    /// Whether the connection takes nothing, where HTTP/2 is spoken.
    pub(super) shut: OnceCell<Rc<Shut>>,
    /// How the connection ended, if hyper finds nothing wrong.
    pub(super) outcome: Cell<Outcome>,
    /// Whether the client may still be sending a body that nobody reads when the connection ends.
    pub(super) lingers: Cell<bool>,
    /// What becomes of the connection when it has switched protocols.
    pub(super) tunnel: RefCell<Option<Tunnel>>,
    /// For the head of the next request that is kept.
    pub(super) buffer: Cell<Vec<u8>>,
    /// What backends are told of the client's certificate, in fields; `None`: nothing.
    pub(super) fields: Option<Rc<[(HeaderName, HeaderValue)]>>,
    /// Which hosts may be asked for; `None`: all.
    names: Option<Arc<Names>>,
    /// What backends are told of the client where they are told.
    pub(super) told: Told,
    /// Connections to backends that were told of this client, and so are no other's.
    own: OnceCell<Clients>,
    // What moves on its stream, where HTTP/1 is spoken.
    traffic: OnceCell<Arc<Traffic>>,
    requests: Cell<u64>,
    under_way: Cell<u32>,
    uploading: RefCell<Option<Rc<Cell<bool>>>>,
    quiet_since: Cell<Instant>,
    broken_off: Cell<Budget>,
    flooded: Cell<bool>,
    alarm: Cell<Option<Pin<Box<Sleep>>>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("key", &self.key).field("client", &self.client).finish_non_exhaustive()
    }
}

impl Session {
    /// Begins with an accepted connection; `tls`: what its handshake said.
    pub(super) fn new(worker: Rc<Worker>, connection: &Connection, ends: Ends, tls: Option<Tls>) -> Self {
        let (proto, h2) = tls.as_ref().map_or(("http", false), |tls| ("https", tls.h2));
        let (authority, names, fields, common_name, tls) = tls
            .map_or((None, None, None, None, None), |tls| (tls.name, tls.names, tls.fields, tls.common_name, tls.told));
        let id = [worker.draw(), worker.draw()];
        let limits = limit::asked_of_client(&worker, &connection.key);
        let trusts = |plan: &Arc<ListenerPlan>| plan.trusted_proxies.contains(connection.peer.ip());
        let trusted = worker.reader.read(|s| s.listeners.get(&connection.key).is_some_and(trusts));
        let value = |text: String| HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""));
        Self {
            worker,
            key: connection.key,
            listener: connection.admitted.listener().clone(),
            speed: connection.speed.clone(),
            source: connection.peer.ip(),
            peer: connection.peer,
            client: value(connection.peer.ip().to_string()),
            proto: HeaderValue::from_static(proto),
            port: value(connection.port.to_string()),
            h2: Cell::new(h2),
            host: RefCell::default(),
            limits,
            turn: Cell::default(),
            shut: OnceCell::new(),
            outcome: Cell::new(Outcome::Done),
            lingers: Cell::new(false),
            tunnel: RefCell::default(),
            buffer: Cell::default(),
            fields,
            names,
            // No ALPN: backends are spoken to in HTTP/1.1, whatever the client speaks with us.
            told: Told { ends, authority, alpn: None, tls, common_name, id },
            own: OnceCell::new(),
            traffic: OnceCell::new(),
            trusted,
            requests: Cell::new(0),
            under_way: Cell::new(0),
            uploading: RefCell::default(),
            quiet_since: Cell::new(Instant::now()),
            broken_off: Cell::new(Budget::BROKEN_OFF),
            flooded: Cell::new(false),
            alarm: Cell::default(),
        }
    }

    /// Whether requests for this host may come on this connection, by the name that it was opened for.
    pub(super) fn may_ask(&self, host: &Host) -> bool {
        self.names.as_ref().is_none_or(|names| names.may_ask(self.told.authority.as_deref(), host.as_str()))
    }

    /// The same client beside itself, for requests that it knows nothing of: they neither keep its connection busy nor
    /// say how it ended.
    pub(super) fn aside(&self) -> Rc<Self> {
        Rc::new(Self {
            worker: self.worker.clone(),
            key: self.key,
            listener: self.listener.clone(),
            speed: None,
            source: self.source,
            peer: self.peer,
            client: self.client.clone(),
            proto: self.proto.clone(),
            port: self.port.clone(),
            // Nobody waits for its streams, and none of them is broken off by the client.
            h2: Cell::new(false),
            host: RefCell::default(),
            limits: self.limits,
            turn: Cell::default(),
            shut: OnceCell::new(),
            outcome: Cell::new(Outcome::Done),
            lingers: Cell::new(false),
            tunnel: RefCell::default(),
            buffer: Cell::default(),
            told: self.told.clone(),
            own: OnceCell::new(),
            requests: Cell::new(0),
            under_way: Cell::new(0),
            uploading: RefCell::default(),
            quiet_since: Cell::new(Instant::now()),
            broken_off: Cell::new(Budget::BROKEN_OFF),
            flooded: Cell::new(false),
            traffic: OnceCell::new(),
            trusted: self.trusted,
            fields: self.fields.clone(),
            names: self.names.clone(),
            alarm: Cell::default(),
        })
    }

    /// The connections to a backend of `pool` that may carry a request of this client.
    pub(super) fn shelf(&self, pool: &PoolPlan, backend: SocketAddr) -> Rc<Shelf> {
        self.clients(pool).of(backend, pool.speech.as_ref())
    }

    /// The same in HTTP/2.
    pub(super) fn trunks(&self, pool: &PoolPlan, backend: SocketAddr, speech: &Arc<SpeechPlan>) -> Rc<Trunks> {
        self.clients(pool).trunks(backend, speech)
    }

    fn clients(&self, pool: &PoolPlan) -> &Clients {
        match pool.intent.send_proxy {
            Some(_) => self.own.get_or_init(Clients::default),
            None => &self.worker.clients,
        }
    }

    /// The second of a moment, counted alike on all threads.
    pub(super) fn second(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.worker.epoch).as_secs()
    }

    /// Notes what moves on its stream.
    pub(super) fn watch(&self, traffic: Arc<Traffic>) {
        // Once a connection.
        let _ = self.traffic.set(traffic);
    }

    /// The client asks nothing more.
    pub(super) fn asked_all(&self) {
        if let Some(traffic) = self.traffic.get() {
            traffic.ended.store(true, Relaxed);
        }
    }

    /// What moves on its stream, where that is a bare socket on which HTTP/1 is spoken.
    pub(super) fn bare(&self) -> Option<Arc<Traffic>> {
        self.traffic.get().filter(|traffic| traffic.is_bare() && !self.h2.get()).cloned()
    }

    /// Whether a head came on it that could mean something else to others. Heads of HTTP/2 are not bytes to look at.
    pub(super) fn is_ambiguous(&self) -> bool {
        !self.h2.get() && self.traffic.get().is_some_and(|traffic| traffic.is_ambiguous())
    }

    /// Who asks: the peer, or whom a trusted proxy names.
    pub(super) fn client_of(&self, headers: &HeaderMap) -> IpAddr {
        let found = self.trusted.then(|| {
            let walk = |plan: &Arc<ListenerPlan>| forwarded::client_of(headers, self.source, &plan.trusted_proxies);
            self.worker.reader.read(|s| s.listeners.get(&self.key).map(walk))
        });
        found.flatten().unwrap_or(self.source)
    }

    /// Whether the client came over https: to us, or, as a trusted proxy says, to that.
    pub(super) fn is_https(&self, headers: &HeaderMap) -> bool {
        let said = if self.trusted { forwarded::is_https(headers) } else { None };
        said.unwrap_or_else(|| self.proto == "https")
    }

    /// A request began.
    pub(super) fn begin(&self) {
        self.requests.set(self.requests.get() + 1);
        self.under_way.set(self.under_way.get() + 1);
    }

    /// A request ended.
    pub(super) fn end(&self, now: Instant) {
        self.under_way.set(self.under_way.get().saturating_sub(1));
        self.quiet_since.set(now);
    }

    /// A request ended whole, or broken off by its client; with HTTP/2 the client may go on, and too many of those are a
    /// flood.
    pub(super) fn judge(&self, is_whole: bool) {
        if !self.h2.get() {
            return;
        }
        let mut budget = self.broken_off.get();
        if is_whole {
            budget.earn(1);
        } else if !budget.spend(1, || self.clock()) {
            self.flood();
        }
        self.broken_off.set(budget);
    }

    /// The client causes work that leads nowhere: nothing more is read of it.
    pub(super) fn flood(&self) {
        self.flooded.set(true);
        self.outcome.set(Outcome::Flood);
    }

    /// Whether nothing more is to be read.
    pub(super) fn is_flooded(&self) -> bool {
        self.flooded.get()
    }

    /// Whether the connection has carried as much as it may.
    pub(super) fn is_worn(&self) -> bool {
        let most = u64::from(self.limits.requests);
        most > 0 && self.requests.get() >= most
    }

    /// The time that budgets go by. Reads the clock.
    pub(super) fn clock(&self) -> Duration {
        self.worker.epoch.elapsed()
    }

    /// Requests begun so far.
    pub(super) fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// Whether a request is being served.
    pub(super) fn is_busy(&self) -> bool {
        self.under_way.get() > 0
    }

    /// The body of a request begins to come; the flag falls when it has ended or nobody takes it any more.
    pub(super) fn upload(&self, flows: Rc<Cell<bool>>) {
        self.uploading.replace(Some(flows));
    }

    /// Whether the body of the last request is still coming, be its answer over or not.
    pub(super) fn is_uploading(&self) -> bool {
        self.uploading.borrow().as_ref().is_some_and(|flows| flows.get())
    }

    /// When the last request ended, or the connection began.
    pub(super) fn quiet_since(&self) -> Instant {
        self.quiet_since.get()
    }

    /// A timer for `deadline`. One timer is kept and handed out again and again, since moving it to a later time costs
    /// nearly nothing; give it back with [`Self::keep_alarm`].
    pub(super) fn alarm(&self, deadline: Instant) -> Pin<Box<Sleep>> {
        match self.alarm.take() {
            Some(mut alarm) => {
                alarm.as_mut().reset(deadline);
                alarm
            }
            None => Box::pin(sleep_until(deadline)),
        }
    }

    /// Lets go of what only spared the next request an allocation.
    pub(super) fn rest(&self) {
        drop((self.buffer.take(), self.alarm.take(), self.uploading.take()));
        self.worker.thrift.let_go();
    }

    /// Keeps a timer for the next request.
    pub(super) fn keep_alarm(&self, alarm: Pin<Box<Sleep>>) {
        self.alarm.set(Some(alarm));
    }
}
