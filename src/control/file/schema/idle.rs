//! Pure. What is written and can have no effect: whoever asked for it believes that it does.
//!
//! Only what differs from the usual is told: a file may show defaults where they mean nothing.

use super::Door;
use crate::control::file::node::Node;
use crate::control::file::read::Keys;
use crate::model::intent::{ClientLimits, Intent, Pool, Protocol};

impl Door<'_> {
    /// Of a pool.
    pub(super) fn tell_idle_pool(&mut self, keys: &Keys<'_>, pool: &Pool) {
        let usual = Pool::new(pool.origin.clone());
        let again =
            [("retry_on", !pool.retry_on.is_empty()), ("retry_budget", pool.retry_budget != usual.retry_budget)];
        for node in again.iter().filter(|(_, is_asked)| *is_asked).filter_map(|(key, _)| keys.find(key)) {
            if pool.retries == 0 {
                self.faults.wrong(node, "is for what is asked again, and retries: 0 asks nothing again; leave one out");
            }
        }
        let is_unusual = pool.queue.length > 0 && pool.queue != usual.queue;
        if let Some(node) = keys.find("queue").filter(|_| is_unusual && pool.max_connections == 0) {
            let right = "add max_connections: 100, or leave it out";
            self.faults.wrong(node, format_args!("nobody waits where max_connections sets no limit; {right}"));
        }
    }

    /// Of the times of a listener's clients.
    pub(super) fn tell_idle_times(&mut self, handshake: Option<&Node>, protocol: Protocol, limits: &ClientLimits) {
        let is_unusual = limits.handshake != ClientLimits::default().handshake;
        if let Some(node) = handshake.filter(|_| is_unusual && protocol == Protocol::Http) {
            self.faults.wrong(node, "is for https; this listener is http, where nobody shakes hands: leave it out");
        }
    }

    /// Of routes, once it is known on which listeners they are.
    pub(super) fn tell_idle_routes(&mut self, fragment: &Intent) {
        for listener in fragment.listeners.values() {
            // A proxy that ends TLS may say that its clients came over https.
            if listener.protocol != Protocol::Http || !listener.http.trusted_proxies.is_empty() {
                continue;
            }
            for route in &listener.routes {
                let at = self.places.get(&route.origin).copied().unwrap_or_default();
                let object = &route.origin.object;
                if route.filters.as_ref().is_some_and(|filters| filters.hsts.is_some()) {
                    let right = "leave it out, or name the proxies that end TLS in trusted_proxies";
                    let wrong = "hsts is said over https only, and nobody comes to this listener so";
                    self.faults.add(at, format!("{object}: {wrong}; {right}"));
                }
                if route.action.beyond().is_some() {
                    let right = "name the proxies that may say who came over https in trusted_proxies, or leave the \
                                 pool out";
                    let wrong = "its redirect sends all clients away, so nobody reaches its pool";
                    self.faults.add(at, format!("{object}: {wrong}; {right}"));
                }
            }
        }
    }
}
