//! The judgement alone, with time as an argument.

use super::*;

const TIMES: Times =
    Times { idle: Duration::from_secs(60), half_closed: Duration::from_secs(12), stall: Duration::from_secs(24) };

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Looks as often as it is told, `mark`ing what happened before each look, until the end or an hour: when, and why.
fn lives(marks: &Marks, mut mark: impl FnMut(&Marks, Duration)) -> (u64, Option<Over>) {
    let mut now = marks.pause();
    while now < at(3_600) {
        mark(marks, now);
        match marks.judge(now) {
            Ok(next) => {
                assert!(next > now && next <= now + marks.pause());
                now = next;
            }
            Err(over) => return (now.as_secs(), Some(over)),
        }
    }
    (now.as_secs(), None)
}

#[test]
fn each_time_rules_its_own_silence() {
    let silent = Marks::new(TIMES, at(0));
    assert_eq!(lives(&silent, |_, _| {}), (60, Some(Over::Idle)));
    let ended = Marks::new(TIMES, at(0));
    let story = |marks: &Marks, now: Duration| {
        if now == at(30) {
            marks.ended.set(true);
            marks.moved[Side::Client as usize].set(true);
        }
    };
    assert_eq!(lives(&ended, story), (42, Some(Over::HalfClosed)), "counted from the end");
    let lively = Marks::new(TIMES, at(0));
    lively.ended.set(true);
    assert_eq!(lives(&lively, |m, _| m.moved[Side::Backend as usize].set(true)).1, None);
}

#[test]
fn bytes_that_wait_end_it_only_when_none_of_them_is_taken() {
    for (from, other) in [(Side::Client, Side::Backend), (Side::Backend, Side::Client)] {
        let stuck = Marks::new(TIMES, at(0));
        let story = |marks: &Marks, now: Duration| {
            marks.wait[from as usize].set(now >= at(10));
            // The other direction goes on.
            marks.moved[other as usize].set(true);
        };
        assert_eq!(lives(&stuck, story), (34, Some(Over::Stalled(from))));
        let slow = Marks::new(TIMES, at(0));
        let story = |marks: &Marks, now: Duration| {
            marks.wait[from as usize].set(true);
            marks.moved[from as usize].set(now.as_secs().is_multiple_of(20));
        };
        assert_eq!(lives(&slow, story).1, None, "slow, not stuck");
        let relieved = Marks::new(TIMES, at(0));
        let story = |marks: &Marks, now: Duration| marks.wait[from as usize].set(!now.as_secs().is_multiple_of(20));
        assert_eq!(lives(&relieved, story), (60, Some(Over::Idle)), "nothing waits all the time");
    }
}

#[test]
fn a_long_time_does_not_overflow() {
    let times = Times { idle: Duration::MAX, half_closed: Duration::MAX, stall: at(6) };
    assert_eq!(Marks::new(times, at(1)).judge(at(2)), Ok(at(3)));
}
