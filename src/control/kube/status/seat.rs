//! Keeps the Lease: reads it, does what `lease` says, and tells whether it is for us to write.
//!
//! An account that may not have Leases writes all the same: one sluice alone, as most are, needs none, and two would
//! only write the same twice. It is said once.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::control::clock;
use crate::control::kube::objects::ObjectName;
use crate::control::kube::watch::chain;

use super::Word;
use super::desk::closed;
use super::lease::{Candidate, DURATION, Record, Step};

/// How long a look may take, with what is written after it: together with the time between two, less than a holder may
/// go without a renewal.
const TURN: Duration = Duration::from_secs(4);

/// How often it is tried again what we have no right to.
const FORBIDDEN: Duration = Duration::from_secs(60);

/// The longest pause after a failure of who has nothing to lose.
const LONGEST: Duration = Duration::from_secs(20);

/// Keeps the Lease at `place` if it can be had, and `held` true. Gives it up and returns when `word` is closed.
pub(super) async fn keep(
    client: Client,
    place: Option<ObjectName>,
    me: Arc<str>,
    held: &watch::Sender<bool>,
    word: watch::Receiver<Arc<Word>>,
) {
    let mut closed = std::pin::pin!(closed(word));
    let Some(place) = place else {
        held.send_replace(true);
        closed.await;
        held.send_replace(false);
        return;
    };
    let api = Api::<Lease>::namespaced(client, &place.namespace);
    let mut seat = Seat { api, place, me: me.clone(), candidate: Candidate::new(me), ours: None };
    let mut backoff = DefaultBackoff::default();
    let mut is_alone = false;
    let mut told = None;
    loop {
        // To its end, also when we stop: a renewal that was cut off may have gone through, and what was read before could
        // not be given up any more.
        let turn = timeout(TURN, seat.turn()).await;
        let turn = turn.unwrap_or_else(|_| Err(Trouble::Other(format!("no answer within {TURN:?}"))));
        let mut pause = seat.candidate.pause(turn.is_ok(), Instant::now());
        match turn {
            Ok(()) => {
                (is_alone, told) = (false, None);
                backoff.reset();
            }
            Err(trouble) => {
                let place = &seat.place;
                let reason = match trouble {
                    Trouble::Barred(reason) => {
                        (is_alone, pause) = (true, FORBIDDEN);
                        format!("lease {place}: {reason}; until then statuses are written without asking who else does")
                    }
                    Trouble::Other(reason) => {
                        if !seat.candidate.may_write(Instant::now()) {
                            pause = backoff.next().unwrap_or(LONGEST).min(LONGEST);
                        }
                        format!("lease {place} could not be read or renewed: {reason}")
                    }
                };
                if told.as_ref() != Some(&reason) {
                    tracing::warn!("{reason}");
                }
                told = Some(reason);
            }
        }
        seat.tell(held, is_alone);
        let next = Instant::now() + pause.mul_f64(1.0 + clock::draw() / 10.0);
        while Instant::now() < next {
            let lapse = seat.candidate.until().filter(|until| *until > Instant::now());
            tokio::select! {
                () = &mut closed => return seat.give_up(held).await,
                () = sleep(next.duration_since(Instant::now())) => {}
                () = sleep_until(lapse.unwrap_or(next)), if lapse.is_some() => seat.tell(held, is_alone),
            }
        }
    }
}

/// Why a look came to nothing.
enum Trouble {
    /// There is no right to the Lease, or no place for it.
    Barred(String),
    /// Another time it may go well.
    Other(String),
}

struct Seat {
    api: Api<Lease>,
    place: ObjectName,
    me: Arc<str>,
    candidate: Candidate,
    // The Lease as we wrote it last.
    ours: Option<Lease>,
}

