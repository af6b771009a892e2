//! One certificate for as long as somebody asks for it: ordered, waited for, renewed, and tried again when that fails.
//!
//! Theory: a loop of two states. *Held*: there is a certificate, and the time of its renewal is looked at again at least
//! every hour, since the clock of a host may jump and the authority may change its mind. *Wanted*: an order is tried in
//! each way that an open listener can serve, in turn, with a pause after each failure. Whatever is held goes on being
//! served meanwhile. Times of certificates are of the wall clock, which `now` reads; pauses are of tokio's.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::doors::Doors;
use super::issued::Issued;
use super::plan::{self, Window};
use super::{Standing, Told};
use crate::control::Event;
use crate::model::intent::{Challenge, Order};

/// The longest sleep before the clock is looked at again.
const LOOK: Duration = Duration::from_secs(3600);
/// How often an authority is asked when it would have a certificate renewed, at least and at most.
const ASK: (Duration, Duration) = (Duration::from_secs(3600), Duration::from_secs(24 * 3600));
/// How long after one that did not answer.
const ASK_AGAIN: Duration = Duration::from_secs(6 * 3600);
/// How long listeners may take to open before it is said that they are missing.
const OPENING: Duration = Duration::from_secs(5);

/// Who issues certificates.
pub(super) trait Authority: Send + Sync + 'static {
    /// Orders a certificate, proving its names in this way.
    fn order(&self, order: &Order, way: Challenge) -> impl Future<Output = Result<Issued, Failure>> + Send;
    /// When it would have a certificate renewed, and how long that stands; `None` when it does not say.
    fn window(&self, order: &Order, issued: &Issued) -> impl Future<Output = Option<(Window, Duration)>> + Send;
}

/// Why an order did not end in a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Failure {
    /// In the authority's own words, where it said any.
    pub(super) reason: String,
    /// Whether it said no, rather than being away or out of order: that counts against its limits.
    pub(super) was_refused: bool,
    /// How long it wishes not to be asked.
    pub(super) retry_after: Option<Duration>,
}

/// What one certificate needs.
pub(super) struct Follow<A> {
    pub(super) order: Arc<Order>,
    /// What was kept of an earlier process.
    pub(super) held: Option<Issued>,
    pub(super) authority: Arc<A>,
    pub(super) doors: watch::Receiver<Doors>,
    /// Seconds since 1970.
    pub(super) now: fn() -> i64,
    /// A number from 0 to 1, another one each time.
    pub(super) draw: fn() -> f64,
    pub(super) events: mpsc::Sender<Event>,
}

impl<A: Authority> Follow<A> {
    /// Runs until nobody listens.
    pub(super) async fn run(mut self) {
        let mut held = self.held.take();
        loop {
            if let Some(issued) = &held {
                self.keep(issued).await;
            }
            let Some(issued) = self.obtain(held).await else { return };
            let apart = issued.validity.least_apart();
            held = Some(issued);
            sleep(apart).await;
        }
    }

    /// Waits until it is time to renew.
    async fn keep(&self, issued: &Issued) {
        let draw = (self.draw)();
        let mut window = None;
        let mut ask = Instant::now();
        loop {
            if Instant::now() >= ask {
                match self.authority.window(&self.order, issued).await {
                    Some((said, again)) => {
                        window = Some(said);
                        ask = Instant::now() + again.clamp(ASK.0, ASK.1);
                    }
                    None => ask = Instant::now() + ASK_AGAIN,
                }
            }
            let left = issued.validity.renew_at(window, draw).saturating_sub((self.now)());
            match u64::try_from(left) {
                Ok(left) if left > 0 => sleep(Duration::from_secs(left).min(LOOK)).await,
                _ => return,
            }
        }
    }

    /// Orders until it succeeds. `None`: nobody listens any more.
    async fn obtain(&mut self, held: Option<Issued>) -> Option<Issued> {
        let hosts = self.order.hosts_in_words(", ");
        let mut failures = 0;
        loop {
            let way = self.way(failures, held.as_ref()).await?;
            tracing::info!("ordering a certificate for {hosts} from {} by {way}", self.order.directory);
            match self.authority.order(&self.order, way).await {
                Ok(issued) => {
                    tracing::info!("a certificate for {hosts} was issued");
                    self.tell(Some(&issued), None).await?;
                    return Some(issued);
                }
                Err(Failure { reason, was_refused, retry_after }) => {
                    failures += 1;
                    let pause = plan::pause(failures, was_refused, retry_after, (self.draw)());
                    tracing::warn!("no certificate for {hosts}, tried again in {pause:.0?}: {reason}");
                    self.tell(held.as_ref(), Some(reason)).await?;
                    sleep(pause).await;
                }
            }
        }
    }

    /// How to prove the names next. Waits until a listener is open that can; says when there is none.
    async fn way(&mut self, failures: u32, held: Option<&Issued>) -> Option<Challenge> {
        let mut told = false;
        let patience = Instant::now() + OPENING;
        loop {
            let ways = self.doors.borrow_and_update().open(self.order.challenge);
            if let Some(turn) = usize::try_from(failures).ok().and_then(|n| n.checked_rem(ways.len())) {
                return ways.get(turn).copied();
            }
            if !told && Instant::now() >= patience {
                told = true;
                let wanted = match self.order.challenge {
                    Some(Challenge::Http01) => "an http listener",
                    Some(Challenge::TlsAlpn01) => "an https listener",
                    None => "an http or https listener",
                };
                let reason = format!("no listener is open that could prove the names: open {wanted} to the internet");
                self.tell(held, Some(reason)).await?;
            }
            // Sockets open without a word.
            let pause = if told { OPENING } else { Duration::from_millis(50) };
            if let Ok(Err(_)) = timeout(pause, self.doors.changed()).await {
                return None;
            }
        }
    }

    async fn tell(&self, issued: Option<&Issued>, trouble: Option<String>) -> Option<()> {
        let standing = Standing { cert: issued.map(|issued| issued.cert.clone()), trouble };
        self.events.send(Event::Acme(Told { order: self.order.clone(), standing })).await.ok()
    }
}

#[cfg(test)]
mod tests;
