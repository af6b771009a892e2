//! Any order of datagrams, answers and times: the flow table keeps its parts in agreement, and does what a table does
//! that is a plain list.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use sluice::proxy::udp::flows::{FlowId, Flows, Key};

/// How long a flow lives unused.
const IDLE: Duration = Duration::from_millis(100);
/// How many there may be.
const MOST: usize = 24;

#[derive(Arbitrary, Debug)]
enum Step {
    /// A datagram of this client.
    Heard { client: u8 },
    /// An answer to one of the flows there ever were.
    Answered { flow: u8 },
    /// One of the flows there ever were is ended.
    Close { flow: u8 },
    /// Time passes.
    Pass { milliseconds: u8 },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Standing {
    Asked,
    Answered,
    Proven,
}

/// A flow as a plain list has it.
#[derive(Clone, Copy, Debug)]
struct Known {
    key: Key,
    id: FlowId,
    value: usize,
    used: Duration,
    standing: Standing,
}

/// Flows in the order of their last use.
#[derive(Default)]
struct List(Vec<Known>);

impl List {
    fn touch(&mut self, at: usize, now: Duration, standing: Standing) {
        let known = self.0.remove(at);
        self.0.push(Known { used: now, standing, ..known });
    }

    fn give_way(&mut self) -> Option<usize> {
        let young = self.0.iter().position(|known| known.standing != Standing::Proven);
        (!self.0.is_empty()).then(|| self.0.remove(young.unwrap_or(0)).value)
    }
}

fuzz_target!(|steps: Vec<Step>| {
    let mut flows = Flows::default();
    let mut list = List::default();
    let mut ids: Vec<FlowId> = Vec::new();
    let mut now = Duration::ZERO;
    for step in steps {
        match step {
            Step::Heard { client } => heard(&mut flows, &mut list, &mut ids, key(client), now),
            Step::Answered { flow } => {
                let Some(id) = ids.get(usize::from(flow)) else { continue };
                flows.answered(*id, now);
                if let Some(at) = list.0.iter().position(|known| known.id == *id) {
                    let standing = match list.0[at].standing {
                        Standing::Asked => Standing::Answered,
                        other => other,
                    };
                    list.touch(at, now, standing);
                }
            }
            Step::Close { flow } => {
                let Some(id) = ids.get(usize::from(flow)) else { continue };
                let at = list.0.iter().position(|known| known.id == *id);
                assert_eq!(flows.close(*id), at.map(|at| list.0.remove(at).value));
            }
            Step::Pass { milliseconds } => {
                now += Duration::from_millis(milliseconds.into());
                assert_eq!(flows.next_expiry(IDLE), list.0.first().map(|known| known.used + IDLE));
                let mut expired = Vec::new();
                while let Some(value) = flows.expire(now, IDLE) {
                    expired.push(value);
                }
                let gone = list.0.iter().take_while(|known| known.used + IDLE <= now).count();
                let mut expected: Vec<usize> = list.0.drain(..gone).map(|known| known.value).collect();
                // Those of one instant go in any order.
                expired.sort_unstable();
                expected.sort_unstable();
                assert_eq!(expired, expected);
            }
        }
        flows.check_invariants();
        assert_eq!(flows.len(), list.0.len());
        for known in &list.0 {
            assert_eq!(flows.get(known.id), Some((&known.key, &known.value)));
        }
    }
});

fn heard(flows: &mut Flows<usize>, list: &mut List, ids: &mut Vec<FlowId>, key: Key, now: Duration) {
    let found = flows.heard(&key, now);
    let at = list.0.iter().position(|known| known.key == key);
    assert_eq!(found, at.map(|at| list.0[at].id));
    if let Some(at) = at {
        let standing = match list.0[at].standing {
            Standing::Asked => Standing::Asked,
            _ => Standing::Proven,
        };
        return list.touch(at, now, standing);
    }
    if flows.len() == MOST {
        assert_eq!(flows.give_way(), list.give_way());
    }
    let value = ids.len();
    let id = flows.open(key, value, now).expect("it is new, and there is room");
    assert!(!ids.contains(&id), "an id that was given before");
    assert_eq!(flows.open(key, value, now), None, "it is there already");
    ids.push(id);
    list.0.push(Known { key, id, value, used: now, standing: Standing::Asked });
}

/// One of 256 keys, of few clients, ports and addresses of ours.
fn key(client: u8) -> Key {
    let host = Ipv4Addr::new(192, 0, 2, client >> 4);
    let port = u16::from(client >> 1 & 7);
    let local = IpAddr::from([198, 51, 100, client & 1]);
    Key { client: SocketAddr::from((host, port)), local }
}
