//! Intents, written the way a test thinks of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sluice::model::host::HostPattern;
use sluice::model::intent::{
    Action, Backend, Cert, CertName, Intent, Limits, Listener, ListenerKey, PathMatch, Pool, PoolName, Protocol, Route,
    SourceRules,
};
use sluice::model::problem::Origin;

/// An intent under construction.
#[derive(Clone, Default)]
pub struct Asked(pub Intent);

impl From<Asked> for Intent {
    fn from(asked: Asked) -> Self {
        asked.0
    }
}

/// The listener of a test that has one: `web`, on a port of the kernel's choice.
pub fn web() -> ListenerKey {
    at(1)
}

/// Another listener: the kernel's choice of port on 127.0.0.`host`.
pub fn at(host: u8) -> ListenerKey {
    ListenerKey::tcp(SocketAddr::from(([127, 0, 0, host], 0)))
}

pub fn origin(object: &str) -> Origin {
    Origin::new("test", object)
}

/// A route from a host pattern (`*` for any) and a path prefix to a pool.
pub fn route(host: &str, path: &str, pool: &str) -> Route {
    Route {
        host: HostPattern::parse(host).unwrap(),
        alpn: Vec::new(),
        path: PathMatch::Prefix(path.into()),
        action: Action::Forward(PoolName::new(pool)),
        filters: None,
        origin: origin("route"),
    }
}

/// A route that redirects to https.
pub fn redirect(host: &str, port: u16) -> Route {
    Route { action: Action::RedirectHttps { port, pool: None }, ..route(host, "/", "unused") }
}

/// A pool of these backends: unchecked, with short timeouts and two retries.
pub fn pool(backends: &[SocketAddr]) -> Pool {
    let mut pool = Pool::new(origin("pool"));
    pool.probe = None;
    pool.timeouts.connect = Duration::from_millis(500);
    pool.timeouts.response = Duration::from_secs(5);
    pool.timeouts.idle = Duration::from_secs(30);
    pool.backends = backends.iter().map(|address| Backend::new(*address)).collect();
    pool
}

impl Asked {
    /// Adds a listener named `name` with these routes.
    pub fn listener(mut self, key: ListenerKey, name: &str, protocol: Protocol, routes: Vec<Route>) -> Self {
        let listener = Listener {
            name: name.into(),
            protocol,
            routes,
            certs: Vec::new(),
            strict_sni: false,
            tls: Default::default(),
            sources: SourceRules::default(),
            essential: true,
            proxies: Vec::new(),
            http: Default::default(),
            limits: Limits::default(),
            flow_idle: None,
            origin: origin("listener"),
        };
        self.0.listeners.insert(key, Arc::new(listener));
        self
    }

    /// An HTTP listener `web` whose every request goes to a pool `site` of these backends.
    pub fn site(backends: &[SocketAddr]) -> Self {
        Self::default()
            .listener(web(), "web", Protocol::Http, vec![route("*", "/", "site")])
            .pool("site", pool(backends))
    }

    /// A TCP listener `web` whose every connection goes to a pool `site` of these backends.
    pub fn stream(backends: &[SocketAddr]) -> Self {
        Self::default()
            .listener(web(), "web", Protocol::Tcp, vec![route("*", "/", "site")])
            .pool("site", pool(backends))
    }

    /// Adds a pool.
    pub fn pool(mut self, name: &str, pool: Pool) -> Self {
        self.0.pools.insert(PoolName::new(name), Arc::new(pool));
        self
    }

    /// Changes a pool that is there.
    pub fn change_pool(mut self, name: &str, change: impl FnOnce(&mut Pool)) -> Self {
        let pool = self.0.pools.get_mut(&PoolName::new(name)).expect("the pool is there");
        change(Arc::make_mut(pool));
        self
    }

    /// Changes a listener that is there.
    pub fn change_listener(mut self, key: ListenerKey, change: impl FnOnce(&mut Listener)) -> Self {
        let listener = self.0.listeners.get_mut(&key).expect("the listener is there");
        change(Arc::make_mut(listener));
        self
    }

    /// Adds a certificate and names it at a listener.
    pub fn cert(mut self, key: ListenerKey, name: &str, cert: Cert) -> Self {
        self.0.certs.insert(CertName::new(name), Arc::new(cert));
        self.change_listener(key, |listener| {
            if listener.certs.iter().all(|known| known.as_str() != name) {
                listener.certs.push(CertName::new(name));
            }
        })
    }
}
