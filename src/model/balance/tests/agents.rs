//! What agents wish is what their backends get.

use super::*;
use crate::model::intent::Agent;

/// A pool whose agents have said these percentages.
fn said(balance: Balance, weights: &[u16], percents: &[u32]) -> (Live, Arc<PoolPlan>) {
    // Each backend is one address with a port of its own, so each has an agent of its own.
    let (live, plan) = pool(balance, weights, |p| {
        p.agent = Some(Agent { port: 9, every: Duration::from_secs(1) });
    });
    for (backend, percent) in plan.backends.iter().zip(percents) {
        backend.agent.as_ref().unwrap().set_percent(*percent);
    }
    (live, plan)
}

#[test]
fn shares_are_in_proportion_to_weight_and_percent() {
    for percents in [[100, 100, 25], [50, 100, 100], [1, 100, 100], [10, 10, 10]] {
        let (_live, plan) = said(Balance::RoundRobin, &[1, 2, 4], &percents);
        // In steps of 1/256, as warmth is.
        let part = |percent: &u32| f64::from((percent * 256).div_ceil(100));
        let due: Vec<_> = [1.0, 2.0, 4.0].iter().zip(&percents).map(|(weight, p)| weight * part(p)).collect();
        assert_shares(&shares(&plan, 100_000), &due, 0.0);
    }
}

#[test]
fn nothing_is_nothing_even_where_all_else_fails() {
    for balance in [Balance::RoundRobin, Balance::LeastConnections, Balance::HashSource, Balance::First] {
        let (_live, plan) = said(balance, &[1, 1], &[0, 100]);
        assert_eq!(shares(&plan, 200), [0, 200]);
        down(&plan, 1);
        assert_eq!(shares(&plan, 200), [0, 200], "down is better than unwilling");
        plan.backends[1].agent.as_ref().unwrap().set_admin(Admin::Maintain);
        assert!(plan.pick(&Tried::default(), &ask(1)).is_none());
    }
}

#[test]
fn what_it_says_of_connections_narrows_the_pools_limit_and_never_widens_it() {
    let held = |limit, said| {
        let (_live, plan) = pool(Balance::RoundRobin, &[1], |p| {
            p.max_connections = limit;
            p.agent = Some(Agent { port: 9, every: Duration::from_secs(1) });
        });
        plan.backends[0].agent.as_ref().unwrap().set_max_connections(said);
        let held: Vec<_> = (0..9).map_while(|_| plan.pick(&Tried::default(), &ask(0))).collect();
        held.len()
    };
    assert_eq!([held(5, 0), held(5, 3), held(5, 7), held(0, 3)], [5, 3, 5, 9]);
}
