//! Each rule gives each backend what is due to it, also when some are down; and the hash rule moves few clients.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::intent::{Ejection, Sticky};

const RULES: [Balance; 4] = [Balance::RoundRobin, Balance::LeastConnections, Balance::RandomTwo, Balance::HashSource];

#[test]
fn shares_of_a_quiet_pool_follow_weights() {
    for balance in RULES {
        for weights in [&[1, 1, 1][..], &[1, 2, 5], &[256, 1, 100], &[1; 20], &[3, 0, 7, 7, 1, 1, 1, 1, 1, 1, 10]] {
            let (_live, plan) = pool(balance.clone(), weights, |_| {});
            let due: Vec<_> = weights.iter().map(|w| f64::from(*w)).collect();
            // A table has places for whole clients only.
            let more = if balance == Balance::HashSource { 0.001 } else { 0.0 };
            assert_shares(&shares(&plan, 50_000), &due, more);
        }
    }
}

#[test]
fn shares_of_those_that_are_left_follow_weights() {
    for balance in RULES {
        let (_live, plan) = pool(balance.clone(), &[1, 2, 3, 2, 4], |_| {});
        down(&plan, 2);
        // Clients walk on from place to place, whose neighbours are as chance has put them.
        let more = if balance == Balance::HashSource { 0.02 } else { 0.0 };
        assert_shares(&shares(&plan, 50_000), &[1.0, 2.0, 0.0, 2.0, 4.0], more);
    }
}

#[test]
fn the_least_busy_of_a_small_pool_is_found_and_equals_take_turns() {
    let (_live, plan) = pool(Balance::LeastConnections, &[2, 2, 2, 4], |_| {});
    let mut held: Vec<_> = (0..1_000).map(|n| plan.pick(&Tried::default(), &ask(scatter(n))).unwrap()).collect();
    let active = || plan.backends.iter().map(|b| b.state.active()).collect::<Vec<_>>();
    assert_eq!(active(), [200, 200, 200, 400], "exactly");
    // One loses ten: the next ten are its own.
    let (mut gone, kept): (Vec<_>, Vec<_>) = held.drain(..).partition(|picked| picked.index == 1);
    gone.truncate(190);
    let next: Vec<_> = (0..10).map(|n| plan.pick(&Tried::default(), &ask(scatter(n))).unwrap()).collect();
    assert!(next.iter().all(|picked| picked.index == 1));
    drop((gone, kept, next));
    assert_eq!(active(), [0, 0, 0, 0]);
}

#[test]
fn two_draws_keep_a_large_pool_even() {
    for balance in [Balance::LeastConnections, Balance::RandomTwo] {
        let (_live, plan) = pool(balance, &[1; 50], |_| {});
        let held: Vec<_> = (0..5_000).map(|n| plan.pick(&Tried::default(), &ask(scatter(n))).unwrap()).collect();
        // Of one draw the most would have some 130; of two it has log log n more than the mean.
        let most = plan.backends.iter().map(|b| b.state.active()).max().unwrap();
        assert!(most <= 104, "{most}");
        drop(held);
    }
}

#[test]
fn the_first_with_room_is_taken_in_the_order_given() {
    let (_live, plan) = pool(Balance::First, &[1, 256, 1], |p| p.max_connections = 2);
    let pick = || plan.pick(&Tried::default(), &ask(7));
    let held: Vec<_> = (0..6).map(|_| pick().unwrap()).collect();
    assert_eq!(held.iter().map(|p| p.index).collect::<Vec<_>>(), [0, 0, 1, 1, 2, 2]);
    assert!(pick().is_none() && plan.is_full(&Tried::default()));
    drop(held);
    down(&plan, 0);
    assert_eq!(pick().unwrap().index, 1);
    assert!(!plan.is_full(&Tried::default()));
}

/// Where each of many clients goes.
fn homes(plan: &PoolPlan) -> BTreeMap<u64, usize> {
    let home = |n| {
        let ask = Ask { source: client(n), ..ask(scatter(n ^ 99)) };
        plan.pick(&Tried::default(), &ask).unwrap().index
    };
    (0..5_000).map(|n| (n, home(n))).collect()
}

