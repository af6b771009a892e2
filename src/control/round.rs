//! What a round of the loop does beside computing: takes out what time has taken away, and tells what is wrong.
//!
//! When there is a round, and what is served, is for the loop to say.

use std::time::Duration;

use tokio::time::Instant;

use super::member::Member;
use super::{Control, clock, problems, validity};
use crate::model::intent::Intent;
use crate::model::problem::Problem;

/// The longest until it is looked again whether a certificate has ended: the clock may have been set meanwhile.
const LOOK_AT_THE_CLOCK: Duration = Duration::from_secs(3600);

impl Control {
    /// Takes out of the intent what time has taken away, and notes when to look again.
    pub(super) fn age(&mut self, intent: &mut Intent) -> Vec<Problem> {
        let now = i64::try_from(clock::now_ms() / 1000).unwrap_or(i64::MAX);
        let found = validity::look(intent, now);
        let wait = |next: i64| Duration::from_secs(u64::try_from(next.saturating_sub(now)).unwrap_or(0));
        self.ages = found.next.map(|next| Instant::now() + wait(next).min(LOOK_AT_THE_CLOCK));
        found.problems
    }

    /// Tells all that is wrong: the pages, the writers of Events and, of what is new or gone, the log. `told` is what
    /// this round found.
    pub(super) fn report(&self, told: Vec<Problem>) {
        let of_members = self.members.iter().flat_map(|member| &member.problems);
        let outages = self.members.iter().filter_map(Member::outage);
        let keeping = self.members.iter().filter_map(Member::keeping_problem);
        let all = self
            .file_problems
            .iter()
            .chain(of_members)
            .chain(&self.compile_problems)
            .chain(self.unopened.problems())
            .cloned()
            .chain(told)
            .chain(outages)
            .chain(keeping);
        let now = problems::in_order(all.collect());
        let before = self.live.control.problems().borrow().clone();
        if self.live.control.set_problems(now.clone()) {
            let (new, gone) = problems::difference(&before, &now);
            for problem in new {
                tracing::warn!("{problem}");
            }
            for problem in gone {
                tracing::info!("no longer a problem: {problem}");
            }
        }
    }
}
