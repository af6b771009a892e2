//! The registry keeps a state for as long as anyone holds it, and no longer.

use futures_util::FutureExt;

use super::*;

fn key(port: u16, instance: &str) -> BackendKey {
    BackendKey { address: ([127, 0, 0, 1], port).into(), instance: instance.into() }
}

#[test]
fn the_same_key_gives_the_same_state_while_somebody_holds_it() {
    let live = Live::new(1);
    let first = live.backend(&key(1, "a"));
    let lease = Lease::new(first.clone());
    drop(first);
    assert_eq!(live.backend(&key(1, "a")).active(), 1, "a lease alone keeps the state");
    drop(lease);
    assert_eq!(live.held().0, 0, "nobody holds it: gone");
    assert_eq!(live.backend(&key(1, "a")).active(), 0);
}

#[test]
fn another_instance_at_the_same_address_starts_clean() {
    let live = Live::new(1);
    let old = live.backend(&key(1, "a"));
    old.connect_failed();
    assert_eq!(live.backend(&key(1, "b")).connect_failures(), 0);
    assert_eq!(live.backend(&key(1, "a")).connect_failures(), 1);
}

#[test]
fn who_waits_in_a_pool_that_came_again_is_woken_by_the_slots_of_before() {
    let live = Live::new(1);
    let key = SlotKey { pool: PoolName::new("p"), backend: key(1, "") };
    let first = (live.pool(&key.pool), live.slots(&key));
    let held = first.1.take(1).unwrap();
    // The pool is taken out of the configuration and comes back; a connection lives through both.
    drop(first);
    let (pool, slots) = (live.pool(&key.pool), live.slots(&key));
    assert!(!slots.has_room(1));
    let waiter = pool.queue().join(1).unwrap();
    drop(held);
    assert!(waiter.woken().now_or_never().is_some());
}

#[test]
fn churn_does_not_grow_the_registry() {
    let live = Live::new(1);
    for n in 0..100_000u32 {
        live.backend(&key(1, &n.to_string()));
    }
    assert!(live.backends.lock().map.len() <= SWEEP_FLOOR * 2);
}

#[test]
fn a_count_that_rises_on_one_thread_and_falls_on_another_sums_to_nothing() {
    let sharded: shard::Sharded<shard::Count> = shard::Sharded::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            shard::enter(1);
            sharded.here().sub(1);
        });
    });
    sharded.here().add(1);
    assert_eq!(shard::sum(&sharded, |c| c), 0);
}
