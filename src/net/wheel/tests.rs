//! The task and the clock: virtual time.

use tokio::task::LocalSet;
use tokio::time::sleep;

use super::*;

#[derive(Debug, Default)]
struct Seen {
    looks: RefCell<Vec<u64>>,
    every: Duration,
    left: Cell<u32>,
}

impl Watched for Seen {
    fn look(&self, now: Duration) -> Option<Duration> {
        self.looks.borrow_mut().push(millis(now));
        let left = self.left.get().checked_sub(1)?;
        self.left.set(left);
        Some(now + self.every)
    }
}

fn seen(every: u64, times: u32) -> Rc<Seen> {
    Rc::new(Seen { every: Duration::from_millis(every), left: Cell::new(times), ..Seen::default() })
}

fn is_running() -> bool {
    SHELL.with(|shell| shell.running.get())
}

#[tokio::test(start_paused = true)]
async fn looks_come_in_time_and_the_task_ends_with_the_last_watch() {
    let story = async {
        let (slow, quick) = (seen(1_000, 3), seen(8, 2));
        let first = watch(slow.clone(), now(), now() + slow.every);
        // The task sleeps for the slow one when the quick one comes.
        sleep(Duration::from_millis(10)).await;
        let second = watch(quick.clone(), now(), now() + quick.every);
        sleep(Duration::from_secs(10)).await;
        assert_eq!(*quick.looks.borrow(), [18, 26, 34]);
        let slow_looks = slow.looks.borrow().clone();
        assert_eq!(slow_looks.len(), 4);
        assert!(slow_looks.windows(2).all(|two| (1_000..=1_125).contains(&(two[1] - two[0]))), "{slow_looks:?}");
        assert!(!is_running(), "they are watched, but nobody looks any more");
        drop((first, second));
        sleep(Duration::from_secs(10)).await;
        let third = watch(seen(5, 0), now(), now() + Duration::from_millis(5));
        sleep(Duration::from_secs(10)).await;
        drop(third);
    };
    LocalSet::new().run_until(story).await;
    assert!(!is_running());
}

#[test]
fn a_thread_whose_runtime_ended_watches_in_the_next() {
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let watched = seen(1_000, 0);
            let forgotten = watch(watched.clone(), now(), now() + watched.every);
            sleep(Duration::from_secs(5)).await;
            assert_eq!(watched.looks.borrow().len(), 1);
            std::mem::forget(forgotten);
        });
    }
}
