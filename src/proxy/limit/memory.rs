//! Near the process's memory limit new connections are refused, so that those that are open live.
//!
//! What counts is what is resident, the number that the kernel's own killer goes by. It is looked at four times a
//! second on the control runtime; a data thread reads one flag. The flag rises at 92 % and falls below 88 %, so that it
//! does not flap around one value. While it is up the allocator is asked to give back what stands empty: those that are
//! refused ask it for nothing, and it would keep the memory of who has long left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tracing::{info, warn};

use crate::net::memory::{give_back, resident};

/// How often memory is looked at.
const EVERY: Duration = Duration::from_millis(250);
/// Percent of the limit from which on it is short …
const SHORT: u64 = 92;
/// … and below which it is not any more.
const ENOUGH: u64 = 88;

/// Whether memory is short. Clones tell the same.
#[derive(Clone, Debug, Default)]
pub(in crate::proxy) struct Memory(Arc<AtomicBool>);

impl Memory {
    /// Whether new connections are to be refused.
    pub(in crate::proxy) fn is_short(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// Watches over a limit in bytes; never returns. Without one nothing is looked at.
    pub(in crate::proxy) async fn watch(self, limit: Option<u64>) {
        self.watch_by(limit, resident, give_back).await;
    }

    async fn watch_by(self, limit: Option<u64>, resident: impl Fn() -> Option<u64>, give_back: impl Fn()) {
        let Some(limit) = limit else { return std::future::pending().await };
        loop {
            if self.is_short() {
                give_back();
            }
            let Some(now) = resident() else {
                warn!("process.memory_limit has no effect: /proc/self/status does not say how much memory is resident");
                return std::future::pending().await;
            };
            self.judge(now, limit);
            tokio::time::sleep(EVERY).await;
        }
    }

    fn judge(&self, resident: u64, limit: u64) {
        let was = self.is_short();
        let is = is_short(was, resident, limit);
        if is != was {
            self.0.store(is, Relaxed);
            let (resident, limit) = (resident >> 20, limit >> 20);
            if is {
                warn!("{resident} of {limit} MiB are taken (process.memory_limit): new connections are refused");
            } else {
                info!("{resident} of {limit} MiB are taken: new connections are served again");
            }
        }
    }
}

fn is_short(was: bool, resident: u64, limit: u64) -> bool {
    let percent = u128::from(resident) * 100;
    percent >= u128::from(limit) * u128::from(if was { ENOUGH } else { SHORT })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn it_rises_at_92_and_falls_below_88() {
        let memory = Memory::default();
        let after = |resident| {
            memory.judge(resident, 1000);
            memory.is_short()
        };
        assert_eq!([919, 920, 900, 880, 879, 919].map(after), [false, true, true, true, false, false]);
    }

    /// Who left let go of it, and nobody is let in who would have the allocator look.
    #[tokio::test(start_paused = true)]
    async fn what_stands_empty_is_given_back_while_it_is_short() {
        let (memory, taken) = (Memory::default(), Cell::new(95));
        let watch = memory.clone().watch_by(Some(100), || Some(taken.get()), || taken.set(50));
        assert!(tokio::time::timeout(EVERY / 2, watch).await.is_err());
        assert!(memory.is_short());
        let watch = memory.clone().watch_by(Some(100), || Some(taken.get()), || taken.set(50));
        assert!(tokio::time::timeout(EVERY / 2, watch).await.is_err());
        assert!(!memory.is_short());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_it_is_never_short() {
        let memory = Memory::default();
        assert!(tokio::time::timeout(Duration::from_secs(9), memory.clone().watch(None)).await.is_err());
        assert!(!memory.is_short());
        assert!(tokio::time::timeout(Duration::from_secs(9), memory.clone().watch(Some(1))).await.is_err());
        assert!(memory.is_short());
    }
}
