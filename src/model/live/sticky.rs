//! Which backend each client of a sticky pool had last.
//!
//! Theory: the clients are spread over many small tables, each behind a lock of its own, so that threads seldom meet.
//! A table grows with its clients to a bound. What has expired is swept before it grows; at the bound the hand of a
//! clock goes round and takes out the first entry that was not used since it last came by (second chance), so a flood
//! of new clients costs those that are not there, and never memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Tables; a power of two.
const TABLES: usize = 64;
/// Clients a table remembers; all together they remember 65,536.
const MOST: usize = 1024;
/// The size at which expired entries are looked for the first time.
const SWEEP_FLOOR: usize = 16;

/// The clients of one pool.
#[derive(Debug)]
pub struct Remembered {
    tables: Box<[Mutex<Table>]>,
}

/// A backend as it is remembered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Kept {
    /// The digest of its address and instance.
    pub backend: u64,
    /// Where it stood among its pool's backends.
    pub index: u32,
}

#[derive(Debug)]
struct Table {
    /// Clients choose the keys, so the hasher is the one made against floods.
    places: HashMap<u64, u32>,
    entries: Vec<Entry>,
    hand: usize,
    sweep_at: usize,
}

#[derive(Debug)]
struct Entry {
    client: u64,
    kept: Kept,
    /// When its last connection began.
    since: Duration,
    /// Since the hand came by.
    was_used: bool,
}

impl Default for Remembered {
    fn default() -> Self {
        let table =
            || Mutex::new(Table { places: HashMap::new(), entries: Vec::new(), hand: 0, sweep_at: SWEEP_FLOOR });
        Self { tables: (0..TABLES).map(|_| table()).collect() }
    }
}

impl Remembered {
    /// The backend of a client, unless its last connection began longer than `timeout` before `now`.
    pub fn find(&self, client: u64, now: Duration, timeout: Duration) -> Option<Kept> {
        self.with(client, |table| {
            let entry = table.entries.get(*table.places.get(&client)? as usize)?;
            (!entry.has_expired(now, timeout)).then_some(entry.kept)
        })
    }

    /// A connection of the client to this backend begins now.
    pub fn keep(&self, client: u64, kept: Kept, now: Duration, timeout: Duration) {
        self.with(client, |table| table.keep(client, kept, now, timeout));
    }

    fn with<R>(&self, client: u64, f: impl FnOnce(&mut Table) -> R) -> R {
        let table = &self.tables[(client >> 32) as usize % TABLES];
        // A panic cannot leave a table half changed: nothing in it panics.
        f(&mut table.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.tables.iter().map(|t| t.lock().unwrap().entries.len()).sum()
    }
}

impl Table {
    fn keep(&mut self, client: u64, kept: Kept, now: Duration, timeout: Duration) {
        let known = self.places.get(&client).and_then(|place| self.entries.get_mut(*place as usize));
        if let Some(entry) = known {
            // Another thread's clock may have been read a moment later.
            *entry = Entry { client, kept, since: entry.since.max(now), was_used: true };
            return;
        }
        if self.entries.len() >= self.sweep_at {
            self.sweep(now, timeout);
        }
        let entry = Entry { client, kept, since: now, was_used: false };
        let place = if self.entries.len() < MOST {
            self.entries.push(entry);
            self.entries.len() - 1
        } else {
            let place = self.turn_hand(now, timeout);
            let old = std::mem::replace(&mut self.entries[place], entry);
            self.places.remove(&old.client);
            place
        };
        self.places.insert(client, place as u32);
    }

    /// Drops what has expired; the next sweep is due when twice as many are left, or never again at the bound, where
    /// the hand does the same.
    fn sweep(&mut self, now: Duration, timeout: Duration) {
        self.entries.retain(|entry| !entry.has_expired(now, timeout));
        self.places.clear();
        self.places.extend((0u32..).zip(&self.entries).map(|(place, entry)| (entry.client, place)));
        self.hand = 0;
        self.sweep_at = (self.entries.len() * 2).max(SWEEP_FLOOR);
    }

    /// The place of the entry that has to go.
    fn turn_hand(&mut self, now: Duration, timeout: Duration) -> usize {
        loop {
            let place = self.hand % self.entries.len().max(1);
            self.hand = place + 1;
            let entry = &mut self.entries[place];
            if !entry.was_used || entry.has_expired(now, timeout) {
                return place;
            }
            entry.was_used = false;
        }
    }
}

impl Entry {
    fn has_expired(&self, now: Duration, timeout: Duration) -> bool {
        now.saturating_sub(self.since) > timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn kept(backend: u64) -> Kept {
        Kept { backend, index: 0 }
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// A client of the first table.
    fn client(n: u64) -> u64 {
        n << 38 | n
    }

    #[test]
    fn is_remembered_from_its_last_connection_on() {
        let table = Remembered::default();
        assert_eq!(table.find(7, seconds(0), HOUR), None);
        table.keep(7, kept(1), seconds(0), HOUR);
        assert_eq!(table.find(7, seconds(3600), HOUR), Some(kept(1)), "to the second");
        assert_eq!(table.find(7, seconds(3601), HOUR), None);
        table.keep(7, kept(1), seconds(3000), HOUR);
        assert_eq!(table.find(7, seconds(6000), HOUR), Some(kept(1)));
        table.keep(7, kept(2), seconds(2999), HOUR);
        assert_eq!(table.find(7, seconds(6600), HOUR), Some(kept(2)), "a clock read before does not turn it back");
    }

    #[test]
    fn a_flood_of_clients_costs_no_more_than_the_bound() {
        let table = Remembered::default();
        for n in 0..200_000u64 {
            table.keep(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), kept(n), seconds(0), HOUR);
        }
        assert_eq!(table.len(), TABLES * MOST);
        for table in &table.tables {
            let table = table.lock().unwrap();
            assert_eq!(table.places.len(), table.entries.len());
            let is_at = |(client, place): (&u64, &u32)| table.entries[*place as usize].client == *client;
            assert!(table.places.iter().all(is_at));
        }
    }

    #[test]
    fn who_comes_again_outlives_who_came_once() {
        let table = Remembered::default();
        table.keep(client(0), kept(9), seconds(0), HOUR);
        for n in 1..10 * MOST as u64 {
            table.keep(client(n), kept(1), seconds(1), HOUR);
            table.keep(client(0), kept(9), seconds(1), HOUR);
        }
        assert_eq!(table.find(client(0), seconds(1), HOUR), Some(kept(9)));
        assert_eq!(table.len(), MOST);
    }

    #[test]
    fn what_expired_makes_room_before_the_table_grows() {
        let table = Remembered::default();
        for n in 0..100_000u64 {
            // Each stays for ten seconds, and ten come a second: a hundred at a time.
            table.keep(client(n), kept(1), Duration::from_millis(n * 100), seconds(10));
        }
        assert!(table.len() <= 2 * 101, "{}", table.len());
    }
}
