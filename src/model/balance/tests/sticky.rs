//! A client stays where it was, for as long as was asked and its backend is there.

use super::*;
use crate::model::intent::Sticky;

const TIMEOUT: Duration = Duration::from_secs(600);

fn sticky(weights: &[u16], edit: impl FnOnce(&mut Pool)) -> (Live, Arc<PoolPlan>) {
    pool(Balance::RoundRobin, weights, |p| {
        p.sticky = Some(Sticky::Source { timeout: TIMEOUT });
        edit(p);
    })
}

fn pick(plan: &PoolPlan, n: u64, now: u64) -> usize {
    let ask = Ask { chance: scatter(now ^ n << 32), source: client(n), now: Duration::from_secs(now), ..ask(0) };
    plan.pick(&Tried::default(), &ask).unwrap().index
}

#[test]
fn new_clients_are_spread_and_each_stays_where_it_is() {
    let (_live, plan) = sticky(&[1, 3], |_| {});
    let first: Vec<_> = (0..400).map(|n| pick(&plan, n, 0)).collect();
    assert_eq!(first.iter().filter(|index| **index == 0).count(), 100);
    for now in [1, 500, 1_000, 1_500] {
        assert!((0..400).all(|n| pick(&plan, n, now) == first[n as usize]), "each connection starts the time anew");
    }
    let moved = (0..400).rev().filter(|n| pick(&plan, *n, 2_101) != first[*n as usize]).count();
    assert!(moved > 50, "601 s later all are new: {moved}");
}

#[test]
fn one_that_is_away_is_replaced_for_good() {
    let (_live, plan) = sticky(&[1, 1, 1], |_| {});
    let home = pick(&plan, 7, 0);
    down(&plan, home);
    let second = pick(&plan, 7, 1);
    assert_ne!(second, home);
    up(&plan, home);
    assert!((2..50).all(|now| pick(&plan, 7, now) == second), "what it has built up is there now");
}

#[test]
fn a_retry_takes_the_client_along() {
    let (_live, plan) = sticky(&[1, 1, 1], |_| {});
    let home = pick(&plan, 7, 0);
    let mut tried = Tried::default();
    tried.add(home);
    let ask = Ask { chance: 3, source: client(7), now: Duration::from_secs(1), ..ask(0) };
    let other = plan.pick(&tried, &ask).unwrap().index;
    assert_ne!(other, home);
    assert_eq!(pick(&plan, 7, 2), other);
}

#[test]
fn a_backup_is_left_when_another_is_back() {
    let (_live, plan) = sticky(&[1, 1], |p| p.backends[1].backup = true);
    down(&plan, 0);
    assert_eq!(pick(&plan, 7, 0), 1);
    up(&plan, 0);
    assert_eq!(pick(&plan, 7, 1), 0);
}

#[test]
fn a_pool_that_fails_open_leaves_clients_where_they_are() {
    let (_live, plan) = sticky(&[1; 8], |_| {});
    let homes: Vec<_> = (0..100).map(|n| pick(&plan, n, 0)).collect();
    (0..8).for_each(|index| down(&plan, index));
    assert!((0..100).all(|n| pick(&plan, n, 1) == homes[n as usize]));
    assert_eq!(plan.state.failed_opens(), 100);
}

#[test]
fn a_swap_keeps_clients_and_another_instance_is_not_followed() {
    let live = Live::new(1);
    let mut previous = Snapshot::default();
    let mut publish = |instances: &[&str]| {
        let mut pool = Pool::new(Origin::new("test", "pool p"));
        pool.sticky = Some(Sticky::Source { timeout: TIMEOUT });
        pool.backends = instances
            .iter()
            .map(|name| {
                let port = name.as_bytes()[0].into();
                Backend { instance: (*name).into(), ..Backend::new(([127, 0, 0, 1], port).into()) }
            })
            .collect();
        let mut intent = Intent::default();
        intent.pools.insert(PoolName::new("p"), Arc::new(pool));
        previous = compile(&intent, &previous, &live).0;
        previous.pools[&PoolName::new("p")].clone()
    };
    let plan = publish(&["a", "b", "c"]);
    let instance = |plan: &PoolPlan, index: usize| plan.intent.backends[index].instance.clone();
    let homes: Vec<_> = (0..300).map(|n| instance(&plan, pick(&plan, n, 0))).collect();
    let plan = publish(&["x", "c", "b", "a"]);
    assert!((0..300).all(|n| instance(&plan, pick(&plan, n, 1)) == homes[n as usize]), "in whatever order");
    // The same address (its first letter gives the port), somebody else.
    let plan = publish(&["x", "c", "b", "another", "y"]);
    let stayed = (0..300).filter(|n| &*instance(&plan, pick(&plan, *n, 2)) == "another" && &*homes[*n as usize] == "a");
    assert!((5..60).contains(&stayed.count()), "a fifth of a hundred go there by chance");
}
