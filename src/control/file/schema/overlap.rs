//! Pure. A listener on the admin port. What listeners take from each other is `merge`'s to tell.

use super::{Admin, Door, Process};
use crate::model::intent::{Intent, ListenerKey};

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
}
