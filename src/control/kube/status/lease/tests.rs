//! Who writes, when the record changes hands, and that two never do.

use proptest::prelude::*;

use super::*;

fn record(holder: &str, version: u32) -> Option<Record> {
    Some(Record { holder: holder.to_owned(), duration: DURATION, version: version.to_string() })
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn who_comes_first_makes_the_record_and_renews_it() {
    let start = Instant::now();
    let mut me = Candidate::new("me".into());
    assert_eq!(me.look(None, start), Step::Create);
    assert!(!me.may_write(start));
    me.is_ours(start);
    assert!(me.may_write(start) && me.pause(true, start) == RENEW);
    assert_eq!(me.look(record("me", 1), start + RENEW), Step::Renew);
    // It could not be renewed: soon again, and no word after 10 s.
    assert_eq!(me.pause(false, start + RENEW), LOOK);
    assert!(me.may_write(start + seconds(9)) && !me.may_write(start + HOLD));
    assert!(HOLD < DURATION);
}

#[test]
fn a_record_that_changes_is_anothers_and_one_that_does_not_becomes_ours() {
    let start = Instant::now();
    let mut me = Candidate::new("me".into());
    for version in 0..10 {
        assert_eq!(me.look(record("other", version), start + RENEW * version), Step::Wait);
    }
    let last = start + RENEW * 9;
    assert_eq!(me.look(record("other", 9), last + seconds(14)), Step::Wait);
    assert_eq!(me.look(record("other", 9), last + seconds(15)), Step::Take);
}

#[test]
fn a_record_given_up_is_taken_at_once_and_a_long_one_not_honoured_for_ever() {
    let start = Instant::now();
    assert_eq!(Candidate::new("me".into()).look(record("", 1), start), Step::Take);
    let mut me = Candidate::new("me".into());
    let year = record("other", 1).map(|record| Record { duration: seconds(31_536_000), ..record });
    assert_eq!(me.look(year.clone(), start), Step::Wait);
    assert_eq!(me.look(year, start + LONGEST), Step::Take);
}

#[test]
fn who_sees_anothers_name_writes_no_more_and_who_stops_gives_up_what_it_has() {
    let start = Instant::now();
    let mut me = Candidate::new("me".into());
    me.is_ours(start);
    assert_eq!(me.look(record("other", 2), start + seconds(1)), Step::Wait);
    assert!(!me.may_write(start + seconds(1)) && !me.resign(start + seconds(1)));
    me.is_ours(start);
    assert!(me.resign(start + seconds(1)));
    assert!(!me.may_write(start + seconds(1)) && !me.resign(start + seconds(1)));
}

/// What an API server does with the one record: a write goes through if it names the version it replaces.
#[derive(Default)]
struct Server {
    record: Option<Record>,
    version: u32,
}

impl Server {
    fn write(&mut self, holder: &str, read: Option<Record>) -> bool {
        let is_current = self.record == read;
        if is_current {
            self.version += 1;
            self.record = record(holder, self.version);
        }
        is_current
    }
}

proptest! {
    /// Any order of looks, lost answers and pauses: never two who may write, and in the end somebody.
    #[test]
    fn never_do_two_write(acts in proptest::collection::vec((0usize..3, 0u64..9_000, 0u8..4), 1..200)) {
        let start = Instant::now();
        let mut now = start;
        let mut server = Server::default();
        let names = ["a", "b", "c"];
        let mut all: Vec<_> = names.iter().map(|name| Candidate::new((*name).into())).collect();
        let mut turn = |who: usize, now: Instant, fate: u8, all: &mut Vec<Candidate>| {
            // 0: the read fails; 1: the write does; 2: its answer is lost.
            if fate == 0 {
                return;
            }
            let read = server.record.clone();
            if all[who].look(read.clone(), now) == Step::Wait {
                return;
            }
            if fate != 1 && server.write(names[who], read) && fate != 2 {
                all[who].is_ours(now);
            }
        };
        for (who, pause, fate) in acts {
            now += Duration::from_millis(pause);
            turn(who, now, fate, &mut all);
            prop_assert!(all.iter().filter(|one| one.may_write(now)).count() <= 1);
        }
        for _ in 0..20 {
            now += LOOK;
            turn(0, now, 3, &mut all);
        }
        prop_assert!(all[0].may_write(now));
    }
}