#[test]
fn a_client_has_one_backend_whatever_chance_says() {
    let (_live, plan) = pool(Balance::HashSource, &[1; 6], |_| {});
    for source in ["192.0.2.7", "::ffff:192.0.2.7"].map(|s| s.parse().unwrap()) {
        let all: Vec<_> =
            (0..50).map(|n| plan.pick(&Tried::default(), &Ask { source, ..ask(scatter(n)) }).unwrap().index).collect();
        assert!(all.iter().all(|index| *index == homes_of(&plan, "192.0.2.7")), "{all:?}");
    }
}

fn homes_of(plan: &PoolPlan, source: &str) -> usize {
    plan.pick(&Tried::default(), &Ask { source: source.parse().unwrap(), ..ask(1) }).unwrap().index
}

#[test]
fn only_the_clients_of_a_dead_backend_move_and_they_come_home() {
    let (_live, plan) = pool(Balance::HashSource, &[1; 6], |_| {});
    let before = homes(&plan);
    down(&plan, 4);
    let without = homes(&plan);
    assert!(before.iter().all(|(n, home)| if *home == 4 { without[n] != 4 } else { without[n] == *home }));
    assert_eq!(without, homes(&plan), "and always to the same second choice");
    let mut second = [0; 6];
    without.iter().filter(|(n, _)| before[n] == 4).for_each(|(_, index)| second[*index] += 1);
    assert!(second.iter().enumerate().all(|(n, count)| n == 4 || *count > 90), "spread over all others: {second:?}");
    up(&plan, 4);
    assert_eq!(homes(&plan), before);
}

#[test]
fn a_backend_that_is_tried_or_full_is_walked_past() {
    let (_live, plan) = pool(Balance::HashSource, &[1; 3], |p| p.max_connections = 1);
    let mut tried = Tried::default();
    let home = homes_of(&plan, "192.0.2.1");
    tried.add(home);
    let second = plan.pick(&tried, &ask(1)).unwrap();
    assert_ne!(second.index, home);
    let held = plan.pick(&Tried::default(), &ask(1)).unwrap();
    assert_eq!(held.index, home);
    let third = plan.pick(&Tried::default(), &ask(1)).unwrap();
    assert!(third.index != home && third.index != second.index, "one is full, one is held by the second pick");
}

#[test]
fn bounded_load_spreads_a_crowd_of_one_client_and_leaves_small_ones_at_home() {
    let (_live, plan) = pool(Balance::HashSource, &[1, 1, 1, 2], |_| {});
    let home = homes_of(&plan, "192.0.2.1");
    let mut held = Vec::new();
    for n in 0..2_000u64 {
        let picked = plan.pick(&Tried::default(), &ask(scatter(n))).unwrap();
        assert!(n >= 32 || picked.index == home, "at home while the pool is quiet");
        held.push(picked);
        let total = n + 1;
        for backend in &plan.backends {
            let due = total as f64 * f64::from(backend.weight) / 5.0;
            let bound = (1.25 * due).ceil().max(32.0) + 1.0;
            assert!(backend.state.active() as f64 <= bound, "{} of {total}", backend.state.active());
        }
    }
}

#[test]
fn bounded_load_holds_in_a_large_pool_too() {
    let (_live, plan) = pool(Balance::HashSource, &[1; 100], |_| {});
    let held: Vec<_> = (0..20_000u64).map(|n| plan.pick(&Tried::default(), &ask(scatter(n))).unwrap()).collect();
    let most = plan.backends.iter().map(|b| b.state.active()).max().unwrap();
    assert!(most <= 252, "200 are due of each, 250 allowed: {most}");
    drop(held);
}

