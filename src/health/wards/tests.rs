//! Who is let in when, and what is forgotten: rounds at made-up times.

use super::*;
use crate::model::compile::compile;
use crate::model::intent::{Backend, Ejection, Failings, Intent, Pool, PoolName, Probe};
use crate::model::live::Live;
use crate::model::problem::Origin;

const RULE: Ejection = Ejection {
    failures: 1,
    time: Duration::from_secs(10),
    on: Failings { connect: true, broken: true, timeout: true, server_error: true },
};

/// A pool with two backends on one node.
fn snapshot(live: &Live, probe: Option<Probe>) -> Snapshot {
    let mut pool = Pool::new(Origin::new("test", "pool"));
    pool.probe = probe;
    pool.backends = [1, 2].map(|n| Backend::new(SocketAddr::from(([10, 0, 0, 1], n)))).into();
    let mut intent = Intent::default();
    intent.pools.insert(PoolName::new("p"), Arc::new(pool));
    compile(&intent, &Snapshot::default(), live).0
}

fn states(snapshot: &Snapshot) -> [Arc<BackendState>; 2] {
    let backends = &snapshot.pools[&PoolName::new("p")].backends;
    [0, 1].map(|index| backends[index].state.clone())
}

#[tokio::test(start_paused = true)]
async fn each_relapse_takes_twice_as_long_up_to_ten_times() {
    let (live, mut wards) = (Live::new(1), Wards::default());
    let snapshot = snapshot(&live, None);
    let [state, _] = states(&snapshot);
    assert!(!wards.round(&snapshot, Instant::now()), "all is well");
    let mut now = Instant::now();
    for seconds in [10, 20, 40, 80, 100, 100] {
        state.failed(&RULE, || true);
        let end = now + Duration::from_secs(seconds);
        assert!(wards.round(&snapshot, now));
        assert!(wards.round(&snapshot, end - LOOK) && state.ejection().is_ejected(), "{seconds}");
        assert!(wards.round(&snapshot, end) && !state.ejection().is_ejected(), "{seconds}");
        now = end + LOOK;
    }
    // As long as its last time without a relapse, and its past is forgotten.
    assert!(!wards.round(&snapshot, now + Duration::from_secs(100)));
    state.failed(&RULE, || true);
    wards.round(&snapshot, now);
    wards.round(&snapshot, now + RULE.time);
    assert!(!state.ejection().is_ejected());
}

#[tokio::test(start_paused = true)]
async fn who_is_found_well_meanwhile_comes_back_early() {
    let (live, mut wards) = (Live::new(1), Wards::default());
    let snapshot = snapshot(&live, None);
    let [state, _] = states(&snapshot);
    let now = Instant::now();
    state.failed(&RULE, || true);
    wards.round(&snapshot, now);
    state.pardon();
    assert!(wards.round(&snapshot, now + LOOK), "a relapse would count");
    assert!(!wards.round(&snapshot, now + LOOK + RULE.time));
}

