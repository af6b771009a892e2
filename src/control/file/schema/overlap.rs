//! Pure. What is wrong with listeners beside their own keys: one on the admin port, and redirects that lead back to where
//! they are. What listeners take from each other is `merge`'s to tell.

use super::{Admin, Door, Process};
use crate::model::host::HostPattern;
use crate::model::intent::filter::{Redirect, Scheme};
use crate::model::intent::{Action, Intent, Listener, ListenerKey, Protocol, Route};

impl Door<'_> {
    /// Tells listeners of the file that take the address of the admin port.
    pub(super) fn tell_overlaps(&mut self, process: &Process, fragment: &Intent) {
        let Admin::Tcp(address) = &process.admin else { return };
        let admin = ListenerKey::tcp(*address);
        for (key, listener) in &fragment.listeners {
            if (*key == admin && address.port() != 0) || key.overlaps(admin) {
                let at = self.places.get(&listener.origin).copied().unwrap_or_default();
                let wrong = format!(
                    "{}: {} takes the address of process.admin, {address}",
                    listener.origin.object, key.address
                );
                self.faults.add(at, format!("{wrong}; choose another port for one of them"));
            }
        }
    }

    /// Tells redirects that a client would follow for ever: to the scheme, host, port and path that it asked for. One of
    /// another port may do so too, behind a port forward; nobody can see that from here.
    pub(super) fn tell_circles(&mut self, fragment: &Intent) {
        for (key, listener) in &fragment.listeners {
            for route in listener.routes.iter().filter(|route| leads_back(*key, listener, route)) {
                let at = self.places.get(&route.origin).copied().unwrap_or_default();
                let wrong =
                    "its redirect leads to this listener, host and path again, so that clients go round in circles";
                let right = "name another scheme, host, port or path, or a pool in its place";
                self.faults.add(at, format!("{}: {wrong}; {right}", route.origin.object));
            }
        }
    }
}

fn leads_back(key: ListenerKey, listener: &Listener, route: &Route) -> bool {
    let Action::Redirect(redirect) = &route.action else { return false };
    let Redirect { scheme, host, port, path, to: _, code: _, pool: _ } = &**redirect;
    let own = if listener.protocol == Protocol::Https { Scheme::Https } else { Scheme::Http };
    let to = scheme.unwrap_or(own);
    // Without all three the port stays that of the request, and something else must change.
    let says_where = scheme.is_some() || host.is_some() || port.is_some();
    let same_host = match (host, &route.host) {
        (None, _) => true,
        (Some(host), HostPattern::Exact(own)) => host == own,
        (Some(_), _) => false,
    };
    says_where && to == own && path.is_none() && same_host && port.unwrap_or(to.port()) == key.address.port()
}
