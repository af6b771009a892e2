//! Against a plain list: what comes up, when, and that nothing is lost or kept.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[test]
fn a_wait_is_rounded_up_by_less_than_an_eighth() {
    for now in [0, 1, 999, 123_456_789] {
        for wait in (1..200).chain([1_000, 4_097, 300_000, 3_600_000, 10_000_000_000]) {
            let late = bucket(now, now + wait) - (now + wait);
            assert!(late * COARSE <= wait, "{wait} ms late by {late}");
        }
        assert_eq!(bucket(now, now), now + 1, "the past comes next, so a look never finds itself again");
        assert_eq!(bucket(now, now.saturating_sub(5)), now + 1);
    }
}

#[test]
fn a_thousand_connections_share_few_buckets() {
    let mut wheel = Wheel::default();
    for n in 0..1_000 {
        wheel.insert((), n * 10, n * 10 + 50_000);
    }
    assert!(wheel.buckets.len() <= 5, "{}", wheel.buckets.len());
}

#[test]
fn when_all_have_left_their_room_is_given_back() {
    let mut wheel = Wheel::default();
    let keys: Vec<_> = (0..1_000).map(|n| wheel.insert(n, 0, 100)).collect();
    assert!(keys.into_iter().enumerate().all(|(n, key)| wheel.remove(key) == Some(n as u64)));
    assert_eq!((wheel.entries.capacity(), wheel.first()), (0, None));
    assert!(wheel.pop(1_000).is_none() && wheel.buckets.is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64),
    Remove(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..100_000u64).prop_map(Step::Insert),
        2 => any::<usize>().prop_map(Step::Remove),
        2 => (0..50_000u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn each_comes_up_once_in_its_time(steps in prop::collection::vec(step(), 1..200)) {
        let mut wheel = Wheel::default();
        // Of each entry: its name, and when it was asked for and must have come.
        let mut model: BTreeMap<u32, (Key, u64, u64)> = BTreeMap::new();
        let (mut now, mut names) = (0u64, 0u32);
        for step in steps {
            match step {
                Step::Insert(wait) => {
                    let key = wheel.insert(names, now, now + wait);
                    model.insert(names, (key, now + wait, now + wait + wait / COARSE + 1));
                    names += 1;
                }
                Step::Remove(any) => {
                    if let Some(name) = model.keys().nth(any % model.len().max(1)).copied() {
                        let (key, ..) = model.remove(&name).unwrap();
                        prop_assert_eq!(wheel.remove(key), Some(name));
                    }
                }
                Step::Wait(time) => {
                    let end = now + time;
                    // As the task does: sleeps until the first bucket, looks, sleeps again.
                    while let Some(at) = wheel.first().filter(|at| *at <= end) {
                        now = now.max(at);
                        while let Some((key, name)) = wheel.pop(now) {
                            let (known, earliest, latest) = model[&name];
                            prop_assert_eq!(key, known);
                            prop_assert!((earliest..=latest).contains(&now), "{} of {}..{}", now, earliest, latest);
                            // Every third is done; the others are looked at again.
                            if name % 3 == 0 {
                                model.insert(name, (key, u64::MAX, u64::MAX));
                            } else {
                                wheel.again(key, now, now + 700);
                                model.insert(name, (key, now + 700, now + 700 + 88));
                            }
                        }
                    }
                    now = end;
                }
            }
            prop_assert_eq!(wheel.live as usize, model.len());
            for (_, earliest, latest) in model.values() {
                prop_assert!(*earliest == u64::MAX || *latest > now || *latest == now, "one was forgotten");
            }
        }
    }
}
