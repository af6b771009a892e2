//! What is left out, what may not be, and where a second try goes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::model::compile::compile;
use crate::model::intent::{Backend, Ejection, Intent, Pool, PoolName};
use crate::model::live::Live;
use crate::model::problem::Origin;
use crate::model::snapshot::Snapshot;

/// A pool of so many backends on each of these nodes, unchecked.
fn pool(live: &Live, nodes: &[(&str, u16)]) -> Arc<PoolPlan> {
    let mut pool = Pool::new(Origin::new("test", "pool"));
    pool.probe = None;
    pool.ejection = Some(Ejection { failures: 2, time: Duration::from_secs(1), ..Ejection::default() });
    for (number, (node, count)) in nodes.iter().enumerate() {
        for n in 0..*count {
            let address = SocketAddr::from(([10, 0, number as u8, n as u8], 80));
            pool.backends.push(Backend { node: (*node).into(), ..Backend::new(address) });
        }
    }
    let mut intent = Intent::default();
    intent.pools.insert(PoolName::new("p"), Arc::new(pool));
    compile(&intent, &Snapshot::default(), live).0.pools[&PoolName::new("p")].clone()
}

fn ask(chance: u64) -> Ask {
    Ask { chance, source: [192, 0, 2, 1].into(), now: Duration::ZERO, hash: None, kept: None }
}

fn available(plan: &PoolPlan) -> String {
    plan.backends.iter().map(|b| if b.is_available() { '+' } else { '-' }).collect()
}

#[test]
fn what_cannot_be_connected_to_leaves_until_one_is_left() {
    let live = Live::new(1);
    let plan = pool(&live, &[("a", 3)]);
    for backend in &plan.backends {
        (0..5).for_each(|_| plan.blame(backend, Fault::Refused));
    }
    assert_eq!(available(&plan), "--+", "the last one is better than none");
    assert_eq!(plan.backends[0].state.ejection().count(), 1);
}

#[test]
fn what_only_breaks_off_leaves_at_most_half_of_a_pool() {
    let live = Live::new(1);
    let plan = pool(&live, &[("a", 5)]);
    for backend in &plan.backends {
        (0..5).for_each(|_| plan.blame(backend, Fault::Broke));
    }
    assert_eq!(available(&plan), "--+++");
    let two = pool(&live, &[("b", 1), ("c", 1)]);
    for backend in &two.backends {
        (0..5).for_each(|_| two.blame(backend, Fault::Broke));
    }
    assert_eq!(available(&two), "-+");
}

#[test]
fn any_answer_between_failures_keeps_it_in() {
    let live = Live::new(1);
    let plan = pool(&live, &[("a", 2)]);
    for _ in 0..9 {
        plan.blame(&plan.backends[0], Fault::Broke);
        plan.backends[0].state.received(1);
    }
    assert_eq!(available(&plan), "++");
}

#[test]
fn a_node_leaves_whole_and_comes_back_with_the_first_answer() {
    let live = Live::new(1);
    let plan = pool(&live, &[("a", 3), ("b", 2)]);
    let node = plan.backends[0].state.node();
    for index in [0, 1] {
        plan.blame(&plan.backends[index], Fault::Silent(node.pulse()));
    }
    assert_eq!(available(&plan), "---++");
    plan.backends[2].state.connected();
    assert_eq!(available(&plan), "+++++");
}

#[test]
fn a_second_try_goes_to_another_node() {
    let live = Live::new(1);
    let plan = pool(&live, &[("a", 9), ("b", 3)]);
    let mut tried = Tried::default();
    tried.add(0);
    plan.blame(&plan.backends[0], Fault::Silent(plan.backends[0].state.node().pulse()));
    assert_eq!(available(&plan), "++++++++++++", "one silence throws nothing out");
    for chance in 0..200 {
        let picked = plan.pick_again(&tried, &ask(chance)).unwrap();
        // Nine are on the node; one was tried, and the eight others are what it passes over at most.
        assert!(picked.index >= 9, "{chance}: {}", picked.index);
    }
    (9..12).for_each(|index| tried.add(index));
    assert!(plan.pick_again(&tried, &ask(1)).unwrap().index < 9, "where there is no other, the same will do");
}
