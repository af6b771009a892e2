//! Towards backends: a flow's part of a batch, sent by the flow's socket; what ICMP refuses goes to another backend.

use std::io;

use super::{Plane, loss_of};
use crate::model::live::Loss;
use crate::net::datagram::{self, Batch};
use crate::proxy::udp::backend::{self, Flow};
use crate::proxy::udp::flows::FlowId;

impl Plane {
    /// Sends slots to a flow's backend; when ICMP has refused what went there before, to another one.
    pub(super) fn send_part(&mut self, batch: &Batch, id: FlowId, slots: &[usize]) {
        let (refused, error) = self.try_part(batch, id, slots);
        let Some(error) = error else { return };
        self.refuse(id, &error);
        let slots = &slots[slots.len() - refused..];
        let lost = match self.relocate(id) {
            true => self.try_part(batch, id, slots).0,
            false => slots.len(),
        };
        let datagrams = slots[slots.len() - lost..].iter().map(|slot| batch.slot(*slot).datagrams()).sum();
        self.state.datagrams.lose(Loss::BackendRefused, datagrams);
    }

    /// Sends slots once. Returns how many at their end the backend refused, and its words.
    fn try_part(&self, batch: &Batch, id: FlowId, slots: &[usize]) -> (usize, Option<io::Error>) {
        let Some((_, flow)) = self.flows.get(id) else {
            // It gave way to another one of the same batch.
            let datagrams = slots.iter().map(|slot| batch.slot(*slot).datagrams()).sum();
            self.state.datagrams.lose(Loss::Unsendable, datagrams);
            return (0, None);
        };
        let mut sent: u64 = slots.iter().map(|slot| batch.slot(*slot).length as u64).sum();
        let mut refused = (0, None);
        batch.send(&flow.socket, slots, true, |unsent| {
            let slot = batch.slot(unsent.slot);
            if unsent.datagrams == slot.datagrams() {
                sent -= slot.length as u64;
            }
            if datagram::is_unreachable(&unsent.error) {
                refused = (refused.0 + 1, Some(unsent.error));
            } else {
                self.state.datagrams.lose(loss_of(&unsent.error), unsent.datagrams);
            }
        });
        flow.lease.state().sent(sent);
        refused
    }

    /// Remembers and counts that a flow's backend takes nothing.
    pub(super) fn refuse(&mut self, id: FlowId, error: &io::Error) {
        let Some((_, flow)) = self.flows.get_mut(id) else { return };
        flow.is_refused = true;
        let place = flow.backend;
        match &self.pool {
            Some(pool) if place != Flow::GONE => backend::failed(pool, place, error),
            _ => flow.lease.state().connect_failed(),
        }
    }
}
