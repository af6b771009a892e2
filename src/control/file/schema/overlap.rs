//! Pure. Addresses that cannot be listened on at one time: `0.0.0.0:80` is every IPv4 address, `127.0.0.1:80` too.
//!
//! Two listeners of the very same address are no matter of this room: `merge` unites them or tells the clash.

use std::net::SocketAddr;

use super::{Admin, Door, Process};
use crate::control::file::fault::At;
use crate::model::intent::Intent;

impl Door<'_> {
    /// Tells listeners of the file that take each other's address, or that of the admin port.
    pub(super) fn tell_overlaps(&mut self, process: &Process, fragment: &Intent) {
        let place = |origin| self.places.get(origin).copied().unwrap_or_default();
        let listeners = fragment.listeners.iter();
        let mut all: Vec<(At, SocketAddr, &str)> =
            listeners.map(|(key, l)| (place(&l.origin), key.address, &*l.origin.object)).collect();
        all.sort_unstable();
        for (number, (at, address, name)) in all.iter().enumerate() {
            if let Admin::Tcp(admin) = &process.admin
                && (admin == address || overlap(*admin, *address))
            {
                let wrong = format!("{name}: {address} takes the address of process.admin, {admin}");
                self.faults.add(*at, format!("{wrong}; choose another port for one of them"));
            }
            if let Some((_, first, holder)) = all[..number].iter().find(|(_, other, _)| overlap(*other, *address)) {
                let wrong = format!("{name}: {address} and {first} of {holder} cannot both be listened on");
                self.faults.add(*at, format!("{wrong}; keep one, or choose another port"));
            }
        }
    }
}

/// Whether one of two different addresses is every address of the other's family, on the same port. IPv6 sockets take
/// IPv6 alone, so the families are apart.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let is_every = a.ip().is_unspecified() || b.ip().is_unspecified();
    a != b && a.port() != 0 && a.port() == b.port() && a.is_ipv4() == b.is_ipv4() && is_every
}
