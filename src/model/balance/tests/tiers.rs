//! Backups, limits and failing open: which backends are asked at all.

use super::*;

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
