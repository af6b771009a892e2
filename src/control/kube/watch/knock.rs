//! Whether the API server is there: somebody knocks now and then, and often when something is amiss.
//!
//! Theory: a connection that died without a word looks like a watch with nothing to say, and a request that hangs on one
//! says nothing of a server that has come back since. So one small question is asked on a connection of its own: every
//! quarter of a minute while all is well, every second and a half otherwise. It tells within seconds that the server is
//! back, so that the many that failed need not try often; and then all begins anew with new connections.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::control::clock::draw;
use crate::control::kube::objects::service::Service;

use super::ask::{feed_of, knock};
use super::client::Way;
use super::failure::Failure;
use super::standing::Standing;

/// The time between two looks, of which chance takes away up to two fifths.
const LOOK: Duration = Duration::from_secs(2);
/// The time between two knocks while all is well.
const CALM: Duration = Duration::from_secs(15);
/// How long an answer may take while all is well; where nothing is lost by waiting.
const PATIENT: Duration = Duration::from_secs(5);
/// How long it may take otherwise.
pub(super) const BRISK: Duration = Duration::from_secs(3);
/// The pause after a knock that took all its time.
const SHORT: Duration = Duration::from_millis(400);

/// Knocks for ever and writes in `standing` what is heard. Returns when the server did not answer and does so again.
pub(super) async fn keep_knocking(way: &Way, namespace: Option<&str>, standing: &Standing) {
    let mut misses = 0;
    let mut last = Instant::now();
    let mut pause = LOOK;
    loop {
        sleep(pause.mul_f64(1.0 - 0.4 * draw())).await;
        pause = LOOK;
        let is_calm = standing.is_calm() && misses == 0;
        if is_calm && last.elapsed() < CALM {
            continue;
        }
        last = Instant::now();
        let patience = if is_calm { PATIENT } else { BRISK };
        match knock(&way.fresh, namespace, patience).await {
            Ok(()) if standing.is_away() => return,
            Ok(()) => {
                misses = 0;
                standing.answers();
            }
            Err(wrong) => {
                misses += 1;
                let failure = Failure::of::<Service>(&wrong, &feed_of::<Service>(namespace), &way.server);
                if misses > 1 || !standing.is_calm() {
                    standing.away(failure);
                } else {
                    standing.doubt();
                }
                pause = if last.elapsed() >= patience { SHORT } else { LOOK };
                // By chance a little is taken away of that; what was asked for is to pass whole.
                pause = pause.max(wrong.after().unwrap_or_default().min(Duration::from_secs(60)).mul_f64(1.0 / 0.6));
            }
        }
    }
}
