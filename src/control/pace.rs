//! Pure. When to compute: at once after quiet, then at most every [`GAP`] while changes keep coming.

use std::time::Duration;

use tokio::time::Instant;

/// The least time between two computations.
pub(super) const GAP: Duration = Duration::from_millis(20);

/// Remembers what is waiting and when the last computation ended.
#[derive(Debug, Default)]
pub(super) struct Pace {
    waiting_since: Option<Instant>,
    last_end: Option<Instant>,
}

impl Pace {
    /// Something changed.
    pub(super) fn touch(&mut self, now: Instant) {
        self.waiting_since.get_or_insert(now);
    }

    /// When to compute; `None` while nothing waits. A time that has passed means now.
    pub(super) fn due(&self) -> Option<Instant> {
        let since = self.waiting_since?;
        Some(self.last_end.map_or(since, |end| since.max(end + GAP)))
    }

    /// A computation of all that waited ended now. Says when the first change of it came.
    pub(super) fn done(&mut self, now: Instant) -> Option<Instant> {
        self.last_end = Some(now);
        self.waiting_since.take()
    }
}

#[cfg(test)]
mod tests;
