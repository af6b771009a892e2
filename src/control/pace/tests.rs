//! When to compute, with `now` moved by hand.

use proptest::prelude::*;

use super::*;

#[tokio::test]
async fn at_once_after_quiet_then_at_most_every_gap() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut pace = Pace::default();
    assert_eq!(pace.due(), None);
    pace.touch(at(0));
    assert_eq!(pace.due(), Some(at(0)), "at once");
    assert_eq!(pace.done(at(3)), Some(at(0)));
    assert_eq!(pace.due(), None);
    pace.touch(at(5));
    pace.touch(at(9));
    assert_eq!(pace.due(), Some(at(23)), "a gap after the last end");
    assert_eq!(pace.done(at(24)), Some(at(5)), "the first of those that waited");
    pace.touch(at(500));
    assert_eq!(pace.due(), Some(at(500)), "quiet again");
    assert_eq!(Pace::default().done(at(0)), None);
}

proptest! {
    #[test]
    fn no_change_waits_longer_than_a_gap_and_no_two_ends_are_nearer(gaps in prop::collection::vec(0u64..60, 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _inside = runtime.enter();
        let mut now = Instant::now();
        let mut pace = Pace::default();
        let mut last: Option<Instant> = None;
        for gap in gaps {
            let next = now + Duration::from_millis(gap);
            while let Some(due) = pace.due().filter(|due| *due <= next) {
                let since = pace.done(due).unwrap();
                prop_assert!(due - since <= GAP);
                prop_assert!(last.is_none_or(|last| due - last >= GAP));
                last = Some(due);
            }
            now = next;
            pace.touch(now);
        }
    }
}
