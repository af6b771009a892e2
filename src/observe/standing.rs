//! Pure. What a backend is up to and why, in words from a small closed set, for metrics and pages alike.

use crate::model::intent::Admin;
use crate::model::live::agent::Objection;
use crate::model::live::probe::Verdict;
use crate::model::snapshot::BackendPlan;
use crate::model::words::words;

words! {
    /// Where a backend stands. In order of what is most worth telling when one address stands for several backends:
    /// the first that serves.
    pub(super) enum Standing,
    /// Why: one word of these, never the text of an error.
    fn reason {
        /// Its checks succeed.
        ProbePassed = "probe_passed",
        /// It is not checked.
        NotProbed = "not_probed",
        /// Its first verdict is still to come; it takes traffic meanwhile.
        ProbePending = "probe_pending",
        /// Its agent wishes it to finish what it has, or gives it none of its weight.
        AgentDrain = "agent_drain",
        /// Its agent wishes it to take nothing.
        AgentMaint = "agent_maint",
        /// Its weight is 0, so it takes nothing new.
        WeightZero = "weight_zero",
        /// Its owner wishes it to finish what it has.
        AdminDrain = "admin_drain",
        /// Its owner wishes it to take nothing.
        AdminMaintain = "admin_maintain",
        /// It failed real traffic and is left out for a while.
        Ejected = "ejected",
        /// Its agent says that it does not work.
        AgentDown = "agent_down",
        /// Its checks fail.
        ProbeFailed = "probe_failed",
        /// Its machine does not answer, on this backend's address or on others.
        NodeDown = "node_down",
    }
}

impl Standing {
    /// Where this backend stands. Its owner's wish comes before its own, and that before what others find of it.
    pub(super) fn of(backend: &BackendPlan) -> Self {
        let objection = backend.agent.as_ref().and_then(|agent| agent.objection());
        match (backend.admin, objection) {
            (Admin::Drain, _) => return Self::AdminDrain,
            (Admin::Maintain, _) => return Self::AdminMaintain,
            (Admin::Ready, Some(Objection::Drain)) => return Self::AgentDrain,
            (Admin::Ready, Some(Objection::Maintain)) => return Self::AgentMaint,
            (Admin::Ready, _) => {}
        }
        let verdict = backend.probe.as_ref().map(|probe| probe.verdict());
        match verdict {
            _ if backend.node.is_down() => Self::NodeDown,
            Some(Verdict::Down) => Self::ProbeFailed,
            _ if objection == Some(Objection::Down) => Self::AgentDown,
            _ if backend.weight == 0 => Self::WeightZero,
            _ if backend.wish() == 0 => Self::AgentDrain,
            _ if backend.is_ejected() => Self::Ejected,
            None => Self::NotProbed,
            Some(Verdict::Unknown) => Self::ProbePending,
            Some(Verdict::Up) => Self::ProbePassed,
        }
    }