#[tokio::test(start_paused = true)]
async fn a_suspicion_of_one_is_forgotten() {
    let (live, mut wards) = (Live::new(1), Wards::default());
    let snapshot = snapshot(&live, None);
    let [one, other] = states(&snapshot);
    let now = Instant::now();
    one.silent(one.node().pulse());
    assert!(wards.round(&snapshot, now));
    assert!(wards.round(&snapshot, now + SUSPICION - LOOK) && one.node().is_suspected());
    assert!(!wards.round(&snapshot, now + SUSPICION) && !one.node().is_suspected());
    other.silent(other.node().pulse());
    assert!(!one.node().is_down(), "two silences far apart are two accidents");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_nobody_checks_is_tried_again() {
    for probe in [None, Some(Probe::default())] {
        let (live, mut wards) = (Live::new(1), Wards::default());
        let is_checked = probe.is_some();
        let snapshot = snapshot(&live, probe);
        let [one, other] = states(&snapshot);
        let now = Instant::now();
        one.silent(one.node().pulse());
        other.silent(one.node().pulse());
        assert!(wards.round(&snapshot, now) && one.node().is_down());
        assert!(wards.round(&snapshot, now + REST - LOOK) && one.node().is_down());
        wards.round(&snapshot, now + REST);
        assert_eq!(one.node().is_down(), is_checked, "checks will find it alive");
        one.silent(one.node().pulse());
        assert!(one.node().is_down(), "it has one chance");
    }
}

#[tokio::test(start_paused = true)]
async fn the_bell_wakes_the_keeper_and_time_does_the_rest() {
    let live = Live::new(1);
    let snapshots = Snapshots::default();
    snapshots.publish(snapshot(&live, None));
    let [state, _] = states(&snapshots.current());
    let story = async {
        sleep(Duration::from_secs(3600)).await;
        let began = Instant::now();
        state.failed(&RULE, || true);
        while state.ejection().is_ejected() {
            sleep(Duration::from_millis(10)).await;
        }
        began.elapsed()
    };
    let out = tokio::select! {
        never = keep(&snapshots, live.trouble()) => match never {},
        out = story => out,
    };
    assert!((RULE.time..RULE.time + LOOK * 2).contains(&out), "{out:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_is_tried_again_while_anybody_on_it_is_not_checked() {
    let (live, mut wards) = (Live::new(1), Wards::default());
    let one_of = |port, probe| {
        let mut pool = Pool::new(Origin::new("test", "pool"));
        pool.probe = probe;
        pool.backends = [Backend::new(SocketAddr::from(([10, 0, 0, 1], port)))].into();
        Arc::new(pool)
    };
    let mut intent = Intent::default();
    // The checks of the one are dropped by a firewall; the other is well and not checked.
    intent.pools.insert(PoolName::new("checked"), one_of(1, Some(Probe::default())));
    intent.pools.insert(PoolName::new("other"), one_of(2, None));
    let (snapshot, _) = compile(&intent, &Snapshot::default(), &live);
    let state = |pool: &str| snapshot.pools[&PoolName::new(pool)].backends[0].state.clone();
    let (checked, other, now) = (state("checked"), state("other"), Instant::now());
    checked.silent(checked.node().pulse());
    other.silent(other.node().pulse());
    assert!(wards.round(&snapshot, now) && other.node().is_down());
    wards.round(&snapshot, now + REST);
    assert!(!other.node().is_down(), "nothing else would ever find it alive");
}

#[tokio::test(start_paused = true)]
async fn what_was_left_out_while_nobody_listed_it_is_let_in_too() {
    let live = Live::new(1);
    let snapshots = Snapshots::default();
    let listed = snapshot(&live, None);
    let [state, _] = states(&listed);
    drop(listed);
    let story = async {
        // A connection of an old plan finds out, and keeps the state until the backend is listed again.
        state.failed(&RULE, || true);
        sleep(Duration::from_secs(60)).await;
        assert!(state.ejection().is_ejected());
        snapshots.publish(snapshot(&live, None));
        sleep(RULE.time + LOOK * 2).await;
        assert!(!state.ejection().is_ejected());
    };
    tokio::select! {
        never = keep(&snapshots, live.trouble()) => match never {},
        () = story => {}
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_a_queue_is_woken_when_a_backend_comes_up() {
    let (live, snapshots) = (Live::new(1), Snapshots::default());
    snapshots.publish(snapshot(&live, None));
    let current = snapshots.current();
    let [state, _] = states(&current);
    let waiter = current.pools[&PoolName::new("p")].state.queue().join(1).unwrap();
    let begun = Instant::now();
    let story = async {
        sleep(Duration::from_secs(1)).await;
        // As a check does that finds it up again.
        state.pardon();
        waiter.woken().await;
        assert!(begun.elapsed() <= Duration::from_secs(1) + GAP, "{:?}", begun.elapsed());
        sleep(Duration::from_secs(1)).await;
        state.failed(&RULE, || true);
        waiter.woken().await;
        // Thrown out is a reason to look as well; what counts is when it is let in.
        waiter.woken().await;
        let waited = begun.elapsed();
        assert!(waited >= Duration::from_secs(2) + RULE.time && !state.ejection().is_ejected(), "{waited:?}");
        assert!(waited <= Duration::from_secs(2) + RULE.time + 3 * LOOK, "{waited:?}");
    };
    tokio::select! {
        _ = keep(&snapshots, live.trouble()) => {}
        () = story => {}
    }
}
