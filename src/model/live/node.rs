//! What is known of one machine from the connects to all of its backends. When it loses power they fail together, and
//! the first of them to be noticed speak for the rest: all of the node's backends leave at once.
//!
//! Theory: one word says `ALIVE`, which backend was the first to be *silent* (the node is *suspected*), or `DOWN`. A
//! connect that gets no answer at all is evidence, unless another one to the same node succeeded since it began: a
//! machine that answered meanwhile has power, and what is missing is a pod or a packet. A second backend that is silent
//! (a second connect, where the node has but one) takes the node down. Whatever answers, be it with a refusal, makes it
//! alive again. Where nobody keeps checking, `health` lets it be tried again after a while; it also forgets suspicions
//! that nothing came of. No clock here: time is health's.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use tokio::sync::Notify;

use super::shard::{Count, Sharded};

/// Which machine.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum NodeKey {
    /// By its name.
    Named(Arc<str>),
    /// By its address, where no name is known.
    Address(IpAddr),
}

impl std::fmt::Display for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// What connects to a machine found.
#[derive(Debug)]
pub struct NodeState {
    key: NodeKey,
    answers: Sharded<Count>,
    word: AtomicU64,
    members: AtomicU32,
    trouble: Arc<Notify>,
}

const ALIVE: u64 = 0;
/// One more silent backend, whichever it is, takes it down again.
const PROBATION: u64 = 1;
const DOWN: u64 = u64::MAX;

/// How a machine stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NodeWord {
    /// Nothing speaks against it.
    Alive,
    /// Somebody on it did not answer; equal values are the same suspicion.
    Suspected(u64),
    /// It takes nothing new.
    Down,
}

/// How often a machine had answered at some moment, as far as that is cheap to know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pulse(u64, u64);

impl NodeState {
    pub(super) fn new(key: NodeKey, shards: usize, trouble: Arc<Notify>) -> Self {
        Self { key, answers: Sharded::new(shards), word: AtomicU64::new(ALIVE), members: AtomicU32::new(0), trouble }
    }

    /// Which machine it is.
    pub fn key(&self) -> &NodeKey {
        &self.key
    }

    /// Whether its backends are left out.
    pub fn is_down(&self) -> bool {
        self.word.load(Relaxed) == DOWN
    }

    /// Whether somebody on it did not answer just now, so that another node is the better choice for a second try.
    pub fn is_suspected(&self) -> bool {
        self.word.load(Relaxed) != ALIVE
    }

    /// How it stands.
    pub fn word(&self) -> NodeWord {
        match self.word.load(Relaxed) {
            ALIVE => NodeWord::Alive,
            DOWN => NodeWord::Down,
            who => NodeWord::Suspected(who),
        }
    }

    /// How often it has answered so far: to be taken before a connect, and handed over with its failure if nobody
    /// answers it. Only answers to this thread and to probes count, whose cache lines are near.
    pub fn pulse(&self) -> Pulse {
        Pulse(self.answers.here().get(), self.answers.first().get())
    }

    /// It answered.
    pub fn answered(&self) {
        self.answers.here().add(1);
        // Rarely anything else, so that connects of many threads share the line.
        let word = self.word.load(Relaxed);
        if word != ALIVE {
            self.word.store(ALIVE, Relaxed);
            if word == DOWN {
                self.trouble.notify_one();
            }
        }
    }

    /// A connect to its backend `who` that began at `since` got no answer. True when that took the node down.
    pub(super) fn silent(&self, who: u64, since: Pulse) -> bool {
        if self.pulse() != since {
            return false;
        }
        let Err(first) = self.word.compare_exchange(ALIVE, who, Relaxed, Relaxed) else {
            self.trouble.notify_one();
            return false;
        };
        let is_enough = first != DOWN && (first != who || self.members.load(Relaxed) <= 1);
        let fell = is_enough && self.word.compare_exchange(first, DOWN, Relaxed, Relaxed).is_ok();
        if fell {
            self.trouble.notify_one();
        }
        fell
    }

    /// Forgets this suspicion, if it is still the one. Health alone does, when nothing came of it.
    pub fn forget(&self, suspicion: u64) {
        // Lost to whoever changed it meanwhile, who knows better.
        let _ = self.word.compare_exchange(suspicion, ALIVE, Relaxed, Relaxed);
    }

    /// Lets it be tried again: the next who is silent takes it down at once. Health alone does.
    pub fn try_again(&self) {
        let _ = self.word.compare_exchange(DOWN, PROBATION, Relaxed, Relaxed);
    }

    pub(super) fn join(&self) {
        self.members.fetch_add(1, Relaxed);
    }

    pub(super) fn leave(&self) {
        self.members.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(members: u32) -> NodeState {
        let node = NodeState::new(NodeKey::Named("n".into()), 2, Arc::default());
        (0..members).for_each(|_| node.join());
        node
    }

    #[test]
    fn two_silent_backends_take_it_down_and_one_answer_brings_it_back() {
        let node = node(3);
        let since = node.pulse();
        assert!(!node.silent(100, since));
        assert!(!node.silent(100, since), "the same again may be its pod alone");
        assert!(node.is_suspected() && !node.is_down());
        assert!(node.silent(200, since) && node.is_down());
        assert!(!node.silent(300, since), "it fell once");
        node.answered();
        assert_eq!(node.word(), NodeWord::Alive);
    }

    #[test]
    fn a_node_of_one_backend_falls_with_the_second_silence() {
        let node = node(1);
        assert!(!node.silent(100, node.pulse()), "one lost packet is a silence too");
        assert!(node.silent(100, node.pulse()));
    }

    #[test]
    fn a_machine_that_answered_meanwhile_has_power() {
        let node = node(2);
        let since = node.pulse();
        node.answered();
        assert!(!node.silent(100, since) && !node.silent(200, since));
        assert_eq!(node.word(), NodeWord::Alive);
        let late = node.pulse();
        assert!(!node.silent(100, late) && node.silent(200, late));
    }

    #[test]
    fn suspicions_are_forgotten_and_a_second_chance_is_one_chance() {
        let node = node(2);
        node.silent(100, node.pulse());
        let NodeWord::Suspected(who) = node.word() else { panic!("suspected") };
        node.forget(who + 1);
        assert!(node.is_suspected(), "another suspicion");
        node.forget(who);
        assert_eq!(node.word(), NodeWord::Alive);
        node.silent(100, node.pulse());
        node.silent(200, node.pulse());
        node.try_again();
        assert!(!node.is_down() && node.silent(100, node.pulse()), "the next silence is enough");
    }
}
