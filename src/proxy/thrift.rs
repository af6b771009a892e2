//! What connections let go of when they rest or end is given back to the kernel.
//!
//! The allocator keeps pages that stand empty, and looks them through only while it is asked for memory. After a burst of
//! clients nobody asks, and a resting connection would cost twice what it holds. So some time after one has gone to rest
//! or ended the control runtime has it look, for all threads: giving back 14 MB takes 2 ms and more, for which no data
//! thread should stand still. While nobody does nothing is done.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use crate::net::memory::give_back;

/// How long after a connection went to rest what it let go of is given back, together with what others did meanwhile. A
/// little more than the second for which the allocator keeps a page in case it is asked for it again.
const PAUSE: Duration = Duration::from_millis(1100);

/// Tells that there may be something to give back. Clones tell the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Thrift(Arc<Notify>);

impl Thrift {
    /// A connection went to rest, or ended.
    pub(super) fn let_go(&self) {
        self.0.notify_one();
    }

    /// Gives back what was let go of, at most once in [`PAUSE`]; never returns.
    pub(super) async fn tidy(self) {
        self.tidy_by(give_back).await;
    }

    async fn tidy_by(self, mut give_back: impl FnMut()) {
        loop {
            self.0.notified().await;
            sleep(PAUSE).await;
            give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::pin::pin;

    use tokio::time::{Instant, timeout};

    use super::*;

    /// When it gave back, in milliseconds, if connections went to rest at these.
    async fn given_back_at(rests: &[u64]) -> Vec<u128> {
        let (thrift, begin, given) = (Thrift::default(), Instant::now(), RefCell::new(Vec::new()));
        let tidy = thrift.clone().tidy_by(|| given.borrow_mut().push(begin.elapsed().as_millis()));
        let mut tidy = pin!(tidy);
        for rest in rests {
            let _ = timeout((begin + Duration::from_millis(*rest)).duration_since(Instant::now()), &mut tidy).await;
            thrift.let_go();
        }
        let _ = timeout(Duration::from_secs(3600), &mut tidy).await;
        given.take()
    }

    #[tokio::test(start_paused = true)]
    async fn it_comes_after_the_last_rest_and_not_for_each() {
        assert_eq!(given_back_at(&[]).await, []);
        assert_eq!(given_back_at(&[100]).await, [1200]);
        assert_eq!(given_back_at(&[100, 100, 500, 1199]).await, [1200, 2300]);
        assert_eq!(given_back_at(&[100, 5000]).await, [1200, 6100]);
    }
}
