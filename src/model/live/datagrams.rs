//! Datagrams of one listening address: how many came, went and were lost.

use super::shard::{Count, Sharded, sum};
use crate::model::words::words;

words! {
    /// Why a datagram that came to a flow, or a reply to it, did not go on.
    pub enum Loss,
    /// The value of the label `reason`.
    fn label {
        /// No pool, or no backend that may be tried.
        NoBackend = "no_backend",
        /// Nobody takes it at the backend, as ICMP said.
        BackendRefused = "backend_refused",
        /// The socket it was to leave by took no more.
        BufferFull = "buffer_full",
        /// Longer than the way out lets through.
        TooLong = "too_long",
        /// The system would not send it.
        Unsendable = "unsendable",
    }
}

/// Counters of datagrams; all 0 on a TCP listener.
#[derive(Debug)]
pub struct DatagramState {
    shards: Sharded<DatagramShard>,
}

#[derive(Debug, Default)]
struct DatagramShard {
    came: Count,
    went: Count,
    lost: [Count; Loss::ALL.len()],
}

impl DatagramState {
    pub(super) fn new(shards: usize) -> Self {
        Self { shards: Sharded::new(shards) }
    }

    /// Datagrams came from clients, and were sent to clients.
    pub fn moved(&self, came: u64, went: u64) {
        let shard = self.shards.here();
        shard.came.add(came);
        shard.went.add(went);
    }

    /// Datagrams were lost, in either direction.
    pub fn lose(&self, why: Loss, datagrams: u64) {
        self.shards.here().lost[why as usize].add(datagrams);
    }

    /// Datagrams from and to clients.
    pub fn passed(&self) -> (u64, u64) {
        (sum(&self.shards, |s| &s.came), sum(&self.shards, |s| &s.went))
    }

    /// Datagrams lost for this reason.
    pub fn lost(&self, why: Loss) -> u64 {
        sum(&self.shards, |s| &s.lost[why as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_has_its_own_counter() {
        let state = DatagramState::new(2);
        for (n, why) in (1..).zip(Loss::ALL) {
            state.lose(why, n);
        }
        for (n, why) in (1..).zip(Loss::ALL) {
            assert_eq!(state.lost(why), n, "{}", why.label());
        }
    }
}
