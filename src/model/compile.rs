//! Pure. Intent to Snapshot. Total: it never fails; a piece that cannot be served becomes a [`Problem`] and the rest
//! stands.
//!
//! Parts whose intent did not change are taken over from the previous snapshot, so an endpoint that moves costs one
//! pool, not a route table; and every state is asked of [`Live`], so counters and verdicts go on.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::balance::{Maglev, Schedule, digest, token::Tokens};
use super::filter::FilterPlan;
use super::intent::{
    Action, Admin, Backend, Filters, Intent, Listener, ListenerKey, PathMatch, Pool, PoolName, Protocol, Route, Sticky,
};
use super::live::{AgentKey, BackendKey, BackendState, Live, ProbeKey, RampKey, ServeKey, SlotKey};
use super::map::Map;
use super::problem::{Cause, Origin, Problem};
use super::route::{Matcher, NameTable, RouteTable, Target};
use super::snapshot::{BackendPlan, ListenerPlan, PoolPlan, Snapshot};
use super::source::{RangeSet, SourceTable};
use super::speech::SpeechPlan;
use super::tls::{NamedCert, TlsPlan};

/// Compiles `intent`. `previous` lends what did not change, `live` the states.
pub fn compile(intent: &Intent, previous: &Snapshot, live: &Live) -> (Snapshot, Vec<Problem>) {
    let mut problems = Vec::new();
    let _placed = place(intent, previous, live);
    let pools: Map<_, _> =
        intent.pools.iter().map(|(name, pool)| (name.clone(), plan_pool(name, pool, previous, live))).collect();
    for pool in intent.pools.values() {
        check_pool(pool, &mut problems);
    }
    for plan in pools.values() {
        if let Some(trouble) = plan.speech.as_ref().and_then(|speech| speech.trouble()) {
            problems.push(Problem::new(&plan.intent.origin, format!("{trouble}; until then its requests get 503")));
        }
    }
    let mut listeners = Map::with_capacity_and_hasher(intent.listeners.len(), Default::default());
    for (key, listener) in &intent.listeners {
        check_targets(listener, &pools, &mut problems);
        listeners.insert(*key, plan_listener(*key, listener, intent, previous, live, &mut problems));
    }
    let certs = intent.certs.iter().map(|(name, cert)| (name.clone(), cert.clone())).collect();
    problems.sort();
    problems.dedup();
    let acme = live.acme.clone();
    (Snapshot { generation: previous.generation + 1, listeners, pools, certs, acme }, problems)
}

/// Puts the backends of pools that changed onto the nodes that these name, before any plan looks: other pools may list
/// the same backends, and all are to hear of the same machine. What it gives back keeps that until the plans do.
fn place(intent: &Intent, previous: &Snapshot, live: &Live) -> Vec<Arc<BackendState>> {
    let is_new = |name: &PoolName, pool: &Arc<Pool>| previous.pools.get(name).is_none_or(|plan| plan.intent != *pool);
    let changed = intent.pools.iter().filter(|(name, pool)| is_new(name, pool));
    let named = changed.flat_map(|(_, pool)| &pool.backends).filter(|backend| !backend.node.is_empty());
    named.map(|backend| live.backend_on(&key_of(backend), &backend.node)).collect()
}

fn key_of(backend: &Backend) -> BackendKey {
    BackendKey { address: backend.address, instance: backend.instance.clone() }
}

fn plan_pool(name: &PoolName, pool: &Arc<Pool>, previous: &Snapshot, live: &Live) -> Arc<PoolPlan> {
    let old = previous.pools.get(name);
    let is_whole = |plan: &PoolPlan| plan.speech.as_ref().is_none_or(|speech| speech.trouble().is_none());
    if let Some(same) = old.filter(|plan| plan.intent == *pool && plan.is_in_place() && is_whole(plan)) {
        return same.clone();
    }
    let speech = SpeechPlan::of(&pool.speech, old.and_then(|plan| plan.speech.as_ref()), &live.tls);
    let newcomers = Newcomers::of(pool, previous.pools.get(name));
    let backends = pool.backends.iter().map(|backend| {
        let key = key_of(backend);
        let digest = digest::of_backend(&key);
        let state = live.backend(&key);
        BackendPlan {
            address: backend.address,
            weight: backend.weight,
            admin: backend.admin,
            backup: backend.backup,
            heeds_traffic: pool.ejection.is_some(),
            node: state.node(),
            state,
            slots: (pool.max_connections > 0)
                .then(|| live.slots(&SlotKey { pool: name.clone(), backend: key.clone() })),
            probe: pool.probe.as_ref().map(|probe| {
                live.probe(&ProbeKey { backend: key.clone(), probe: probe.clone(), send_proxy: pool.send_proxy })
            }),
            agent: pool
                .agent
                .as_ref()
                .map(|agent| live.agent(&AgentKey { backend: key.clone(), agent: agent.clone() })),
            ramp: (!pool.slow_start.is_zero()).then(|| {
                let ramp = live.ramp(&RampKey { pool: name.clone(), backend: key });
                if newcomers.has(digest) {
                    ramp.chill();
                }
                ramp
            }),
            digest,
        }
    });
    // Only backends that may be picked have a place: a drained one would make every turn of its own a detour.
    let takes_turns = |b: &BackendPlan| !b.backup && b.admin == Admin::Ready;
    let backends: Box<[BackendPlan]> = backends.collect();
    let weights: Vec<u16> = backends.iter().map(|b| if takes_turns(b) { b.weight } else { 0 }).collect();
    let table = pool
        .balance
        .is_hash()
        .then(|| Maglev::new(&backends.iter().map(|b| b.digest).zip(weights.iter().copied()).collect::<Vec<_>>()));
    Arc::new(PoolPlan {
        name: name.clone(),
        intent: pool.clone(),
        schedule: Schedule::new(&weights),
        table,
        tokens: match &pool.sticky {
            Some(Sticky::Cookie(cookie)) => Some(Tokens::new(name, cookie, &pool.backends)),
            None | Some(Sticky::Source { .. }) => None,
        },
        speech,
        backends,
        state: live.pool(name),
    })
}

