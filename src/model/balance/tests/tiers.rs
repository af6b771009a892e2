//! Backups, limits and failing open: which backends are asked at all.

use super::*;
use crate::model::intent::Ejection;

#[test]
fn a_full_pool_is_waited_for_and_its_backups_are_spared() {
    let (_live, plan) = pool(Balance::RoundRobin, &[1, 1, 1], |p| {
        p.max_connections = 1;
        p.backends[2].backup = true;
    });
    let pick = || plan.pick(&Tried::default(), &ask(3));
    let (one, two) = (pick().unwrap(), pick().unwrap());
    assert!(one.index < 2 && two.index < 2);
    assert!(pick().is_none() && plan.is_full(&Tried::default()));
    assert_eq!(plan.state.failed_opens(), 0, "full is not down");
    // With both tried and away the backup serves, to its limit.
    let mut tried = Tried::default();
    (0..2).for_each(|index| tried.add(index));
    let backup = plan.pick(&tried, &ask(3)).unwrap();
    assert_eq!(backup.index, 2);
    assert!(plan.pick(&tried, &ask(3)).is_none() && plan.is_full(&tried));
    drop(one);
    assert!(!plan.is_full(&Tried::default()) && pick().is_some());
}

#[test]
fn a_limit_holds_when_the_pool_fails_open() {
    let (_live, plan) = pool(Balance::RoundRobin, &[1, 1], |p| p.max_connections = 1);
    (0..2).for_each(|index| down(&plan, index));
    let held: Vec<_> = (0..2).map(|n| plan.pick(&Tried::default(), &ask(n)).unwrap()).collect();
    assert!(plan.pick(&Tried::default(), &ask(2)).is_none());
    assert!(!plan.is_full(&Tried::default()), "nothing is available, so nothing is worth waiting for");
    drop(held);
}

#[test]
fn failing_open_keeps_the_manner_of_the_rule() {
    let all_down = |balance| {
        let (live, plan) = pool(balance, &[1, 1, 2], |_| {});
        (0..3).for_each(|index| down(&plan, index));
        (live, plan)
    };
    let (_live, plan) = all_down(Balance::RoundRobin);
    assert_shares(&shares(&plan, 20_000), &[1.0, 1.0, 2.0], 0.0);
    let (_live, plan) = all_down(Balance::First);
    assert_eq!(shares(&plan, 10), [10, 0, 0]);
    let (_live, plan) = all_down(Balance::HashSource);
    let (_healthy, same) = pool(Balance::HashSource, &[1, 1, 2], |_| {});
    for n in 0..500 {
        let ask = Ask { source: client(n), ..ask(scatter(n)) };
        let home = same.pick(&Tried::default(), &ask).unwrap().index;
        assert_eq!(plan.pick(&Tried::default(), &ask).unwrap().index, home, "every client stays at home");
    }
}

#[test]
fn what_only_traffic_speaks_against_is_better_than_nothing_and_than_what_is_down() {
    let rule = Ejection { failures: 1, time: Duration::from_secs(10), ..Ejection::default() };
    for when_down in [WhenDown::Refuse, WhenDown::Try] {
        for balance in [Balance::RoundRobin, Balance::First, Balance::HashSource, Balance::LeastConnections] {
            let (_live, plan) = pool(balance.clone(), &[1, 1], |p| p.when_down = when_down);
            // Another pool that shares it may have thrown it out, whatever this one can spare.
            plan.backends[1].state.failed(&rule, || true);
            assert_eq!(shares(&plan, 100), [100, 0]);
            down(&plan, 0);
            assert_eq!(shares(&plan, 100), [0, 100], "{when_down:?} {balance:?}");
            down(&plan, 1);
            assert_eq!(plan.pick(&Tried::default(), &ask(0)).is_some(), when_down == WhenDown::Try);
        }
    }
}

#[test]
fn a_pool_that_takes_traffic_for_no_evidence_keeps_what_another_threw_out() {
    let (_live, plan) = pool(Balance::RoundRobin, &[1, 1], |p| p.ejection = None);
    plan.backends[0]
        .state
        .failed(&Ejection { failures: 1, time: Duration::from_secs(10), ..Ejection::default() }, || true);
    assert_eq!(shares(&plan, 100), [50, 50]);
}

#[test]
fn one_that_only_traffic_speaks_against_is_waited_for() {
    let (_live, plan) = pool(Balance::RoundRobin, &[1], |p| (p.max_connections, p.when_down) = (1, WhenDown::Refuse));
    plan.backends[0]
        .state
        .failed(&Ejection { failures: 1, time: Duration::from_secs(10), ..Ejection::default() }, || true);
    let held = plan.pick(&Tried::default(), &ask(0)).unwrap();
    assert!(plan.pick(&Tried::default(), &ask(0)).is_none() && plan.is_worth_waiting(&Tried::default()));
    drop(held);
}
