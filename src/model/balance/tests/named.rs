//! By what a request says: the key of a hash, and the backend that a cookie names.

use super::*;
use crate::model::intent::{SameSite, Sticky, StickyCookie};

fn by_cookie(weights: &[u16], edit: impl FnOnce(&mut Pool)) -> (Live, Arc<PoolPlan>) {
    let cookie = StickyCookie { name: "SRV".into(), ttl: None, secure: None, same_site: SameSite::Lax, key: None };
    pool(Balance::RoundRobin, weights, |p| {
        p.sticky = Some(Sticky::Cookie(cookie));
        edit(p);
    })
}

fn token(plan: &PoolPlan, index: usize) -> &str {
    plan.tokens.as_ref().unwrap().of(index).unwrap()
}

/// Where a client with this token is sent, and what its cookie must say then.
fn served<'p>(plan: &'p PoolPlan, token: &str, tried: &Tried) -> (usize, Option<&'p str>) {
    let kept = plan.named(token);
    let index = plan.pick(tried, &Ask { kept, ..ask(7) }).unwrap().index;
    (index, plan.renamed(kept, tried, index))
}

#[test]
fn a_key_takes_the_place_of_the_source() {
    for balance in [Balance::HashUri, Balance::HashHeader("x-user".into()), Balance::HashCookie("sid".into())] {
        let (_live, plan) = pool(balance, &[1; 6], |_| {});
        let pick = |source: u64, hash| {
            let ask = Ask { source: client(source), hash, ..ask(source) };
            plan.pick(&Tried::default(), &ask).unwrap().index
        };
        let mut counts = [0; 6];
        for n in 0u64..3_000 {
            let hash = Some(digest::of_bytes(format!("/page/{n}").as_bytes()));
            let home = pick(n, hash);
            assert_eq!(home, pick(n + 1, hash), "whoever asks");
            counts[home] += 1;
        }
        assert!(counts.iter().all(|count| (400..600).contains(count)), "{counts:?}");
        // Without a key it is as if it went by source.
        let (_other, by_source) = pool(Balance::HashSource, &[1; 6], |_| {});
        for n in 0..100 {
            let ask = Ask { source: client(n), ..ask(n) };
            assert_eq!(pick(n, None), by_source.pick(&Tried::default(), &ask).unwrap().index);
        }
    }
}

#[test]
fn a_client_goes_where_its_cookie_says_and_is_told_only_what_is_new() {
    let (_live, plan) = by_cookie(&[1; 4], |_| {});
    let none = Tried::default();
    for home in (0..4).chain(0..4) {
        assert_eq!(served(&plan, token(&plan, home), &none), (home, None));
    }
    let (index, told) = served(&plan, "nobody", &none);
    assert_eq!(told, Some(token(&plan, index)));
}

#[test]
fn who_is_drained_keeps_its_clients_and_takes_no_other() {
    let (live, plan) = by_cookie(&[1; 3], |_| {});
    let old = token(&plan, 1).to_owned();
    let drained = |admin| {
        let mut next = (*plan.intent).clone();
        next.backends[1].admin = admin;
        let mut intent = Intent::default();
        intent.pools.insert(PoolName::new("p"), Arc::new(next));
        compile(&intent, &Snapshot::default(), &live).0.pools[&PoolName::new("p")].clone()
    };
    let none = Tried::default();
    let draining = drained(Admin::Drain);
    assert_eq!(served(&draining, &old, &none), (1, None));
    assert!(shares(&draining, 300)[1] == 0, "nobody new");
    let closed = drained(Admin::Maintain);
    let (index, told) = served(&closed, &old, &none);
    assert!(index != 1 && told == Some(token(&closed, index)));
}

#[test]
fn who_died_loses_its_clients_for_good_and_who_is_full_for_once() {
    let (_live, plan) = by_cookie(&[1; 3], |p| p.max_connections = 1);
    let (none, home) = (Tried::default(), token(&plan, 1));
    let held = plan.pick(&none, &Ask { kept: plan.named(home), ..ask(1) }).unwrap();
    assert_eq!(held.index, 1);
    let (index, told) = served(&plan, home, &none);
    assert!(index != 1 && told.is_none(), "it comes home");
    drop(held);
    assert_eq!(served(&plan, home, &none), (1, None));
    let mut tried = Tried::default();
    tried.add(1);
    let (index, told) = served(&plan, home, &tried);
    assert!(index != 1 && told == Some(token(&plan, index)), "it failed this client");
    down(&plan, 1);
    let (index, told) = served(&plan, home, &none);
    assert!(index != 1 && told == Some(token(&plan, index)));
}

#[test]
fn a_backup_and_a_weight_of_nothing_keep_who_was_led_there() {
    let (_live, plan) = by_cookie(&[1, 0, 1], |p| p.backends[2].backup = true);
    for home in [1, 2] {
        assert_eq!(served(&plan, token(&plan, home), &Tried::default()), (home, None));
    }
    assert_eq!(shares(&plan, 100), [100, 0, 0]);
}

#[test]
fn when_all_are_down_a_client_stays() {
    let (_live, plan) = by_cookie(&[1; 3], |_| {});
    (0..3).for_each(|index| down(&plan, index));
    for home in 0..3 {
        assert_eq!(served(&plan, token(&plan, home), &Tried::default()).0, home, "the checks may be wrong");
    }
}