#[test]
fn endpoints_that_come_and_go_move_few_clients() {
    let (_live, before) = pool(Balance::HashSource, &[1; 10], |_| {});
    let (_other, after) = pool(Balance::HashSource, &[1; 10], |p| drop(p.backends.remove(3)));
    let address = |plan: &PoolPlan, index: usize| plan.backends[index].address;
    let (one, other) = (homes(&before), homes(&after));
    let moved = one.iter().filter(|(n, home)| address(&before, **home) != address(&after, other[n])).count();
    assert!(moved as f64 / one.len() as f64 <= 0.1 + 0.02, "{moved}");
}

proptest! {
    /// Whatever the rule and the pool: what is picked may be picked, and something is picked whenever something may be.
    #[test]
    fn a_pick_finds_one_whenever_there_is_one(
        rule in 0..5usize,
        sticky: bool,
        slow: bool,
        refuse: bool,
        most in 0..3u32,
        backends in proptest::collection::vec((0..4u16, any::<bool>(), any::<bool>(), 0..3u8, 0..3u8), 1..14),
        asks in proptest::collection::vec((any::<u64>(), any::<u8>(), any::<u8>()), 1..40),
    ) {
        let rule = [Balance::RoundRobin, Balance::LeastConnections, Balance::RandomTwo, Balance::HashSource, Balance::First][rule].clone();
        let (_live, plan) = pool(rule, &backends.iter().map(|b| b.0).collect::<Vec<_>>(), |p| {
            p.sticky = sticky.then_some(Sticky::Source { timeout: Duration::from_secs(60) });
            p.slow_start = if slow { Duration::from_secs(9) } else { Duration::ZERO };
            p.when_down = if refuse { WhenDown::Refuse } else { WhenDown::Try };
            p.max_connections = most;
            for (backend, (_, backup, _, admin, _)) in p.backends.iter_mut().zip(&backends) {
                backend.backup = *backup;
                backend.admin = [Admin::Ready, Admin::Ready, Admin::Drain][usize::from(*admin)];
            }
        });
        for (index, (_, _, is_down, _, warmth)) in backends.iter().enumerate() {
            if *is_down {
                down(&plan, index);
            }
            if let (Some(ramp), 0) = (&plan.backends[index].ramp, warmth) {
                ramp.chill();
            }
            if *warmth == 2 {
                let rule = Ejection { failures: 1, time: Duration::from_secs(1), ..Ejection::default() };
                plan.backends[index].state.failed(&rule, || true);
            }
        }
        let mut held = Vec::new();
        for (chance, source, tries) in asks {
            let mut tried = Tried::default();
            (0..backends.len()).filter(|n| tries >> (n % 8) & 1 == 1).for_each(|n| tried.add(n));
            let left: Vec<_> = plan.backends.iter().enumerate().filter(|(n, _)| !tried.has(*n)).collect();
            let room = |b: &BackendPlan| most == 0 || b.state.active() < u64::from(most);
            let available = |backup| left.iter().any(|(_, b)| b.backup == backup && b.is_available());
            let tier: Vec<usize> = if available(false) || available(true) {
                let backup = !available(false);
                left.iter().filter(|(_, b)| b.backup == backup && b.is_available() && room(b)).map(|(n, _)| *n).collect()
            } else {
                let ready = |b: &BackendPlan| b.admin == Admin::Ready && b.weight > 0 && room(b);
                let among = |up: bool| left.iter().filter(|(_, b)| ready(b) && (b.is_up() || !up)).map(|(n, _)| *n).collect();
                let up: Vec<usize> = among(true);
                if up.is_empty() && !refuse { among(false) } else { up }
            };
            let is_full = plan.is_full(&tried);
            let ask = Ask { chance, source: client(u64::from(source % 8)), now: Duration::from_secs(1), ..ask(0) };
            match plan.pick(&tried, &ask) {
                None => prop_assert_eq!(&tier, &[] as &[usize]),
                Some(picked) => {
                    prop_assert!(tier.contains(&picked.index), "{:?} not of {:?}", picked.index, tier);
                    prop_assert!(!is_full);
                    held.push(picked);
                }
            }
        }
    }
}
