//! Pure. Entries in buckets by their coarse time: put in, taken out and moved in constant time but for the search among
//! the few buckets that are there.
//!
//! Entries lie in one vector and are chained by index. A bucket's width is a power of two of milliseconds, at most an
//! eighth of the wait, as in Linux' own timer wheel: far entries crowd in few buckets, and none is ever moved from one
//! level to the next. Unlike there the buckets are in an ordered map, not a ring, so nothing bounds the future and no
//! empty bucket is walked over. A bucket that was emptied early stays until its time, so that connections that come
//! and go at once do not build it again and again.

use std::collections::BTreeMap;

/// A wait is rounded up by less than this part of it.
const COARSE: u64 = 8;

/// No entry.
const NONE: u32 = u32::MAX;

/// Names an entry until it is removed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key(u32);

#[derive(Debug)]
pub(super) struct Wheel<T> {
    entries: Vec<Entry<T>>,
    // The first of the chain of free ones, linked by `after`.
    free: u32,
    live: u32,
    buckets: BTreeMap<u64, u32>,
}

#[derive(Debug)]
struct Entry<T> {
    value: Option<T>,
    // The bucket it lies in; none between a look and the next.
    bucket: Option<u64>,
    before: u32,
    after: u32,
}

impl<T> Default for Wheel<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: NONE, live: 0, buckets: BTreeMap::new() }
    }
}

/// When a bucket that is asked for at `at` comes, seen from `now`; in milliseconds. Never before `at`, nor at `now`.
fn bucket(now: u64, at: u64) -> u64 {
    let wait = at.saturating_sub(now).max(1);
    // The largest power of two that is not above an eighth.
    let width = 1 << (wait / COARSE).max(1).ilog2();
    (now + wait).next_multiple_of(width)
}

impl<T: Clone> Wheel<T> {
    /// Puts an entry in, to come up at `at` or a little later.
    pub(super) fn insert(&mut self, value: T, now: u64, at: u64) -> Key {
        let entry = Entry { value: Some(value), bucket: None, before: NONE, after: NONE };
        let index = if self.free == NONE {
            self.entries.push(entry);
            self.entries.len() as u32 - 1
        } else {
            let index = self.free;
            self.free = self.entries[index as usize].after;
            self.entries[index as usize] = entry;
            index
        };
        self.live += 1;
        self.link(index, bucket(now, at));
        Key(index)
    }

    /// Takes an entry out, whether or not it came up, and gives it back, to be dropped where that may do what it likes.
    pub(super) fn remove(&mut self, Key(index): Key) -> Option<T> {
        self.unlink(index);
        let free = Entry { value: None, bucket: None, before: NONE, after: self.free };
        let removed = std::mem::replace(&mut self.entries[index as usize], free).value;
        self.free = index;
        self.live -= 1;
        if self.live == 0 {
            // What a crowd needed is given back.
            *self = Self { buckets: std::mem::take(&mut self.buckets), ..Self::default() };
        }
        removed
    }

    /// Lets an entry that came up come up again at `at` or a little later.
    pub(super) fn again(&mut self, Key(index): Key, now: u64, at: u64) {
        if self.entries.get(index as usize).is_some_and(|entry| entry.value.is_some()) {
            self.unlink(index);
            self.link(index, bucket(now, at));
        }
    }

    /// The next entry whose time has come. It stays, but comes up no more, until it is told to come [`Self::again`].
    pub(super) fn pop(&mut self, now: u64) -> Option<(Key, T)> {
        loop {
            let bucket = self.buckets.first_entry().filter(|first| *first.key() <= now)?;
            match *bucket.get() {
                NONE => drop(bucket.remove()),
                index => {
                    self.unlink(index);
                    let value = self.entries[index as usize].value.clone()?;
                    return Some((Key(index), value));
                }
            }
        }
    }

    /// When the next bucket comes; none when nothing is in the wheel.
    pub(super) fn first(&self) -> Option<u64> {
        let first = self.buckets.first_key_value().map(|(at, _)| *at);
        first.filter(|_| self.live > 0)
    }

    fn link(&mut self, index: u32, bucket: u64) {
        let head = self.buckets.entry(bucket).or_insert(NONE);
        let after = std::mem::replace(head, index);
        if let Some(next) = self.entries.get_mut(after as usize) {
            next.before = index;
        }
        let entry = &mut self.entries[index as usize];
        (entry.bucket, entry.before, entry.after) = (Some(bucket), NONE, after);
    }

    fn unlink(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        let (before, after) = (entry.before, entry.after);
        let Some(bucket) = entry.bucket.take() else { return };
        (entry.before, entry.after) = (NONE, NONE);
        if let Some(next) = self.entries.get_mut(after as usize) {
            next.before = before;
        }
        match self.entries.get_mut(before as usize) {
            Some(previous) => previous.after = after,
            None => drop(self.buckets.insert(bucket, after)),
        }
    }
}

#[cfg(test)]
mod tests;
