//! Pure. Which of several sluices on one cluster writes: the holder of a Lease (coordination.k8s.io/v1).
//!
//! Theory, as client-go has it: the holder renews the record well within its duration. The others look at it now and
//! then, and when they saw the very same record for a whole duration by their own clocks, its holder is gone and one of
//! them takes it; the version of what was read goes along with each write, so that of two who take it one is refused.
//! Times that others wrote are never compared with ours: clocks may be apart by any amount. A holder that could not
//! renew stops writing before anyone else can begin.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// How long a record must stay the same until its holder counts as gone.
pub const DURATION: Duration = Duration::from_secs(15);

/// How long a holder goes on writing after its last renewal was sent. Less than [`DURATION`], which others begin to
/// count no sooner than that.
const HOLD: Duration = Duration::from_secs(10);

/// Between two renewals.
const RENEW: Duration = Duration::from_secs(5);

/// Between two looks of those who wait, and of a holder whose renewal failed.
const LOOK: Duration = Duration::from_secs(2);

/// Durations that another's record may ask to be honoured: a record of a year would keep all from writing.
const LONGEST: Duration = Duration::from_secs(60);

/// The record as read from the API server.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Record {
    /// Who has it; empty: nobody.
    pub holder: String,
    /// How long it is good for without a renewal.
    pub duration: Duration,
    /// What makes two states of it different. Sent along with what replaces it.
    pub version: String,
}

/// What to do with the record now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// There is none: make it, in our name.
    Create,
    /// Write our name into what was read: nobody has it any more.
    Take,
    /// It is ours: say that we are there.
    Renew,
    /// Another has it.
    Wait,
}

/// One who would like to write.
#[derive(Debug)]
pub struct Candidate {
    me: Arc<str>,
    // The record as last seen to change, and when that was seen.
    seen: Option<(Record, Instant)>,
    // Until when we may write.
    until: Option<Instant>,
}

impl Candidate {
    /// One who knows nothing of the record yet. `me` tells it from all others, of this host as well.
    pub fn new(me: Arc<str>) -> Self {
        Self { me, seen: None, until: None }
    }

    /// The record was read: `None` if there is none.
    pub fn look(&mut self, read: Option<Record>, now: Instant) -> Step {
        let Some(read) = read else {
            self.seen = None;
            return Step::Create;
        };
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != read) {
            self.seen = Some((read.clone(), now));
        }
        let since = self.seen.as_ref().map_or(now, |(_, since)| *since);
        if *read.holder == *self.me {
            return Step::Renew;
        }
        // Another wrote itself in while we could not renew.
        self.until = None;
        let is_free = read.holder.is_empty() || now >= since + read.duration.min(LONGEST);
        if is_free { Step::Take } else { Step::Wait }
    }

    /// A record in our name, sent at `sent`, was taken.
    pub fn is_ours(&mut self, sent: Instant) {
        self.until = Some(sent + HOLD);
    }

    /// Whether we may write now.
    pub fn may_write(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// When we may write no longer unless the record is renewed.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// How long to wait until the next look. `went_well`: the last look, and what was to be written after it, did.
    pub fn pause(&self, went_well: bool, now: Instant) -> Duration {
        if went_well && self.may_write(now) { RENEW } else { LOOK }
    }

    /// We stop: true if the record is to be given up.
    pub fn resign(&mut self, now: Instant) -> bool {
        let held = self.may_write(now);
        self.until = None;
        held
    }
}

#[cfg(test)]
mod tests;
