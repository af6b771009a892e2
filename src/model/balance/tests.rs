//! Shares follow weights, what is down is skipped without burdening its neighbour, and nothing is tried twice.

use std::sync::Arc;

use super::schedule::PLACES;
use super::*;
use crate::model::compile::compile;
use crate::model::intent::{Admin, Backend, Intent, Pool, PoolName};
use crate::model::live::{Live, probe::Verdict};
use crate::model::problem::Origin;
use crate::model::snapshot::Snapshot;

fn ask(chance: u64) -> Ask {
    Ask { chance, source: IpAddr::from([192, 0, 2, 1]), now: Duration::ZERO, hash: None, kept: None }
}

fn pool(balance: Balance, weights: &[u16], edit: impl FnOnce(&mut Pool)) -> (Live, Arc<PoolPlan>) {
    let live = Live::new(1);
    let mut pool = Pool::new(Origin::new("test", "pool p"));
    pool.balance = balance;
    pool.backends = weights
        .iter()
        .enumerate()
        .map(|(n, weight)| Backend { weight: *weight, ..Backend::new(([127, 0, 0, 1], n as u16 + 1).into()) })
        .collect();
    edit(&mut pool);
    let mut intent = Intent::default();
    intent.pools.insert(PoolName::new("p"), Arc::new(pool));
    let (snapshot, problems) = compile(&intent, &Snapshot::default(), &live);
    assert_eq!(problems, []);
    (live, snapshot.pools[&PoolName::new("p")].clone())
}

fn down(plan: &PoolPlan, index: usize) {
    plan.backends[index].probe.as_ref().unwrap().set(Verdict::Down, 0, None);
}

fn up(plan: &PoolPlan, index: usize) {
    plan.backends[index].probe.as_ref().unwrap().set(Verdict::Up, 0, None);
}

/// The n-th of many clients.
fn client(n: u64) -> IpAddr {
    IpAddr::from((0x0a00_0000 + n as u32).to_be_bytes())
}

/// Picks and lets go at once, each time for another client; counts by backend.
fn shares(plan: &PoolPlan, picks: u64) -> Vec<u64> {
    let mut counts = vec![0; plan.backends.len()];
    for n in 0..picks {
        let ask = Ask { source: client(n), ..ask(scatter(n)) };
        counts[plan.pick(&Tried::default(), &ask).unwrap().index] += 1;
    }
    counts
}

/// Each count is what is due to it by its share, give or take five standard deviations of independent draws and
/// `more` parts of the whole.
fn assert_shares(counts: &[u64], due: &[f64], more: f64) {
    let (picks, sum) = (counts.iter().sum::<u64>() as f64, due.iter().sum::<f64>());
    for (count, due) in counts.iter().zip(due) {
        let part = due / sum;
        let bound = 5.0 * (picks * part * (1.0 - part)).sqrt() + more * picks;
        assert!((*count as f64 - picks * part).abs() <= bound, "{counts:?}, due by {due}, within {bound}");
    }
}

mod agents;
mod named;
mod rules;
mod slow_start;
mod sticky;
mod tiers;

#[test]
fn a_round_gives_each_its_weight_evenly_spread() {
    let (_live, plan) = pool(Balance::RoundRobin, &[3, 1], |_| {});
    let round: Vec<_> = (0..8).map(|_| plan.pick(&Tried::default(), &ask(0)).unwrap().index).collect();
    assert_eq!(round, [0, 0, 1, 0, 0, 0, 1, 0]);
}

#[test]
fn a_dead_backends_share_is_spread_over_all_others() {
    let (_live, plan) = pool(Balance::RoundRobin, &[1, 1, 1, 1, 1], |_| {});
    down(&plan, 2);
    let counts = shares(&plan, 100_000);
    assert_eq!(counts[2], 0);
    for index in [0, 1, 3, 4] {
        // 25,000 expected of each; five standard deviations of the drawn fifth are under 400.
        assert!((24_600..25_400).contains(&counts[index]), "{counts:?}");
    }
}

#[test]
fn a_weight_of_nothing_and_a_drained_backend_take_nothing() {
    let (_live, plan) = pool(Balance::RoundRobin, &[1, 0, 1], |p| p.backends[2].admin = Admin::Drain);
    assert_eq!(shares(&plan, 100), [100, 0, 0]);
}

#[test]
fn backups_serve_only_when_nothing_else_does() {
    let (_live, plan) = pool(Balance::RoundRobin, &[1, 1], |p| p.backends[1].backup = true);
    assert_eq!(shares(&plan, 100), [100, 0]);
    down(&plan, 0);
    assert_eq!(shares(&plan, 100), [0, 100]);
}

#[test]
fn a_pool_that_is_down_fails_open_or_refuses_as_asked() {
    let (_live, plan) = pool(Balance::RoundRobin, &[1, 1], |_| {});
    (0..2).for_each(|i| down(&plan, i));
    assert!(shares(&plan, 100).iter().all(|c| *c > 20));
    assert_eq!(plan.state.failed_opens(), 100);
    let (_live, plan) = pool(Balance::RoundRobin, &[1], |p| p.when_down = WhenDown::Refuse);
    down(&plan, 0);
    assert!(plan.pick(&Tried::default(), &ask(0)).is_none());
}

#[test]
fn nothing_is_tried_twice() {
    for balance in [Balance::RoundRobin, Balance::LeastConnections] {
        let (_live, plan) = pool(balance, &[1, 1, 1], |_| {});
        let mut tried = Tried::default();
        let mut seen = Vec::new();
        while let Some(picked) = plan.pick(&tried, &ask(seen.len() as u64 * 7)) {
            tried.add(picked.index);
            seen.push(picked.index);
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2]);
    }
}

#[test]
fn least_connections_evens_out_what_is_held() {
    let (_live, plan) = pool(Balance::LeastConnections, &[1, 1, 2], |_| {});
    let held: Vec<_> = (0..4_000).map(|n| plan.pick(&Tried::default(), &ask(scatter(n))).unwrap()).collect();
    let active: Vec<_> = plan.backends.iter().map(|b| b.state.active()).collect();
    assert!((950..1_050).contains(&active[0]) && (1_900..2_100).contains(&active[2]), "{active:?}");
    drop(held);
    assert!(plan.backends.iter().all(|b| b.state.active() == 0));
}

#[test]
fn large_weights_and_many_backends_fit_the_schedule() {
    let weights: Vec<u16> = (0..1_000).map(|n| 200 + (n % 57)).collect();
    let schedule = Schedule::new(&weights);
    assert!(schedule.main.len() <= PLACES + weights.len());
    assert_eq!(schedule.main.iter().collect::<std::collections::HashSet<_>>().len(), 1_000, "each has a place");
    assert!(Schedule::new(&[]).at(7).is_none());
}
