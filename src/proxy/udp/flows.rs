//! Pure. The flow table: which datagrams belong together, and who must give way.
//!
//! A *flow* is what one client, by address and port, sends to one of our addresses, and what comes back. It is found by
//! both in one look-up. It ends when nothing was heard of it for a while, or when the table is full and a newer one
//! needs its place.
//!
//! Sources of datagrams can be invented, so who gives way matters. A flow is *young* until its client spoke again after
//! it was answered, which who invents addresses does not hear of and which makes the flow *proven*. Young ones give way
//! first, the longest unused before others; proven ones only when no young one is left. A flood thus turns over the
//! young ones among themselves. In each of the two lists flows stand in the order of their last use, so that the next to
//! give way and the next to expire are at its head, and every step costs the same however many there are.
//!
//! A flow costs some 200 bytes here, its place in the index included, beside the value its keeper stores with it. Places
//! are used again, and never given back: the memory is that of the most flows there ever were at once.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What makes datagrams belong together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Key {
    /// The client.
    pub client: SocketAddr,
    /// Our address that the client uses.
    pub local: IpAddr,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Fewer and larger pieces than the derived one gives to the hasher.
        match (self.client.ip(), self.local) {
            (IpAddr::V4(client), IpAddr::V4(local)) => {
                state.write_u64(u64::from(u32::from(client)) << 32 | u64::from(u32::from(local)));
            }
            (client, local) => {
                client.hash(state);
                local.hash(state);
            }
        }
        state.write_u16(self.client.port());
    }
}

/// Which flow. It names no other one later, even when the place is used again.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FlowId {
    place: u32,
    round: u32,
}

impl FlowId {
    /// The flow as a number.
    pub fn number(self) -> u64 {
        u64::from(self.round) << 32 | u64::from(self.place)
    }

    /// The flow of a number.
    pub fn of(number: u64) -> Self {
        Self { place: number as u32, round: (number >> 32) as u32 }
    }
}

/// No place.
const NONE: u32 = u32::MAX;

/// How far a flow has shown that its client is where it says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Standing {
    /// Nothing came back yet.
    Asked,
    /// Something went back, and the client was not heard since.
    Answered,
    /// The client spoke after it was answered.
    Proven,
}

#[derive(Debug)]
struct Place<T> {
    /// Counts the flows that had this place, so that old ids find nothing.
    round: u32,
    older: u32,
    newer: u32,
    standing: Standing,
    used: Duration,
    key: Key,
    value: Option<T>,
}

/// Places in the order of their last use.
#[derive(Clone, Copy, Debug)]
struct Row {
    oldest: u32,
    newest: u32,
}

impl Row {
    const EMPTY: Self = Self { oldest: NONE, newest: NONE };
}

/// All flows of one listening socket. `now` is the time since a moment that stays the same, and never goes back.
#[derive(Debug)]
pub struct Flows<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    index: HashMap<Key, u32>,
    young: Row,
    proven: Row,
}

impl<T> Default for Flows<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new(), index: HashMap::new(), young: Row::EMPTY, proven: Row::EMPTY }
    }
}

impl<T> Flows<T> {
    /// How many flows there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// A datagram came from a client: its flow, which is in use and one step nearer to being proven.
    pub fn heard(&mut self, key: &Key, now: Duration) -> Option<FlowId> {
        let place = *self.index.get(key)?;
        self.unlink(place);
        let flow = self.places.get_mut(place as usize)?;
        if flow.standing == Standing::Answered {
            flow.standing = Standing::Proven;
        }
        let id = FlowId { place, round: flow.round };
        self.link(place, now);
        Some(id)
    }

    /// A datagram came for the client: the flow is in use and answered.
    pub fn answered(&mut self, id: FlowId, now: Duration) {
        if self.get(id).is_none() {
            return;
        }
        self.unlink(id.place);
        if let Some(flow) = self.places.get_mut(id.place as usize)
            && flow.standing == Standing::Asked
        {
            flow.standing = Standing::Answered;
        }
        self.link(id.place, now);
    }

