//! Slow starts: while a backend is away it is kept cold, and once it is available it warms up step by step.
//!
//! Every pool with slow start is looked at ten times a second; one without costs nothing. A look reads and writes a few
//! atomics. Whatever takes a backend out of the picks makes it cold: a probe, an ejection, its owner's wish.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::drain;
use crate::model::snapshot::{PoolPlan, Snapshot, Snapshots};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// Warms the backends of each snapshot's pools, until the drain begins. Needs a runtime with time.
pub async fn follow(snapshots: Arc<Snapshots>, drain: drain::Watch) {
    let mut changed = snapshots.changed();
    let mut pools = slow_starters(&snapshots.current());
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    loop {
        tokio::select! {
            Ok(()) = changed.changed() => {
                let next = slow_starters(&snapshots.current());
                if pools.is_empty() {
                    // Nobody looked meanwhile.
                    last = Instant::now();
                }
                pools = next;
            }
            now = looks.tick(), if !pools.is_empty() => {
                let elapsed = now.saturating_duration_since(last);
                last = now;
                pools.iter().for_each(|pool| look(pool, elapsed));
            }
            () = drain.begun() => break,
        }
    }
}

fn slow_starters(snapshot: &Snapshot) -> Vec<Arc<PoolPlan>> {
    snapshot.pools.values().filter(|pool| !pool.intent.slow_start.is_zero()).cloned().collect()
}

fn look(pool: &PoolPlan, elapsed: Duration) {
    for backend in &pool.backends {
        match &backend.ramp {
            Some(ramp) if backend.is_available() => ramp.grow(elapsed, pool.intent.slow_start),
            Some(ramp) => ramp.chill(),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::compile::compile;
    use crate::model::intent::{Backend, Intent, Pool, PoolName};
    use crate::model::live::Live;
    use crate::model::live::probe::Verdict;
    use crate::model::problem::Origin;

    fn intent(ports: &[u16]) -> Intent {
        let mut pool = Pool::new(Origin::new("test", "pool p"));
        pool.slow_start = Duration::from_secs(10);
        pool.backends = ports.iter().map(|port| Backend::new(([127, 0, 0, 1], *port).into())).collect();
        let mut intent = Intent::default();
        intent.pools.insert(PoolName::new("p"), Arc::new(pool));
        intent
    }

    #[tokio::test(start_paused = true)]
    async fn a_backend_that_comes_up_or_is_new_warms_up_in_the_time_asked() {
        let (live, snapshots) = (Live::new(1), Arc::new(Snapshots::default()));
        let (trigger, drain) = drain::channel();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(follow(snapshots.clone(), drain));
        let publish = |ports: &[u16]| {
            let (next, problems) = compile(&intent(ports), &snapshots.current(), &live);
            assert_eq!(problems, []);
            snapshots.publish(next);
        };
        let warmth = || -> Vec<u64> {
            let current = snapshots.current();
            current.pools[&PoolName::new("p")].backends.iter().map(|b| b.ramp.as_ref().unwrap().warmth()).collect()
        };
        publish(&[1, 2]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(warmth(), [256, 256], "the first of a pool are not held back");

        let set = |verdict| {
            let current = snapshots.current();
            current.pools[&PoolName::new("p")].backends[1].probe.as_ref().unwrap().set(verdict, 0, None);
        };
        set(Verdict::Down);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(warmth(), [256, 1]);
        set(Verdict::Up);
        tokio::time::sleep(Duration::from_secs(5)).await;
        let [256, half] = warmth()[..] else { panic!("{:?}", warmth()) };
        assert!((120..=136).contains(&half), "{half}");

        publish(&[1, 2, 3]);
        tokio::time::sleep(Duration::from_millis(150)).await;
        let [256, more, new] = warmth()[..] else { panic!("{:?}", warmth()) };
        assert!(more >= half && new < 16, "a swap does not start others again: {more}, {new}");
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(warmth(), [256, 256, 256]);
        let _ = trigger.finish(Duration::ZERO).await;
        tokio::time::timeout(Duration::from_secs(1), tasks.join_next()).await.unwrap().unwrap().unwrap();
    }
}