impl Seat {
    async fn turn(&mut self) -> Result<(), Trouble> {
        let name = &*self.place.name;
        let read = self.api.get_opt(name).await.map_err(|error| self.trouble(&error, "get"))?;
        let step = self.candidate.look(read.as_ref().map(record), Instant::now());
        let (sent, time) = (Instant::now(), now());
        let written = match (step, read) {
            (Step::Wait, _) => {
                self.ours = None;
                return Ok(());
            }
            (Step::Renew | Step::Take, Some(mut lease)) => {
                let spec = lease.spec.get_or_insert_default();
                if step == Step::Take {
                    spec.acquire_time.clone_from(&time);
                    spec.lease_transitions = Some(spec.lease_transitions.unwrap_or_default().saturating_add(1));
                }
                self.sign(spec, time);
                self.api.replace(name, &PostParams::default(), &lease).await.map_err(|e| (e, "update"))
            }
            (Step::Create | Step::Renew | Step::Take, _) => {
                let mut spec = LeaseSpec { acquire_time: time.clone(), ..LeaseSpec::default() };
                self.sign(&mut spec, time);
                let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
                let lease = Lease { metadata, spec: Some(spec) };
                self.api.create(&PostParams::default(), &lease).await.map_err(|e| (e, "create"))
            }
        };
        match written {
            Ok(lease) => {
                self.candidate.is_ours(sent);
                self.ours = Some(lease);
                Ok(())
            }
            // Another was quicker.
            Err((kube::Error::Api(status), _)) if status.code == 409 => Ok(()),
            Err((error, verb)) => Err(self.trouble(&error, verb)),
        }
    }

    fn sign(&self, spec: &mut LeaseSpec, time: Option<MicroTime>) {
        spec.holder_identity = Some(self.me.to_string());
        spec.lease_duration_seconds = i32::try_from(DURATION.as_secs()).ok();
        spec.renew_time = time;
    }

    fn trouble(&self, error: &kube::Error, verb: &str) -> Trouble {
        let namespace = &self.place.namespace;
        match error {
            kube::Error::Api(status) if status.code == 403 => Trouble::Barred(format!(
                "forbidden (403); give our account the verb {verb} on leases.coordination.k8s.io of this name in namespace \
                 {namespace}, as deploy/kubernetes/rights.yaml does for the usual one"
            )),
            kube::Error::Api(status) if status.code == 404 => Trouble::Barred(format!(
                "there is no namespace {namespace}; name one that exists under lease in the file"
            )),
            error => Trouble::Other(chain(error)),
        }
    }

    fn tell(&self, held: &watch::Sender<bool>, is_alone: bool) {
        let may = is_alone || self.candidate.may_write(Instant::now());
        held.send_if_modified(|held| {
            let differs = *held != may;
            *held = may;
            if differs && !is_alone {
                let what =
                    if may { "statuses and Events are written by us" } else { "another writes statuses and Events" };
                tracing::info!("{what}, says lease {}", self.place);
            }
            differs
        });
    }

    /// So that another need not wait until it expires.
    async fn give_up(mut self, held: &watch::Sender<bool>) {
        if self.candidate.resign(Instant::now())
            && let Some(mut lease) = self.ours.take()
        {
            let spec = lease.spec.get_or_insert_default();
            (spec.holder_identity, spec.lease_duration_seconds, spec.renew_time) =
                (Some(String::new()), Some(1), now());
            let how = PostParams::default();
            let replaced = timeout(TURN, self.api.replace(&self.place.name, &how, &lease)).await;
            if !matches!(replaced, Ok(Ok(_))) {
                tracing::info!("lease {} could not be given up; another takes it when it expires", self.place);
            }
        }
        held.send_replace(false);
    }
}

/// The time of day, for whoever reads the record; nobody reckons with it.
fn now() -> Option<MicroTime> {
    let ms = i64::try_from(clock::now_ms()).ok()?;
    Timestamp::from_millisecond(ms).ok().map(MicroTime)
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
        duration: Duration::from_secs(spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or(0)),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
    }
}
