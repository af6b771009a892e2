//! The line: first come, first served, over threads, whoever gives up meanwhile.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::*;

fn slots() -> (Arc<QueueState>, Arc<SlotState>) {
    let queue = Arc::new(QueueState::default());
    let slots = Arc::new(SlotState::new(queue.clone()));
    (queue, slots)
}

/// What a data thread does: take a slot, or wait in the line for one.
async fn take(queue: &Arc<QueueState>, slots: &Arc<SlotState>, most: u32) -> Slot {
    if queue.length() == 0
        && let Some(slot) = slots.take(most)
    {
        return slot;
    }
    let waiter = queue.join(u32::MAX).unwrap();
    loop {
        if waiter.is_first()
            && let Some(slot) = slots.take(most)
        {
            return slot;
        }
        waiter.woken().await;
    }
}

async fn is_waiting<F: Future + Unpin>(future: &mut F) -> bool {
    tokio::time::timeout(Duration::ZERO, future).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn who_came_first_is_served_first_and_nobody_overtakes() {
    let (queue, slots) = slots();
    let held = take(&queue, &slots, 1).await;
    let mut first = Box::pin(take(&queue, &slots, 1));
    let mut second = Box::pin(take(&queue, &slots, 1));
    assert!(is_waiting(&mut first).await && is_waiting(&mut second).await);
    assert_eq!(queue.length(), 2);
    drop(held);
    // A newcomer finds room and does not get it.
    let mut newcomer = Box::pin(take(&queue, &slots, 1));
    assert!(is_waiting(&mut newcomer).await && is_waiting(&mut second).await);
    let held = first.await;
    assert!(is_waiting(&mut newcomer).await && is_waiting(&mut second).await);
    drop(held);
    assert!(is_waiting(&mut newcomer).await);
    drop(second.await);
    drop(newcomer.await);
    assert_eq!(queue.length(), 0);
    assert!(slots.has_room(1) && !slots.has_room(0));
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_passes_its_turn_on() {
    let (queue, slots) = slots();
    let held = take(&queue, &slots, 1).await;
    let mut gives_up = Box::pin(take(&queue, &slots, 1));
    let mut next = Box::pin(take(&queue, &slots, 1));
    assert!(is_waiting(&mut gives_up).await && is_waiting(&mut next).await);
    // The slot wakes the first, which goes away without having looked.
    drop(held);
    drop(gives_up);
    tokio::time::timeout(Duration::from_secs(1), next).await.expect("the turn was passed on");
}

#[test]
fn the_line_has_an_end() {
    let (queue, _) = slots();
    let all: Vec<_> = (0..3).map(|_| queue.join(3).unwrap()).collect();
    assert!(queue.join(3).is_none() && queue.join(0).is_none());
    assert!(all[0].is_first() && !all[1].is_first());
    drop(all);
    assert!(queue.join(1).is_some());
}

#[test]
fn threads_never_hold_more_than_the_limit_and_all_are_served() {
    const MOST: u32 = 3;
    let (queue, slots) = slots();
    let (holders, exceeded) = (AtomicU32::new(0), AtomicBool::new(false));
    let (queue, slots, holders, exceeded) = (&queue, &slots, &holders, &exceeded);
    let one = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async {
            for _ in 0..50 {
                let round = (0..10).map(|n| async move {
                    let taking = take(queue, slots, MOST);
                    // Every other one gives up soon.
                    let patience = Duration::from_micros(if n % 2 == 0 { 50 } else { 20_000_000 });
                    let Ok(slot) = tokio::time::timeout(patience, taking).await else {
                        assert_eq!(n % 2, 0, "lost a wake-up");
                        return;
                    };
                    if holders.fetch_add(1, SeqCst) >= MOST {
                        exceeded.store(true, SeqCst);
                    }
                    tokio::task::yield_now().await;
                    holders.fetch_sub(1, SeqCst);
                    drop(slot);
                });
                futures_util::future::join_all(round).await;
            }
        });
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(one);
        }
    });
    assert!(!exceeded.load(SeqCst));
    assert_eq!((queue.length(), slots.taken.load(SeqCst)), (0, 0));
}