    /// Begins a flow. `None`, and nothing changes, when the key has one already or 2^32 - 1 places are taken.
    pub fn open(&mut self, key: Key, value: T, now: Duration) -> Option<FlowId> {
        if self.index.contains_key(&key) {
            return None;
        }
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                let place = u32::try_from(self.places.len()).ok().filter(|place| *place != NONE)?;
                let (older, newer, standing) = (NONE, NONE, Standing::Asked);
                self.places.push(Place { round: 0, older, newer, standing, used: now, key, value: None });
                place
            }
        };
        let flow = self.places.get_mut(place as usize)?;
        (flow.key, flow.value, flow.standing) = (key, Some(value), Standing::Asked);
        let id = FlowId { place, round: flow.round };
        self.index.insert(key, place);
        self.link(place, now);
        Some(id)
    }

    /// Ends a flow and gives back what was stored with it.
    pub fn close(&mut self, id: FlowId) -> Option<T> {
        self.get(id)?;
        self.take(id.place)
    }

    /// Ends the flow that can be spared most, if there is any.
    pub fn give_way(&mut self) -> Option<T> {
        let place = if self.young.oldest == NONE { self.proven.oldest } else { self.young.oldest };
        self.take(place)
    }

    /// Ends one flow of which nothing was heard for `idle`, if there is any.
    pub fn expire(&mut self, now: Duration, idle: Duration) -> Option<T> {
        let place = self.oldest().filter(|place| self.used(*place).is_some_and(|used| used + idle <= now))?;
        self.take(place)
    }

    /// When the next flow expires if nothing more is heard of it.
    pub fn next_expiry(&self, idle: Duration) -> Option<Duration> {
        self.oldest().and_then(|place| self.used(place)).map(|used| used + idle)
    }

    /// What belongs to a flow.
    pub fn get(&self, id: FlowId) -> Option<(&Key, &T)> {
        let flow = self.places.get(id.place as usize).filter(|flow| flow.round == id.round)?;
        Some((&flow.key, flow.value.as_ref()?))
    }

    /// What belongs to a flow, to change it.
    pub fn get_mut(&mut self, id: FlowId) -> Option<(&Key, &mut T)> {
        let flow = self.places.get_mut(id.place as usize).filter(|flow| flow.round == id.round)?;
        Some((&flow.key, flow.value.as_mut()?))
    }

    /// What is stored with every flow, in no order.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().filter_map(|flow| flow.value.as_mut())
    }

    fn used(&self, place: u32) -> Option<Duration> {
        self.places.get(place as usize).map(|flow| flow.used)
    }

    /// The longest unused of all.
    fn oldest(&self) -> Option<u32> {
        let heads = [self.young.oldest, self.proven.oldest];
        heads.into_iter().filter(|place| *place != NONE).min_by_key(|place| self.used(*place))
    }

    fn take(&mut self, place: u32) -> Option<T> {
        let value = self.places.get_mut(place as usize)?.value.take()?;
        self.unlink(place);
        let flow = self.places.get_mut(place as usize)?;
        flow.round = flow.round.wrapping_add(1);
        let key = flow.key;
        self.index.remove(&key);
        self.free.push(place);
        Some(value)
    }

    fn row(&mut self, standing: Standing) -> &mut Row {
        if standing == Standing::Proven { &mut self.proven } else { &mut self.young }
    }

    /// Puts a place at the new end of the row of its standing.
    fn link(&mut self, place: u32, now: Duration) {
        let Some(standing) = self.places.get(place as usize).map(|flow| flow.standing) else { return };
        let row = self.row(standing);
        let before = row.newest;
        row.newest = place;
        if before == NONE {
            row.oldest = place;
        }
        if let Some(before) = self.places.get_mut(before as usize) {
            before.newer = place;
        }
        if let Some(flow) = self.places.get_mut(place as usize) {
            (flow.older, flow.newer, flow.used) = (before, NONE, now);
        }
    }

    /// Takes a place out of the row of its standing.
    fn unlink(&mut self, place: u32) {
        let Some(flow) = self.places.get(place as usize) else { return };
        let (older, newer, standing) = (flow.older, flow.newer, flow.standing);
        if let Some(older) = self.places.get_mut(older as usize) {
            older.newer = newer;
        }
        if let Some(newer) = self.places.get_mut(newer as usize) {
            newer.older = older;
        }
        let row = self.row(standing);
        if row.oldest == place {
            row.oldest = newer;
        }
        if row.newest == place {
            row.newest = older;
        }
    }

    /// Panics when the parts of the table contradict each other. Walks all of it: for tests and fuzzing.
    pub fn check_invariants(&self) {
        let mut seen = 0;
        for (row, is_proven) in [(self.young, false), (self.proven, true)] {
            let (mut place, mut before, mut used) = (row.oldest, NONE, Duration::ZERO);
            while place != NONE {
                let flow = &self.places[place as usize];
                assert!(flow.value.is_some(), "a free place in a row");
                assert_eq!(flow.standing == Standing::Proven, is_proven, "in the wrong row");
                assert_eq!(flow.older, before, "a broken chain");
                assert!(flow.used >= used, "out of order");
                assert_eq!(self.index.get(&flow.key), Some(&place), "not to be found");
                (before, used, place) = (place, flow.used, flow.newer);
                seen += 1;
            }
            assert_eq!(row.newest, before, "the row ends elsewhere");
        }
        assert_eq!(seen, self.index.len(), "flows outside the rows");
        assert_eq!(self.free.len() + seen, self.places.len(), "places lost");
        assert!(self.free.iter().all(|place| self.places[*place as usize].value.is_none()), "a free place in use");
    }
}

#[cfg(test)]
mod tests;
