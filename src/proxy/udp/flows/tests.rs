//! The flow table beside a naive one, in virtual time, from seeds.

use super::*;

fn key(n: u32) -> Key {
    Key { client: SocketAddr::from((std::net::Ipv4Addr::from(n), 4000)), local: IpAddr::from([127, 0, 0, 1]) }
}

const IDLE: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What the table must do, done by walking a list.
#[derive(Default)]
struct Naive(Vec<Entry>);

struct Entry {
    key: Key,
    value: u64,
    /// Which change used it last: finer than the time.
    step: u64,
    used: Duration,
    answered: bool,
    proven: bool,
}

impl Naive {
    fn find(&mut self, key: &Key) -> Option<&mut Entry> {
        self.0.iter_mut().find(|entry| entry.key == *key)
    }

    fn take_oldest(&mut self, of: impl Fn(&Entry) -> bool) -> Option<u64> {
        let candidates = self.0.iter().enumerate().filter(|(_, entry)| of(entry));
        let (at, _) = candidates.min_by_key(|(_, entry)| entry.step)?;
        Some(self.0.remove(at).value)
    }
}

/// SplitMix64.
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut x = *state;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn simulate(seed: u64) {
    let (mut chance, mut now) = (seed, Duration::ZERO);
    let (mut flows, mut naive) = (Flows::<u64>::default(), Naive::default());
    let mut known: Vec<FlowId> = Vec::new();
    let clients = 1 + draw(&mut chance) % 60;
    for step in 0..2000 {
        now += Duration::from_millis(draw(&mut chance) % 1500);
        let client = key((draw(&mut chance) % clients) as u32);
        match draw(&mut chance) % 10 {
            0..=4 => {
                let id = flows.heard(&client, now);
                let expected = naive.find(&client).map(|entry| {
                    (entry.step, entry.used) = (step, now);
                    entry.proven |= entry.answered;
                    entry.value
                });
                assert_eq!(id.and_then(|id| flows.get(id)).map(|(_, value)| *value), expected, "seed {seed}");
                if id.is_none() {
                    let id = flows.open(client, step, now).unwrap();
                    let (used, answered, proven) = (now, false, false);
                    naive.0.push(Entry { key: client, value: step, step, used, answered, proven });
                    known.push(id);
                } else {
                    assert_eq!(flows.open(client, 0, now), None, "one flow a key");
                }
            }
            5 | 6 if !known.is_empty() => {
                let id = known[(draw(&mut chance) % known.len() as u64) as usize];
                let key = flows.get(id).map(|(key, _)| *key);
                flows.answered(id, now);
                if let Some(entry) = key.and_then(|key| naive.find(&key)) {
                    (entry.step, entry.used, entry.answered) = (step, now, true);
                }
            }
            7 if !known.is_empty() => {
                let id = known[(draw(&mut chance) % known.len() as u64) as usize];
                let value = flows.close(id);
                assert_eq!(value.is_some(), naive.0.iter().any(|entry| Some(entry.value) == value));
                naive.0.retain(|entry| Some(entry.value) != value);
            }
            8 => {
                let expected = naive.take_oldest(|entry| !entry.proven).or_else(|| naive.take_oldest(|_| true));
                assert_eq!(flows.give_way(), expected, "seed {seed}, step {step}");
            }
            _ => loop {
                let first = naive.0.iter().map(|entry| entry.used + IDLE).min();
                assert_eq!(flows.next_expiry(IDLE), first);
                let ended = flows.expire(now, IDLE);
                let over = naive.0.iter().position(|entry| Some(entry.value) == ended);
                assert!(over.is_none_or(|at| naive.0[at].used + IDLE <= now), "ended too early");
                let Some(over) = over else {
                    assert!(naive.0.iter().all(|entry| entry.used + IDLE > now), "left one over");
                    break;
                };
                naive.0.remove(over);
            },
        }
        flows.check_invariants();
        assert_eq!(flows.len(), naive.0.len(), "seed {seed}, step {step}");
    }
}

#[test]
fn it_does_what_a_naive_one_does() {
    (0..60).for_each(simulate);
}

#[test]
fn a_flood_turns_over_the_young_and_leaves_the_proven() {
    let mut flows = Flows::default();
    let talking: Vec<FlowId> = (0..100).map(|n| flows.open(key(n), n, at(0)).unwrap()).collect();
    for n in 0..100 {
        flows.answered(talking[n as usize], at(1));
        flows.heard(&key(n), at(2)).unwrap();
    }
    for n in 1000..201_000 {
        if flows.len() >= 1000 {
            let gone = flows.give_way().unwrap();
            assert!(gone >= 1000, "{gone} was proven");
        }
        let id = flows.open(key(n), n, at(3)).unwrap();
        // Even a flood that gets answers stays young: nobody hears them.
        flows.answered(id, at(3));
    }
    assert_eq!(flows.len(), 1000);
    assert!(flows.places.len() <= 1000, "places are used again");
    assert!(talking.iter().all(|id| flows.get(*id).is_some()));
    flows.check_invariants();
    while flows.len() > 100 {
        flows.give_way();
    }
    assert_eq!(flows.give_way(), Some(0), "the longest unused of the proven, when only they are left");
}

#[test]
fn an_id_names_one_flow_for_ever() {
    let mut flows = Flows::default();
    let first = flows.open(key(1), "first", at(0)).unwrap();
    assert_eq!(FlowId::of(first.number()), first);
    assert_eq!(flows.close(first), Some("first"));
    let second = flows.open(key(2), "second", at(0)).unwrap();
    assert_eq!(second.place, first.place);
    assert!(flows.get(first).is_none() && flows.get_mut(first).is_none() && flows.close(first).is_none());
    flows.answered(first, at(1));
    assert_eq!(flows.get(second).map(|(_, value)| *value), Some("second"));
    flows.check_invariants();
}

#[test]
fn a_client_at_another_of_our_addresses_is_another_flow() {
    let mut flows = Flows::default();
    let one = key(1);
    let other = Key { local: "127.0.0.2".parse().unwrap(), ..one };
    flows.open(one, 1, at(0)).unwrap();
    assert_eq!(flows.heard(&other, at(0)), None);
    let six = Key { client: "[2001:db8::1]:53".parse().unwrap(), local: "::1".parse().unwrap() };
    flows.open(six, 6, at(0)).unwrap();
    assert!(flows.heard(&six, at(1)).is_some());
    flows.check_invariants();
}

#[test]
fn a_place_is_small() {
    assert!(size_of::<Place<()>>() <= 96, "{}", size_of::<Place<()>>());
    // A key and a place in the index, at its fullest seven of eight, at its emptiest seven of sixteen.
    assert!(size_of::<(Key, u32)>() <= 56, "{}", size_of::<(Key, u32)>());
}
