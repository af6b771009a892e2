//! What warms up takes the part of its share that it is warm, and is never refused for want of another.

use super::*;

/// A pool whose backends have grown for so many of 256 seconds since they were cold.
fn warmed(balance: Balance, weights: &[u16], seconds: &[u64]) -> (Live, Arc<PoolPlan>) {
    let (live, plan) = pool(balance, weights, |p| p.slow_start = Duration::from_secs(256));
    for (backend, seconds) in plan.backends.iter().zip(seconds) {
        let ramp = backend.ramp.as_ref().unwrap();
        ramp.chill();
        ramp.grow(Duration::from_secs(*seconds), plan.intent.slow_start);
    }
    (live, plan)
}

#[test]
fn shares_are_in_proportion_to_weight_and_warmth() {
    let rules = [Balance::RoundRobin, Balance::HashSource];
    for balance in rules {
        for seconds in [[256, 256, 63], [256, 0, 0], [127, 63, 255], [3, 3, 3]] {
            let (_live, plan) = warmed(balance.clone(), &[1, 2, 4], &seconds);
            let due: Vec<_> = [1.0, 2.0, 4.0].iter().zip(seconds).map(|(w, s)| w * (s + 1).min(256) as f64).collect();
            // By hash, who is not at home yet walks on instead of being drawn.
            if balance == Balance::RoundRobin {
                assert_shares(&shares(&plan, 100_000), &due, 0.0);
            } else {
                let part = shares(&plan, 100_000)[2] as f64 / 100_000.0;
                assert!(part <= due[2] / due.iter().sum::<f64>() + 4.0 / 7.0 * 0.25, "{seconds:?}: {part}");
            }
        }
    }
}

#[test]
fn a_cold_backend_is_not_flooded_for_having_nothing() {
    let (_live, plan) = warmed(Balance::LeastConnections, &[1, 1, 1], &[256, 256, 0]);
    let held: Vec<_> = (0..300).map(|n| plan.pick(&Tried::default(), &ask(scatter(n))).unwrap()).collect();
    let active: Vec<_> = plan.backends.iter().map(|b| b.state.active()).collect();
    assert!(active[2] <= 3, "{active:?}");
    drop(held);
    for balance in [Balance::LeastConnections, Balance::RandomTwo] {
        let (_live, plan) = warmed(balance, &[1; 20], &[vec![256; 19], vec![0]].concat());
        assert!(shares(&plan, 20_000)[19] < 40, "1,000 are its due when warm");
    }
}

#[test]
fn a_cold_backend_alone_takes_everything() {
    for balance in [Balance::RoundRobin, Balance::LeastConnections, Balance::HashSource, Balance::First] {
        let (_live, plan) = warmed(balance, &[1, 1], &[0, 256]);
        down(&plan, 1);
        assert_eq!(shares(&plan, 500), [500, 0]);
    }
}

#[test]
fn clients_come_home_one_after_the_other_as_it_warms() {
    let home = |plan: &PoolPlan, n| plan.pick(&Tried::default(), &Ask { source: client(n), ..ask(1) }).unwrap().index;
    let mut before = 0;
    let mut at_home = Vec::new();
    for seconds in [0, 64, 128, 192, 256] {
        let (_live, plan) = warmed(Balance::HashSource, &[1; 4], &[256, 256, 256, seconds]);
        let now: Vec<_> = (0..4_000).filter(|n| home(&plan, *n) == 3).collect();
        assert!(at_home.iter().all(|n| now.contains(n)), "who is home stays");
        assert!(now.len() >= before);
        (before, at_home) = (now.len(), now);
    }
    assert!((900..1_100).contains(&before), "{before}");
}