/// Backends that a pool with slow start did not have before, while others served. The first ones of a pool start warm,
/// as there is nobody to spare them.
struct Newcomers(Option<HashSet<u64>>);

impl Newcomers {
    fn of(pool: &Pool, before: Option<&Arc<PoolPlan>>) -> Self {
        let before = before.filter(|before| !pool.slow_start.is_zero() && before.is_up());
        Self(before.map(|before| before.backends.iter().map(|b| b.digest).collect()))
    }

    fn has(&self, digest: u64) -> bool {
        self.0.as_ref().is_some_and(|known| !known.contains(&digest))
    }
}

fn check_pool(pool: &Pool, problems: &mut Vec<Problem>) {
    // Of names, who looks them up tells when nothing was found.
    if pool.backends.is_empty() && pool.names.is_empty() && !pool.is_refused {
        let reason = "has no backend, so its requests are answered with 503";
        problems.push(Problem::new(&pool.origin, reason).because(Cause::Missing));
    }
}

/// A route to a pool that is not there stays and answers 503: its traffic must not fall to another route.
fn check_targets(listener: &Listener, pools: &Map<PoolName, Arc<PoolPlan>>, problems: &mut Vec<Problem>) {
    for route in &listener.routes {
        let Some(name) = route.action.pool() else { continue };
        match pools.get(name) {
            None => problems.push(Problem::new(
                &route.origin,
                format!("goes to pool {name}, which does not exist, so it answers 503; name one that does"),
            )),
            Some(pool) if !matches!(listener.protocol, Protocol::Http | Protocol::Https) => {
                if let Some(reason) = unheard(&pool.intent, listener.protocol) {
                    problems.push(Problem::new(&route.origin, format!("goes to pool {name}, {reason}")));
                }
            }
            Some(_) => {}
        }
        let beside = route.filters.iter().flat_map(|filters| filters.pools());
        for (filter, pool) in beside.filter(|(_, pool)| !pools.contains_key(*pool)) {
            let so = if filter == "forward_auth" { "so nothing passes" } else { "so nothing goes there" };
            let reason = format!("{filter} names pool {pool}, which does not exist, {so}; name one that does");
            problems.push(Problem::new(&route.origin, reason));
        }
    }
}

/// What a pool goes by that what comes over this protocol does not have.
fn unheard(pool: &Pool, protocol: Protocol) -> Option<String> {
    if pool.balance.asks_of_requests() {
        let right = "it goes by source here; write hash source, or give the listener a pool of its own";
        return Some(format!("whose balance is {}, and {protocol} has no requests: {right}", pool.balance));
    }
    let Some(Sticky::Cookie(cookie)) = &pool.sticky else { return None };
    let right = "nobody keeps a backend here; make it sticky by source, or give the listener a pool of its own";
    Some(format!("which is sticky by cookie {}, and {protocol} has no requests: {right}", cookie.name))
}

fn plan_listener(
    key: ListenerKey,
    listener: &Arc<Listener>,
    intent: &Intent,
    previous: &Snapshot,
    live: &Live,
    problems: &mut Vec<Problem>,
) -> Arc<ListenerPlan> {
    let certs = certs_of(listener, intent, problems);
    let old = previous.listeners.get(&key);
    // Taken over whole, unless building it had problems: those must be told again in every round.
    if let Some(same) = old.filter(|plan| {
        plan.intent == *listener && plan.clean && plan.tls.as_ref().is_none_or(|tls| tls.is_of(&certs, listener))
    }) {
        return same.clone();
    }
    let before = problems.len();
    let (mut routes, mut names) = (RouteTable::default(), NameTable::default());
    match listener.protocol {
        Protocol::TlsPassthrough => names = plan_names(listener, live, problems),
        Protocol::Tcp | Protocol::Udp | Protocol::Http | Protocol::Https => {
            routes = plan_routes(listener, live, problems);
        }
    }
    let tls = (listener.protocol == Protocol::Https)
        .then(|| plan_tls(listener, certs, old.and_then(|plan| plan.tls.as_ref()), live, problems));
    Arc::new(ListenerPlan {
        key,
        intent: listener.clone(),
        routes,
        names,
        sources: SourceTable::new(&listener.sources),
        proxies: RangeSet::new(&listener.proxies),
        trusted_proxies: RangeSet::new(&listener.http.trusted_proxies),
        tls,
        state: live.listener(&key),
        unrouted: live.serve(&ServeKey { listener: listener.name.clone(), pool: None }),
        clean: problems.len() == before,
    })
}

