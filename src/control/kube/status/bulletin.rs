//! Pure. Which Event is written next: each thing once, what stands is said again now and then, never too many.
//!
//! Theory: problems *stand* until they are gone; what became of an address *happens*. Either waits in line for its
//! Event to be made. An Event that is there already is not made again but counted on, as a series. The API server
//! forgets Events after an hour unless they are touched, so what stands is counted on every half hour: whoever looks
//! at the object a day later still finds why it is not served. A bucket of tokens bounds what is written, the table
//! what is remembered.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::control::kube::objects::ObjectName;

use super::notice::Notice;

/// Events that may be written in a row.
const BURST: f64 = 50.0;

/// Events a second in the long run.
const RATE: f64 = 5.0;

/// How often what stands is said again: half the hour for which API servers keep Events.
pub const REMIND: Duration = Duration::from_secs(30 * 60);

/// After so long an Event that was not touched is gone.
const GONE: Duration = Duration::from_secs(3600);

/// Events that are remembered; beyond that new ones wait until others are forgotten.
const MOST: usize = 4096;

/// What is to be written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Write {
    /// A new Event.
    Create(Arc<Notice>),
    /// One that is there: said for the `count`th time.
    Again {
        /// What it says.
        notice: Arc<Notice>,
        /// How often it was said, this time included; 2 or more.
        count: i32,
    },
}

/// What became of a write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It was written.
    Written,
    /// There is such an Event already, which was said so often.
    Known(i32),
    /// There is no such Event any more.
    Lost,
    /// It was refused, and would be again.
    Refused,
}

#[derive(Debug)]
struct Entry {
    notice: Arc<Notice>,
    // How often the Event that is there was said; 0: there is none that we know of.
    count: i32,
    stands: bool,
    is_waiting: bool,
    // When it was written, or seen to be there.
    since: Option<Instant>,
}

/// The Events of one cluster.
#[derive(Debug)]
pub struct Bulletin {
    entries: HashMap<ObjectName, Entry>,
    line: VecDeque<ObjectName>,
    tokens: f64,
    filled: Instant,
}

impl Bulletin {
    /// Nothing was said yet.
    pub fn new(now: Instant) -> Self {
        Self { entries: HashMap::new(), line: VecDeque::new(), tokens: BURST, filled: now }
    }

    /// These problems stand now, and no others.
    pub fn stand(&mut self, notices: &[Arc<Notice>], now: Instant) {
        self.forget(now);
        let mut standing: HashMap<ObjectName, &Arc<Notice>> = notices.iter().map(|n| (n.event(), n)).collect();
        for (name, entry) in &mut self.entries {
            let stands = standing.remove(name).is_some();
            if stands && !entry.stands {
                entry.is_waiting = true;
                self.line.push_back(name.clone());
            } else if !stands && entry.stands {
                // Gone before its Event was made.
                entry.is_waiting = false;
            }
            entry.stands = stands;
        }
        self.line.retain(|name| self.entries.get(name).is_some_and(|entry| entry.is_waiting));
        // In their order, so that what is told first is written first.
        for notice in notices {
            let name = notice.event();
            if standing.remove(&name).is_some() {
                self.enter(name, notice.clone(), true);
            }
        }
    }

    /// This happened.
    pub fn happened(&mut self, notice: Notice, now: Instant) {
        self.forget(now);
        let name = notice.event();
        match self.entries.get_mut(&name) {
            Some(entry) if entry.is_waiting => {}
            Some(entry) => {
                entry.is_waiting = true;
                self.line.push_back(name);
            }
            None => self.enter(name, Arc::new(notice), false),
        }
    }

    fn enter(&mut self, name: ObjectName, notice: Arc<Notice>, stands: bool) {
        if self.entries.len() < MOST {
            self.line.push_back(name.clone());
            self.entries.insert(name, Entry { notice, count: 0, stands, is_waiting: true, since: None });
        }
    }

    fn forget(&mut self, now: Instant) {
        let is_young = |since: &Option<Instant>| since.is_none_or(|since| now < since + GONE);
        self.entries.retain(|_, entry| entry.stands || entry.is_waiting || is_young(&entry.since));
    }

    /// What to write now; tell its fate by [`Bulletin::done`]. `None`: see [`Bulletin::due`].
    pub fn next(&mut self, now: Instant) -> Option<Write> {
        self.fill(now);
        if self.tokens < 1.0 {
            return None;
        }
        let name =
            self.line.front().cloned().or_else(|| self.oldest().filter(|(_, due)| *due <= now).map(|(n, _)| n))?;
        let entry = self.entries.get(&name)?;
        self.tokens -= 1.0;
        Some(match entry.count {
            0 => Write::Create(entry.notice.clone()),
            count => Write::Again { notice: entry.notice.clone(), count: count.saturating_add(1) },
        })
    }

    /// What became of the last write. One that failed and may go well later has no fate: it is simply next again.
    pub fn done(&mut self, write: &Write, fate: Fate, now: Instant) {
        let (Write::Create(notice) | Write::Again { notice, .. }) = write;
        let name = notice.event();
        let Some(entry) = self.entries.get_mut(&name) else { return };
        (entry.count, entry.is_waiting) = match (fate, write) {
            (Fate::Written, Write::Create(_)) => (1, false),
            (Fate::Written, Write::Again { count, .. }) => (*count, false),
            // Said before this process began: a problem stands as it did, what happens did so once more.
            (Fate::Known(count), _) => (count.max(1), !entry.stands),
            (Fate::Lost, _) => (0, true),
            (Fate::Refused, _) => (entry.count, false),
        };
        entry.since = Some(now);
        let is_waiting = entry.is_waiting;
        self.line.retain(|waiting| *waiting != name);
        if is_waiting {
            self.line.push_back(name);
        }
    }

    /// When there may be something to write, unless something happens before; `None`: not before that.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let due = if self.line.is_empty() { self.oldest()?.1 } else { now };
        let until_token = Duration::from_secs_f64(((1.0 - self.tokens) / RATE).max(0.0));
        Some(due.max(self.filled + until_token))
    }

    /// What stands and was not said for the longest time, and when it is to be said again.
    fn oldest(&self) -> Option<(ObjectName, Instant)> {
        let stands = self.entries.iter().filter(|(_, entry)| entry.stands);
        let said = stands.filter_map(|(name, entry)| Some((name, entry.since? + REMIND)));
        let oldest = said.min_by(|(a, a_due), (b, b_due)| a_due.cmp(b_due).then_with(|| a.cmp(b)));
        oldest.map(|(name, due)| (name.clone(), due))
    }

    fn fill(&mut self, now: Instant) {
        self.tokens = (self.tokens + now.duration_since(self.filled).as_secs_f64() * RATE).min(BURST);
        self.filled = now;
    }
}

#[cfg(test)]
mod tests;
