//! What is said once, what is said again, and how much at most.

use super::*;
use crate::control::kube::status::Target;

/// Something that happened to the object of this name; whether it stands is for each test to say.
fn notice(name: &str) -> Arc<Notice> {
    Arc::new(Notice::of_status(&Target::Service(ObjectName::new("a", name)), &"u".into(), &[]))
}

fn many(count: usize) -> Vec<Arc<Notice>> {
    (0..count).map(|n| notice(&n.to_string())).collect()
}

/// Writes all that is due until `end`, each with this fate; in order, with the time of each.
fn run(bulletin: &mut Bulletin, from: Instant, end: Instant, fate: Fate) -> Vec<(Write, Duration)> {
    let (mut written, mut now) = (Vec::new(), from);
    loop {
        match bulletin.next(now) {
            Some(write) => {
                bulletin.done(&write, fate, now);
                written.push((write, now - from));
            }
            None => match bulletin.due(now).filter(|due| *due <= end) {
                // A clock ticks; else a bucket that is full but for a rounding would hold us here.
                Some(due) => now = due.max(now + Duration::from_millis(1)),
                None => return written,
            },
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn what_stands_is_made_once_and_counted_on_each_half_hour() {
    let start = Instant::now();
    let mut bulletin = Bulletin::new(start);
    let web = [notice("web")];
    bulletin.stand(&web, start);
    bulletin.stand(&web, start);
    let written = run(&mut bulletin, start, start + 70 * MINUTE, Fate::Written);
    let again = |count| Write::Again { notice: web[0].clone(), count };
    let writes: Vec<_> = written.iter().map(|(write, _)| write.clone()).collect();
    assert_eq!(writes, [Write::Create(web[0].clone()), again(2), again(3)]);
    assert!(written[1].1.abs_diff(REMIND) < MINUTE && written[2].1.abs_diff(2 * REMIND) < MINUTE);
    // Gone: no word of it. Back again: counted on.
    bulletin.stand(&[], start + 70 * MINUTE);
    assert_eq!(run(&mut bulletin, start + 70 * MINUTE, start + 100 * MINUTE, Fate::Written), []);
    bulletin.stand(&web, start + 100 * MINUTE);
    assert_eq!(bulletin.next(start + 100 * MINUTE), Some(again(4)));
}

#[test]
fn what_was_said_before_a_restart_is_not_said_again_at_once() {
    let start = Instant::now();
    let mut bulletin = Bulletin::new(start);
    bulletin.stand(&[notice("web")], start);
    let create = bulletin.next(start).unwrap();
    bulletin.done(&create, Fate::Known(7), start);
    assert_eq!(bulletin.next(start), None);
    assert_eq!(bulletin.due(start), Some(start + REMIND));
    let Some(Write::Again { count: 8, .. }) = bulletin.next(start + REMIND) else { panic!("counted on") };
}

#[test]
fn what_happens_is_said_each_time_and_only_then() {
    let start = Instant::now();
    let mut bulletin = Bulletin::new(start);
    let web = notice("web");
    bulletin.happened((*web).clone(), start);
    let create = bulletin.next(start).unwrap();
    assert_eq!(create, Write::Create(web.clone()));
    // It happened in an earlier life as well: that is counted on.
    bulletin.done(&create, Fate::Known(1), start);
    let again = bulletin.next(start).unwrap();
    assert_eq!(again, Write::Again { notice: web.clone(), count: 2 });
    bulletin.done(&again, Fate::Written, start);
    assert_eq!(bulletin.due(start), None);
    bulletin.happened((*web).clone(), start);
    assert_eq!(bulletin.next(start), Some(Write::Again { notice: web.clone(), count: 3 }));
    // The API server forgot it meanwhile.
    bulletin.done(&Write::Again { notice: web.clone(), count: 3 }, Fate::Lost, start);
    assert_eq!(bulletin.next(start), Some(Write::Create(web)));
}

#[test]
fn a_flood_is_written_slowly_and_in_order() {
    let start = Instant::now();
    let mut bulletin = Bulletin::new(start);
    let all = many(200);
    bulletin.stand(&all, start);
    let written = run(&mut bulletin, start, start + MINUTE, Fate::Written);
    let order: Vec<_> = written.iter().map(|(write, _)| write.clone()).collect();
    assert_eq!(order, all.iter().cloned().map(Write::Create).collect::<Vec<_>>());
    let by = |time: Duration| written.iter().filter(|(_, at)| *at <= time).count();
    assert_eq!(by(Duration::ZERO), BURST as usize);
    assert!((95..=101).contains(&by(Duration::from_secs(10))), "{}", by(Duration::from_secs(10)));
}

#[test]
fn what_is_over_before_its_turn_is_never_said() {
    let start = Instant::now();
    let mut bulletin = Bulletin::new(start);
    bulletin.stand(&[notice("a"), notice("b")], start);
    bulletin.stand(&[notice("b")], start);
    let written = run(&mut bulletin, start, start + MINUTE, Fate::Written);
    assert_eq!(written, [(Write::Create(notice("b")), Duration::ZERO)]);
}

#[test]
fn one_that_is_refused_does_not_keep_others_from_theirs() {
    let start = Instant::now();
    let mut bulletin = Bulletin::new(start);
    bulletin.stand(&[notice("a"), notice("b")], start);
    let first = bulletin.next(start).unwrap();
    // No fate: it comes again. Refused: not before long.
    assert_eq!(bulletin.next(start).as_ref(), Some(&first));
    bulletin.done(&first, Fate::Refused, start);
    assert_eq!(bulletin.next(start), Some(Write::Create(notice("b"))));
    bulletin.done(&Write::Create(notice("b")), Fate::Written, start);
    assert_eq!(bulletin.next(start), None);
    assert_eq!(bulletin.next(start + REMIND), Some(first));
}

#[test]
fn what_is_remembered_is_bounded_and_forgotten_in_time() {
    let start = Instant::now();
    let mut bulletin = Bulletin::new(start);
    many(MOST + 10).into_iter().for_each(|one| bulletin.happened((*one).clone(), start));
    assert_eq!((bulletin.entries.len(), bulletin.line.len()), (MOST, MOST));
    let hour = start + GONE;
    assert_eq!(run(&mut bulletin, start, hour, Fate::Written).len(), MOST);
    bulletin.stand(&[], hour + GONE);
    assert!(bulletin.entries.is_empty() && bulletin.line.is_empty());
}