fn plan_routes(listener: &Listener, live: &Live, problems: &mut Vec<Problem>) -> RouteTable {
    let mut table = RouteTable::default();
    let mut targets = Targets::default();
    for route in &listener.routes {
        match Matcher::new(&route.path) {
            Err(reason) => problems.push(Problem::new(&route.origin, reason)),
            Ok(matcher) => {
                if !table.add(&route.host, matcher, targets.of(route, &listener.name, live, problems)) {
                    problems.push(Problem::new(
                        &route.origin,
                        format!("{} {} is taken by an earlier route on {}", route.host, route.path, listener.name),
                    ));
                }
            }
        }
    }
    table
}

fn plan_names(listener: &Listener, live: &Live, problems: &mut Vec<Problem>) -> NameTable {
    let mut table = NameTable::default();
    let mut targets = Targets::default();
    for route in &listener.routes {
        if !table.add(&route.host, &route.alpn, targets.of(route, &listener.name, live, problems)) {
            let reason = format!("{} is taken by an earlier route on {}", route.host, listener.name);
            problems.push(Problem::new(&route.origin, reason));
        }
    }
    table
}

/// Targets of one table; routes that lead to the same place for the same asker share one.
#[derive(Default)]
struct Targets(HashMap<TargetKey, Arc<Target>>);

/// What makes targets differ; the path where there is something that may refer to it.
type TargetKey = (Action, Option<Arc<Filters>>, Option<PathMatch>, Origin);

impl Targets {
    fn of(&mut self, route: &Route, listener: &Arc<str>, live: &Live, problems: &mut Vec<Problem>) -> Arc<Target> {
        let mut is_broken = false;
        let refers = route.filters.is_some() || matches!(route.action, Action::Redirect(_));
        let path = refers.then(|| route.path.clone());
        let key = (route.action.clone(), route.filters.clone(), path, route.origin.clone());
        let beyond = route.action.beyond().map(|pool| {
            let route = Route { action: Action::Forward(pool.clone()), ..route.clone() };
            self.of(&route, listener, live, problems)
        });
        let target = self.0.entry(key).or_insert_with(|| {
            let pool = match &route.action {
                Action::Forward(pool) => Some(pool.clone()),
                Action::Redirect(_) | Action::RedirectHttps { .. } | Action::NotFound => None,
            };
            let serve = live.serve(&ServeKey { listener: listener.clone(), pool });
            let filters = FilterPlan::of(route, listener, live).unwrap_or_else(|reason| {
                problems.push(Problem::new(&route.origin, format!("{reason}; until then the route answers 503")));
                is_broken = true;
                None
            });
            Arc::new(Target {
                action: route.action.clone(),
                beyond,
                filters: filters.map(Arc::new),
                serve,
                is_broken,
                origin: route.origin.clone(),
            })
        });
        target.clone()
    }
}

fn certs_of(listener: &Listener, intent: &Intent, problems: &mut Vec<Problem>) -> Vec<NamedCert> {
    let mut certs = Vec::with_capacity(listener.certs.len());
    let mut is_ordered = false;
    for name in &listener.certs {
        match intent.certs.get(name) {
            Some(cert) => certs.push((name.clone(), cert.clone())),
            // Who orders it tells when that fails. Until it is there handshakes are refused: a stand-in that nobody can
            // trust would only teach people to click warnings away.
            None if intent.orders.contains_key(name) => is_ordered = true,
            None => problems.push(Problem::new(&listener.origin, format!("certificate {name} does not exist"))),
        }
    }
    if listener.protocol == Protocol::Https && certs.is_empty() && !is_ordered {
        problems.push(Problem::new(
            &listener.origin,
            "is https but has no certificate, so every handshake fails; give it one",
        ));
    }
    certs
}

fn plan_tls(
    listener: &Listener,
    certs: Vec<NamedCert>,
    old: Option<&TlsPlan>,
    live: &Live,
    problems: &mut Vec<Problem>,
) -> TlsPlan {
    match old.filter(|tls| tls.is_of(&certs, listener) && tls.is_clean()) {
        Some(same) => same.clone(),
        None => TlsPlan::build(certs, listener, &live.tls, problems),
    }
}

#[cfg(test)]
mod tests;
