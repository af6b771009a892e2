//! Towards clients: replies of many flows, read from each flow's socket and sent in one call by the listening one.

use std::io;

use super::{LISTENER, Plane, loss_of};
use crate::net::datagram::{self, Batch, batch::SLOTS};
use crate::proxy::udp::flows::FlowId;

/// Datagrams read from one backend's socket at once. One call that asks for more than there are costs less than two.
const READ: usize = 8;
/// So many at once from one backend are a stream, for which coalescing pays.
const STREAM: usize = 4;
const EVERY_SLOT: [usize; SLOTS] = {
    let mut all = [0; SLOTS];
    let mut n = 0;
    while n < SLOTS {
        all[n] = n;
        n += 1;
    }
    all
};

impl Plane {
    /// Reads what backends have sent and sends it to the clients, of many flows in one call.
    pub(super) fn return_replies(&mut self, batch: &mut Batch) {
        batch.clear();
        let mut told = std::mem::take(&mut self.told);
        told.retain(|number| {
            if *number == LISTENER {
                self.is_ready = true;
                return false;
            }
            if batch.free() < READ {
                self.flush(batch);
            }
            self.read_replies(batch, FlowId::of(*number))
        });
        self.flush(batch);
        self.told = told;
    }

    /// Reads a flow's replies into the batch. True when there may be more.
    fn read_replies(&mut self, batch: &mut Batch, id: FlowId) -> bool {
        let Some((key, flow)) = self.flows.get_mut(id) else { return false };
        let first = batch.filled();
        let count = match batch.receive(&flow.socket, READ, true) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) => {
                if datagram::is_unreachable(&error) {
                    self.refuse(id, &error);
                }
                // What ICMP said (of the way's MTU too) is told once, before what else there may be.
                return true;
            }
        };
        let local = self.bound.ip().is_unspecified().then_some(key.local);
        let mut bytes = 0;
        for slot in first..first + count {
            batch.direct(slot, key.client, local);
            bytes += batch.slot(slot).length as u64;
        }
        let backend = flow.lease.state();
        backend.received(bytes);
        if !flow.is_answered {
            // Whoever is silent was perhaps never there.
            flow.is_answered = true;
            backend.connected();
        }
        if count >= STREAM && !flow.is_coalescing {
            flow.is_coalescing = true;
            // Where the kernel cannot, each comes by itself as before.
            let _ = datagram::coalesce(&flow.socket);
        }
        self.flows.answered(id, self.now);
        count == READ
    }

    /// Sends the batch to the clients.
    fn flush(&self, batch: &mut Batch) {
        let (mut datagrams, mut bytes) = (0, 0);
        let slots = &EVERY_SLOT[..batch.filled()];
        for slot in slots {
            datagrams += batch.slot(*slot).datagrams();
            bytes += batch.slot(*slot).length as u64;
        }
        batch.send(&self.socket, slots, false, |unsent| {
            datagrams -= unsent.datagrams;
            if unsent.datagrams == batch.slot(unsent.slot).datagrams() {
                bytes -= batch.slot(unsent.slot).length as u64;
            }
            self.state.datagrams.lose(loss_of(&unsent.error), unsent.datagrams);
        });
        self.state.moved(0, bytes);
        self.state.datagrams.moved(0, datagrams);
        batch.clear();
    }
}
