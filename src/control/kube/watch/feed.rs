//! One feed: all objects of a kind, in the cluster or in one namespace, for ever.
//!
//! Theory: a list, whole, then watches that each go on where the last one ended. What a list brings is held back until
//! it is whole and known to be no older than what was seen; until then the objects of before stay. The feed is good
//! when a watch begins, for then nothing can be missed. A watch that ends in its time goes on at once; one that ends
//! sooner waits a little, and when that happens again and again the feed has failed, for then changes may be missed.
//! After any failure it begins anew with a list, after a pause.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::control::clock::draw;
use crate::control::kube::objects::Kind;
use crate::control::kube::store::{Change, Feed};

use super::ask::{Asker, Word, Words, Wrong};
use super::backoff::Backoff;
use super::failure::{Failure, Server};
use super::list;
use super::standing::Standing;
use super::version::Versions;

/// Seconds until the server ends a watch, to be begun again where it was; by chance up to a tenth less, so that those of
/// all kinds do not end together.
const WATCH_SECONDS: u32 = 50;
/// A watch that the server did not end so long after its time is on a connection that died without a word.
const LATE: Duration = Duration::from_secs(5);
/// A watch that lasted so long has worked.
const RIPE: Duration = Duration::from_secs(5);
/// So many in a row that did not are a failure.
const BRIEF: u32 = 3;
/// While watches end as they begin, a list tells so often what they may have missed.
const RELIST: Duration = Duration::from_secs(30);
/// The longest pause of a feed while the server answers others, so that it is soon heard what was mended.
const PAUSE: Duration = Duration::from_secs(4);
/// The longest pause while the server does not: `knock` hears when it is back.
const PAUSE_AWAY: Duration = Duration::from_secs(30);
/// Of many feeds that fail each in its own way, all together ask so often at the most.
const PAUSE_EACH: Duration = Duration::from_millis(500);

/// What a feed needs to go.
pub(super) struct Following {
    /// Who asks.
    pub(super) asker: Asker,
    /// For what.
    pub(super) feed: Feed,
    /// Who takes the changes.
    pub(super) changes: mpsc::Sender<Change>,
    /// Where it is shown how it goes.
    pub(super) standing: Standing,
    /// What was seen.
    pub(super) versions: Versions,
    /// Who is asked.
    pub(super) server: Arc<Server>,
}

/// Why a round ended.
enum End {
    /// Something is wrong.
    Wrong(Wrong),
    /// Nobody takes the changes any more.
    Unheard,
}

impl From<Wrong> for End {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(wrong)
    }
}

/// How one feed has gone so far.
#[derive(Default)]
struct Course {
    backoff: Backoff,
    /// Watches in a row that ended as soon as they began.
    brief: u32,
}

impl Following {
    /// Sends the changes of a feed until nobody takes them.
    pub(super) async fn follow<K: Kind>(self) {
        let mut course = Course::default();
        loop {
            let began = Instant::now();
            let wrong = match self.round::<K>(&mut course).await {
                End::Unheard => return,
                End::Wrong(wrong) => wrong,
            };
            if wrong.is_gone() && began.elapsed() > RIPE {
                // It took us so long to come back; a list tells all that was missed.
                continue;
            }
            let failure = Failure::of::<K>(&wrong, &self.feed, &self.server);
            tracing::debug!(kind = K::FEED, ?failure, "feed failed");
            self.standing.failed(&self.feed, failure);
            let longest =
                if self.standing.is_away() { PAUSE_AWAY } else { PAUSE.max(PAUSE_EACH * self.standing.failing()) };
            sleep(course.backoff.next(longest, wrong.after(), draw())).await;
        }
    }

    /// A list and all watches after it.
    async fn round<K: Kind>(&self, course: &mut Course) -> End {
        match self.list::<K>().await {
            Ok(version) => self.watches::<K>(version, course).await,
            Err(end) => end,
        }
    }

    /// Replaces what is known by a whole list; gives its version.
    async fn list<K: Kind>(&self) -> Result<String, End> {
        let (objects, version) = list::whole::<K>(&self.asker).await?;
        let judged = self.versions.judge(&self.feed, &version, objects.is_empty(), Instant::now());
        judged.map_err(Wrong::Older)?;
        self.send(Change::Replace { feed: self.feed.clone(), objects }).await?;
        Ok(version)
    }

    /// Watches from `version` on, one after the other.
    async fn watches<K: Kind>(&self, mut version: String, course: &mut Course) -> End {
        let listed = Instant::now();
        loop {
            let seconds = WATCH_SECONDS - (draw() * f64::from(WATCH_SECONDS) / 10.0) as u32;
            let began = Instant::now();
            let words = match self.asker.watch(&version, seconds).await {
                Ok(words) => words,
                Err(wrong) => return wrong.into(),
            };
            let late = began + Duration::from_secs(seconds.into()) + LATE;
            if let Err(end) = self.hear::<K>(words, &mut version, (began, late), course).await {
                return end;
            }
            self.standing.waits(&self.feed);
            if began.elapsed() >= RIPE {
                continue;
            }
            course.brief = course.brief.saturating_add(1);
            if course.brief >= BRIEF {
                if listed.elapsed() >= RELIST {
                    return Wrong::Brief.into();
                }
                self.standing.failed(&self.feed, Failure::of::<K>(&Wrong::Brief, &self.feed, &self.server));
            }
            sleep(course.backoff.next(PAUSE, None, draw())).await;
        }
    }

    /// Hears one watch to its end.
    async fn hear<K: Kind>(
        &self,
        mut words: Words,
        version: &mut String,
        (began, late): (Instant, Instant),
        course: &mut Course,
    ) -> Result<(), End> {
        if course.brief < BRIEF {
            self.standing.good(&self.feed);
        }
        let mut is_ripe = false;
        loop {
            let next = tokio::select! {
                next = timeout_at(late, words.next::<K>()) => next,
                () = sleep_until(began + RIPE), if !is_ripe => {
                    is_ripe = true;
                    course.brief = 0;
                    course.backoff.reset();
                    self.standing.good(&self.feed);
                    continue;
                }
            };
            let word = match next {
                Err(_) => return Err(Wrong::Silent(late - began).into()),
                // A connection that breaks is the end of a watch like any other; whether the server is still there is
                // seen when the next one begins.
                Ok(Err(Wrong::Unreached(_))) | Ok(Ok(None)) => return Ok(()),
                Ok(Err(wrong)) => return Err(wrong.into()),
                Ok(Ok(Some(word))) => word,
            };
            match word {
                Word::Apply(object, now) => {
                    self.saw(version, now, true);
                    self.send(Change::Apply(object)).await?;
                }
                Word::Delete(object, now) => {
                    self.saw(version, now, false);
                    self.send(Change::Delete { kind: K::FEED, name: object.name().clone() }).await?;
                }
                Word::Mark(now) => self.saw(version, now, false),
            }
        }
    }

    fn saw(&self, version: &mut String, now: String, has_some: bool) {
        if !now.is_empty() {
            self.versions.saw(&self.feed, &now, has_some);
            *version = now;
        }
    }

    async fn send(&self, change: Change) -> Result<(), End> {
        self.changes.send(change).await.map_err(|_| End::Unheard)
    }
}
