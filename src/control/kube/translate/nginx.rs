//! Pure. Ingresses that were written for ingress-nginx: its annotations become the same wishes and filters that our own
//! make. [`table`] says of each what becomes of it.
//!
//! Theory: [`read`] looks at one object alone and judges each of its annotations; what names other objects is looked up
//! in `beside`, once all are known. What guards and cannot be honoured refuses its Ingress, whose requests then get 503:
//! an ignored guard must not open what was closed. Everything else that cannot be honoured is told, and the Ingress is
//! served without.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::control::kube::objects::ingress::Ingress;
use crate::control::kube::objects::{Meta, NGINX, ObjectName};
use crate::control::kube::spec::ClusterSpec;
use crate::control::kube::store::Store;
use crate::model::host::HostPattern;
use crate::model::intent::Redirect;
use crate::model::problem::Origin;

use super::Draft;
use super::annotations::Wishes;
use super::class::{self, Dialect};

mod access;
mod answers;
pub(super) mod beside;
pub(super) mod paths;
mod pools;
mod routes;
mod snippet;
pub mod table;
pub(super) mod together;
mod values;

use table::{Verdict, find};

/// What becomes of one annotation of one object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Judged {
    /// Its name behind `nginx.ingress.kubernetes.io/`.
    pub name: String,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Which difference, or why it is safe or not.
    pub why: String,
}

/// What the annotations of an Ingress ask for.
#[derive(Debug, Default)]
pub(super) struct Asks {
    /// What our own annotations could ask for too.
    wishes: Wishes,
    /// `use-regex`, or `rewrite-target`, whatever it says.
    pub(super) is_regex: bool,
    /// `rewrite-target`.
    pub(super) target: Option<Arc<str>>,
    /// `permanent-redirect`, `temporal-redirect`.
    pub(super) redirect: Option<Arc<Redirect>>,
    /// `app-root`.
    pub(super) app_root: Option<Arc<Redirect>>,
    /// `force-ssl-redirect`.
    pub(super) force_https: bool,
    /// `from-to-www-redirect`.
    pub(super) www: bool,
    /// `server-alias`.
    pub(super) aliases: Vec<HostPattern>,
    /// `canary` and its kin: it stands beside another Ingress.
    pub(super) canary: Option<routes::CanaryRule>,
    basic: Option<access::BasicAsk>,
    asked: Option<access::ServerAsk>,
    mirror: Option<routes::MirrorAsk>,
    speech: pools::SpeechAsk,
    fallback: Option<Arc<str>>,
}

impl Asks {
    /// Whether all paths of its hosts are expressions, as ingress-nginx has it.
    pub(super) fn makes_expressions(&self) -> bool {
        self.is_regex
    }
}

/// Judges each annotation of ingress-nginx that an object has, in the order of their names.
pub fn judge(meta: &Meta) -> Vec<Judged> {
    read(meta).1
}

/// The Ingresses that are served as those of ingress-nginx, the oldest first.
pub(in crate::control::kube) fn ours(store: &Store, spec: &ClusterSpec) -> Vec<(ObjectName, Arc<Ingress>)> {
    let all = class::ours(&mut Draft::new(store, spec)).into_iter();
    let of_nginx = all.filter(|(.., dialect)| *dialect == Dialect::Nginx);
    of_nginx.map(|(name, ingress, _)| (name.clone(), ingress.clone())).collect()
}

/// What the annotations ask for, and what becomes of each.
pub(super) fn read(meta: &Meta) -> (Asks, Vec<Judged>) {
    let all = meta.annotations.iter().filter_map(|(key, value)| Some((key.strip_prefix(NGINX)?, value.trim())));
    let mut said = Said { values: all.collect(), told: BTreeMap::new() };
    let mut asks = Asks::default();
    access::read(&mut said, &mut asks);
    answers::read(&mut said, &mut asks);
    pools::read(&mut said, &mut asks);
    routes::read(&mut said, &mut asks);
    snippet::read(&mut said);
    (asks, said.judged())
}

/// The same for an Ingress that is to be served; tells what is not safe. What it asks for of backends and requests is
/// given apart; `None`: a guard cannot be honoured.
pub(super) fn of(draft: &mut Draft<'_>, name: &ObjectName, meta: &Meta, origin: &Origin) -> (Asks, Option<Wishes>) {
    let (mut asks, judged) = read(meta);
    let mut is_refused = false;
    for Judged { name, verdict, why } in judged.into_iter().filter(|judged| judged.verdict.is_trouble()) {
        let end = match verdict {
            Verdict::Refused => {
                is_refused = true;
                "(until then the object is not served)"
            }
            _ => "(the object is served without)",
        };
        draft.problem(origin, format!("annotation {NGINX}{name}: {why} {end}"));
    }
    let mut wishes = std::mem::take(&mut asks.wishes);
    match beside::speech(draft, &asks, name, origin) {
        Ok(speech) => wishes.pool.speech = speech,
        Err(()) => is_refused = true,
    }
    wishes.pool.fallback = asks.fallback.clone();
    (asks, (!is_refused).then_some(wishes))
}

/// The annotations of one object while they are read.
struct Said<'m> {
    values: BTreeMap<&'m str, &'m str>,
    // What is other than the table has it.
    told: BTreeMap<&'m str, (Verdict, String)>,
}

impl<'m> Said<'m> {
    /// A value, if there is one that says anything.
    fn text(&self, name: &str) -> Option<&'m str> {
        self.values.get(name).copied().filter(|value| !value.is_empty())
    }

    /// A value as something; one that is wrong is told and refuses the object if it guards.
    fn value<T>(&mut self, name: &'m str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(name)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(right) => {
                let shown: String = text.chars().take(80).collect();
                let guards = find(name).is_some_and(|entry| entry.guards);
                let verdict = if guards { Verdict::Refused } else { Verdict::Unsafe };
                self.say(name, verdict, format!("{shown:?} cannot be had; {right}"));
                None
            }
        }
    }

    /// Whether it says `true`.
    fn is_true(&mut self, name: &'m str) -> bool {
        self.value(name, values::switch).unwrap_or_default()
    }

    /// Says of an annotation other than what the table has; what is worse stays.
    fn say(&mut self, name: &'m str, verdict: Verdict, why: impl Into<String>) {
        if self.values.contains_key(name) && self.told.get(name).is_none_or(|(known, _)| *known < verdict) {
            self.told.insert(name, (verdict, why.into()));
        }
    }

    fn judged(self) -> Vec<Judged> {
        let Self { values, mut told } = self;
        let judged = |name: &str| match (told.remove(name), find(name)) {
            (Some((verdict, why)), _) => (verdict, why),
            (None, Some(entry)) => (entry.verdict, entry.why.to_owned()),
            (None, None) => (Verdict::Safe, "ingress-nginx knows no such annotation either".to_owned()),
        };
        let mut all = Vec::with_capacity(values.len());
        let mut judged = judged;
        for name in values.keys() {
            let (verdict, why) = judged(name);
            all.push(Judged { name: (*name).to_owned(), verdict, why });
        }
        all
    }
}