    /// `up`, `idle`, `drain`, `maintain` or `down`.
    pub(super) fn state(self) -> &'static str {
        match self {
            Self::ProbePassed | Self::NotProbed | Self::ProbePending => "up",
            Self::WeightZero => "idle",
            Self::AdminDrain | Self::AgentDrain => "drain",
            Self::AdminMaintain | Self::AgentMaint => "maintain",
            Self::ProbeFailed | Self::AgentDown | Self::Ejected | Self::NodeDown => "down",
        }
    }

    /// Why, at more length, where somebody said so.
    pub(super) fn detail(self, backend: &BackendPlan) -> Option<String> {
        match self {
            Self::AgentDrain | Self::AgentMaint | Self::AgentDown => {
                backend.agent.as_ref()?.why().map(|why| why.to_string())
            }
            Self::NodeDown => Some(format!("nothing on {} answers", backend.node.key())),
            Self::Ejected => Some(format!("failed {} connections in a row", backend.state.ejection().streak().max(1))),
            _ => backend.probe.as_ref()?.reason().map(|reason| reason.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::model::intent::{Agent, Backend, Ejection, Probe};
    use crate::model::live::{AgentKey, BackendKey, Live, ProbeKey};

    #[test]
    fn the_owners_wish_comes_first_then_checks_then_weight() {
        use Admin::{Drain, Maintain, Ready};
        let cases = [
            (Ready, 1, None, Standing::NotProbed),
            (Ready, 1, Some(Verdict::Unknown), Standing::ProbePending),
            (Ready, 1, Some(Verdict::Up), Standing::ProbePassed),
            (Ready, 1, Some(Verdict::Down), Standing::ProbeFailed),
            (Ready, 0, Some(Verdict::Up), Standing::WeightZero),
            (Ready, 0, Some(Verdict::Down), Standing::ProbeFailed),
            (Drain, 1, Some(Verdict::Down), Standing::AdminDrain),
            (Maintain, 0, None, Standing::AdminMaintain),
        ];
        for (admin, weight, verdict, standing) in cases {
            let live = Live::new(1);
            let key = BackendKey { address: ([127, 0, 0, 1], 1).into(), instance: "".into() };
            let probe = verdict.map(|verdict| {
                let probe = live.probe(&ProbeKey { backend: key.clone(), probe: Probe::default(), send_proxy: None });
                probe.set(verdict, 0, Some("connection refused by 10.0.0.7".into()));
                probe
            });
            let Backend { address, backup, .. } = Backend::new(key.address);
            let state: Arc<_> = live.backend(&key);
            let plan = BackendPlan {
                address,
                weight,
                admin,
                backup,
                heeds_traffic: true,
                node: state.node(),
                state,
                slots: None,
                probe,
                agent: None,
                ramp: None,
                digest: 0,
            };
            assert_eq!(Standing::of(&plan), standing);
            assert_eq!(plan.is_available(), standing.state() == "up", "{standing:?}");
        }
    }

    #[test]
    fn what_agents_and_traffic_say_is_told_apart() {
        let live = Live::new(1);
        let key = BackendKey { address: ([127, 0, 0, 1], 1).into(), instance: "".into() };
        let agent = Agent { port: 2, every: std::time::Duration::from_secs(1) };
        let agent = live.agent(&AgentKey { backend: key.clone(), agent });
        let (state, admin) = (live.backend(&key), Admin::Ready);
        let plan = BackendPlan {
            address: key.address,
            weight: 1,
            admin,
            backup: false,
            heeds_traffic: true,
            node: state.node(),
            state,
            probe: None,
            slots: None,
            agent: Some(agent),
            ramp: None,
            digest: 0,
        };
        let agent = plan.agent.as_ref().unwrap();
        let is = |standing: Standing, state| {
            assert_eq!((Standing::of(&plan), standing.state()), (standing, state));
            assert_eq!(plan.is_available(), state == "up", "{standing:?}");
        };
        is(Standing::NotProbed, "up");
        let rule = Ejection { failures: 1, time: std::time::Duration::from_secs(1), ..Ejection::default() };
        plan.state.failed(&rule, || true);
        is(Standing::Ejected, "down");
        agent.set_percent(0);
        is(Standing::AgentDrain, "drain");
        agent.set_down(true);
        agent.set_why(Some("disk full".into()));
        is(Standing::AgentDown, "down");
        assert_eq!(Standing::AgentDown.detail(&plan).as_deref(), Some("disk full"));
        for _ in 0..2 {
            plan.state.silent(plan.state.node().pulse());
        }
        is(Standing::NodeDown, "down");
        assert_eq!(Standing::NodeDown.detail(&plan).as_deref(), Some("nothing on 127.0.0.1 answers"));
        agent.set_admin(Admin::Maintain);
        is(Standing::AgentMaint, "maintain");
        agent.set_admin(Admin::Drain);
        is(Standing::AgentDrain, "drain");
    }

    #[test]
    fn every_standing_has_a_reason_of_its_own() {
        assert_eq!(Standing::ALL.iter().map(|s| s.reason()).collect::<BTreeSet<_>>().len(), Standing::ALL.len());
        assert!(Standing::ALL.is_sorted());
    }
}
